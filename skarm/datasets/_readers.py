"""Read responses, or recorded preferences, from a JSONL, CSV or Parquet file."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skarm._optional import import_optional
from skarm.comparisons import Comparisons

__all__ = ["read_columns", "read_preferences", "read_responses"]


def read_responses(path):
    r"""Read responses to prompts.

    Parameters
    ----------
    path : str or path-like
        A ``.jsonl``, ``.csv`` (either also ``.gz``) or ``.parquet`` file with the
        columns ``prompt`` and ``response``. A column ``prompt_id`` names the group of a
        response; without it responses to equal prompts form a group.

    Returns
    -------
    data : Bunch
        ``prompts``, ``responses`` (ndarrays of str), ``groups`` (one label per
        response), and ``columns``, a dict of every column in the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the format is unknown, a column is missing, or a row is malformed; the
        message names the line.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "responses.csv"
    >>> _ = path.write_text("prompt,response\nHow far?,Two miles.\nHow far?,Far.\n")
    >>> read_responses(path).responses
    array(['Two miles.', 'Far.'], dtype=object)
    """
    columns = read_columns(path, ["prompt", "response"])
    return Bunch(
        prompts=columns["prompt"],
        responses=columns["response"],
        groups=columns.get("prompt_id", columns["prompt"]),
        columns=columns,
    )


def read_preferences(path):
    """Read recorded preferences: a chosen and a rejected response per row.

    Parameters
    ----------
    path : str or path-like
        A file as for :func:`read_responses`, with the columns ``chosen`` and
        ``rejected``, and ``prompt``, unless the responses contain theirs: then every
        row is a group of its own.

    Returns
    -------
    data : Bunch
        ``prompts``, ``responses``, ``groups``: one entry per distinct response;
        ``comparisons`` over ``responses``, the chosen one first, and ``y``, all ones.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_responses`; also if a row prefers a response to itself.

    Notes
    -----
    Winner-first data is legitimate: neither the fit nor a strategy depends on which
    response of a pair comes first.
    """
    columns = read_columns(path, ["chosen", "rejected"])
    n = len(columns["chosen"])
    groups = prompts = columns.get("prompt")
    if prompts is None:
        prompts, groups = np.full(n, "", dtype=object), np.arange(n)
    number, pairs = {}, np.empty((n, 2), dtype=np.intp)
    for row in range(n):
        for side, name in enumerate(("chosen", "rejected")):
            key = (groups[row], prompts[row], columns[name][row])
            pairs[row, side] = number.setdefault(key, len(number))
        if pairs[row, 0] == pairs[row, 1]:
            raise ValueError(
                f"chosen and rejected must differ. Row {row + 1} of {path} prefers a "
                "response to itself. Drop it."
            )
    groups, prompts, responses = (
        np.array(column, dtype=object) for column in zip(*number, strict=True)
    )
    groups = np.unique(groups.astype(str), return_inverse=True)[1].reshape(-1)
    return Bunch(
        prompts=prompts,
        responses=responses,
        groups=groups,
        comparisons=Comparisons(responses, pairs, groups=groups),
        y=np.ones(n),
    )


def read_columns(path, required=()):
    """Read every column of a file.

    Parameters
    ----------
    path : str or path-like
        As for :func:`read_responses`.
    required : sequence of str, default=()
        Columns that must be there, with a text in every row.

    Returns
    -------
    columns : dict of str to ndarray
        Numbers as floats (missing as NaN), everything else as objects.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_responses`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"path must be an existing file. Got {str(path)!r}. Check the name."
        )
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and suffixes[1:] else None
    kind = kind or (suffixes[-1] if suffixes else "")
    if kind in (".jsonl", ".ndjson"):
        rows = list(_json_lines(path))
    elif kind == ".csv":
        rows = list(_csv_rows(path))
    elif kind in (".parquet", ".pq"):
        pandas = import_optional("pandas", needed_by="reading Parquet", extra="parquet")
        frame = pandas.read_parquet(path)
        rows = list(enumerate(frame.to_dict("records"), start=1))
    else:
        raise ValueError(
            "path must end in .jsonl, .csv (or these with .gz) or .parquet. "
            f"Got {path.name!r}."
        )
    if not rows:
        raise ValueError(f"path must hold at least one row. {path} is empty.")
    names = dict.fromkeys(name for _, row in rows for name in row)
    missing = [name for name in required if name not in names]
    if missing:
        raise ValueError(
            f"the file must have the columns {list(required)}. {path} lacks {missing}; "
            f"its columns are {list(names)}. Rename them."
        )
    for line, row in rows:
        for name in required:
            if not isinstance(row.get(name), str):
                raise ValueError(
                    f"column {name!r} must hold a text in every row. Line {line} of "
                    f"{path} has {row.get(name)!r}. Fill it in, or drop the row."
                )
    return {name: _column([row.get(name) for _, row in rows]) for name in names}


def _json_lines(path):
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    "every line must be a JSON object. "
                    f"Line {number} of {path} is not: {error}."
                ) from error
            if not isinstance(row, dict):
                raise ValueError(
                    "every line must be a JSON object. "
                    f"Line {number} of {path} is a {type(row).__name__}."
                )
            yield number, row


def _csv_rows(path):
    with _open(path, newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"every row must have {len(reader.fieldnames)} fields. "
                        f"Line {reader.line_num} of {path} has another number."
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise ValueError(
                f"the CSV must be well formed. Line {reader.line_num} of {path}: "
                f"{error}."
            ) from error


def _open(path, newline=None):
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8", newline=newline)


def _column(values):
    """Numbers as floats, everything else as objects."""
    if all(isinstance(v, (int, float)) or v is None for v in values):
        return np.array([np.nan if v is None else v for v in values], dtype=float)
    try:
        return np.array([float(v) for v in values])
    except (TypeError, ValueError):
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
