"""Plain tables of responses to prompts."""

import numpy as np

from skarm.io._cells import get_id, get_number, get_text
from skarm.io._files import drop_empty, read_rows, write_rows
from skarm.io._records import Responses
from skarm.io._rows import (
    gather_items,
    none_if_nan,
    optional,
    optional_numbers,
    read_each,
)
from skarm.io._texts import objects

__all__ = ["read_columns", "read_responses", "write_responses"]


def read_responses(
    source,
    *,
    prompt="prompt",
    response="response",
    rating=None,
    id="id",
    prompt_id="prompt_id",
    join=None,
    on_error="raise",
):
    r"""Read a table with one response per row.

    Parameters
    ----------
    source, join, on_error
        As for :func:`read_comparisons`.
    prompt, response : str
        Names of the columns with the texts.
    rating : str, default=None
        Column with a rating, a number or empty.
    id, prompt_id : str
        Names of the columns with these, if there; without prompt ids, responses to
        equal prompts form a group.

    Returns
    -------
    responses : Responses
        In the order of the file; every other column is in ``columns``.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from skarm.io import read_responses
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "responses.csv"
    >>> _ = path.write_text("prompt,response\nHow far?,Two miles.\nHow far?,Far.\n")
    >>> read_responses(path)
    Responses(2 to 1 prompts; 2 rows read, none left out)
    """

    def parse(row):
        part = (
            get_id(row, prompt_id),
            get_text(row, prompt),
            get_text(row, response),
        )
        yield part, rating and get_number(row, rating), get_id(row, id), row

    found, report = read_each(source, parse, on_error)
    known = {prompt, response, rating, id, prompt_id}
    rows = [row for *_, row in found]
    items, groups, code = gather_items([part for part, *_ in found], join)
    names = dict.fromkeys(name for row in rows for name in row if name not in known)
    return Responses(
        items[code],
        groups[code],
        ratings=optional_numbers([rate for _, rate, *_ in found]) if rating else None,
        ids=optional([id for _, _, id, _ in found]),
        columns={name: objects(row.get(name) for row in rows) for name in names},
        report=report,
    )


def write_responses(data, path=None):
    """Write a table with one response per row.

    Parameters
    ----------
    data : Responses
        What to write.
    path : str or path-like, default=None
        As for :func:`write_comparisons`.

    Returns
    -------
    rows : list of dict
        ``id, prompt_id, prompt, response, rating`` and the further columns.
    """
    groups, rows = data.groups.tolist(), []
    for k, item in enumerate(data.items):
        row = {
            "id": None if data.ids is None else data.ids[k],
            "prompt_id": groups[k],
            "prompt": item.prompt,
            "response": item.response,
            "rating": none_if_nan(data.ratings, k),
        }
        columns = {name: column[k] for name, column in data.columns.items()}
        rows.append({**row, **columns, **row})
    return write_rows(drop_empty(rows, ("prompt", "response")), path)


def read_columns(source):
    """Read every column of a table, whatever it is about.

    Parameters
    ----------
    source : path, iterable of dict, DataFrame or datasets.Dataset
        See :mod:`skarm.io`.

    Returns
    -------
    columns : dict of str to ndarray
        Numbers as floats (missing as NaN), everything else as objects.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.
    """
    rows = [row for _, row in read_rows(source)[1]]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values):
    """Numbers as floats, everything else as objects."""
    if any(isinstance(value, (list, dict)) for value in values):
        return objects(values)
    try:
        empty = (None, "")
        return np.array([np.nan if v in empty else float(v) for v in values])
    except (TypeError, ValueError, OverflowError):
        return objects(values)
