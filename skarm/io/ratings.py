"""Rated responses: K completions a prompt (UltraFeedback), or labels (TRL unpaired)."""

from collections.abc import Mapping

import numpy as np

from skarm.io._cells import get_id, get_number, get_sequence, get_text, shown
from skarm.io._files import drop_empty, write_rows
from skarm.io._records import Responses
from skarm.io._rows import Skip, gather_items, none_if_nan, read_each
from skarm.io._texts import objects

__all__ = ["read_ratings", "read_trl_unpaired", "write_ratings", "write_trl_unpaired"]


def read_ratings(
    source,
    *,
    prompt="instruction",
    completions="completions",
    response="response",
    rating="overall_score",
    prompt_id="prompt_id",
    join=None,
    on_error="raise",
):
    """Read a prompt with K completions and their ratings per row.

    Parameters
    ----------
    source, join, on_error
        As for :func:`read_comparisons`.
    prompt : str, default="instruction"
        Name of the column with the prompt.
    completions : str, default="completions"
        Name of the column with the list of completions, objects (UltraFeedback) or
        texts (distilabel: ``generations``; OpenRLHF-like: ``responses``).
    response, rating : str
        Fields of a completion object; dots go deeper, as in
        ``"annotations.helpfulness.Rating"``. Where completions are texts, `rating` is
        the column of the row with the list of their ratings.
    prompt_id : str, default="prompt_id"
        Name of the column with the id of the prompt, if there.

    Returns
    -------
    responses : Responses
        With ratings; ``.preferences()`` compares them. ``columns`` holds the other
        fields of the completions. A rating that is missing or "N/A" leaves its
        completion out.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.

    Examples
    --------
    >>> from skarm.io import read_ratings
    >>> row = {"prompt": "2+2?", "generations": ["5", "4"], "ratings": [1, 4]}
    >>> rated = read_ratings(
    ...     [row], prompt="prompt", completions="generations", rating="ratings"
    ... )
    >>> rated.ratings, len(rated.preferences())
    (array([1., 4.]), 1)
    """

    def parse(row):
        asked, group = get_text(row, prompt), get_id(row, prompt_id)
        entries = get_sequence(row, completions)
        for number, entry in enumerate(entries):
            if isinstance(entry, Mapping):
                flat = {**entry, rating: _dig(entry, rating)}
            else:
                rates = get_sequence(row, rating)
                if len(rates) != len(entries):
                    raise ValueError(
                        f"{rating!r} must hold one rating per completion, "
                        f"{len(entries)}. Got {len(rates)}."
                    )
                flat = {response: entry, rating: rates[number]}
            part = group, asked, get_text(flat, response)
            if flat[rating] in ("N/A", "None"):
                flat[rating] = None
            score = get_number(flat, rating)
            if score is None:
                yield Skip("a completion has no rating")
                continue
            known = {response, rating, rating.partition(".")[0]}
            columns = {name: flat[name] for name in flat if name not in known}
            yield part, score, columns

    return _gather(*read_each(source, parse, on_error), join)


def _dig(entry, path):
    for name in path.split("."):
        entry = entry.get(name) if isinstance(entry, Mapping) else None
    return entry


def _gather(found, report, join):
    items, groups, code = gather_items([part for part, *_ in found], join)
    names = dict.fromkeys(name for *_, columns in found for name in columns)
    return Responses(
        items[code],
        groups[code],
        ratings=np.array([score for _, score, _ in found], dtype=float),
        columns={
            name: objects(columns.get(name) for *_, columns in found) for name in names
        },
        report=report,
    )


def write_ratings(data, path=None):
    """Write a prompt with its completions and their ratings per row.

    Parameters
    ----------
    data : Responses
        With ratings.
    path : str or path-like, default=None
        As for :func:`write_comparisons`; not CSV.

    Returns
    -------
    rows : list of dict
        ``prompt_id, instruction, completions`` as :func:`read_ratings` reads them by
        default, prompts in the order of first appearance.

    Raises
    ------
    ValueError
        If there are no ratings.
    """
    scores = _ratings(data)
    rows = {}
    for k, (group, item) in enumerate(
        zip(data.groups.tolist(), data.items, strict=True)
    ):
        row = rows.setdefault(
            (group, str(item.prompt)),
            {"prompt_id": group, "instruction": item.prompt, "completions": []},
        )
        columns = {name: column[k] for name, column in data.columns.items()}
        score = none_if_nan(scores, k)
        row["completions"].append(
            {"response": item.response, "overall_score": score, **columns}
        )
    return write_rows(list(rows.values()), path)


def _ratings(data):
    if data.ratings is None:
        raise ValueError(
            "responses must have ratings to be written so. Got none. Read them with "
            "rating=COLUMN, or use write_responses."
        )
    return data.ratings


def read_trl_unpaired(
    source,
    *,
    prompt="prompt",
    completion="completion",
    label="label",
    prompt_id="prompt_id",
    join=None,
    on_error="raise",
):
    """Read completions labelled good or bad, TRL's unpaired preferences (KTO).

    Parameters
    ----------
    source, join, on_error
        As for :func:`read_comparisons`.
    prompt, completion, label, prompt_id : str
        Names of the columns: texts or messages, a text or messages, true or false, and,
        if there, the id of the prompt.

    Returns
    -------
    responses : Responses
        With ratings 1 (true) and 0 (false).

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.

    Examples
    --------
    >>> from skarm.io import read_trl_unpaired
    >>> row = {"prompt": "2+2?", "completion": "4", "label": True}
    >>> read_trl_unpaired([row]).ratings
    array([1.])
    """
    known = {prompt, completion, label, prompt_id}
    labels = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}

    def parse(row):
        part = get_id(row, prompt_id), get_text(row, prompt), get_text(row, completion)
        value = row.get(label)
        if str(value).lower() not in labels:
            raise ValueError(
                f"column {label!r} must hold true or false. Got {shown(value)}."
            )
        columns = {name: row[name] for name in row if name not in known}
        yield part, labels[str(value).lower()], columns

    return _gather(*read_each(source, parse, on_error), join)


def write_trl_unpaired(data, path=None, *, threshold=None):
    """Write completions labelled good or bad, as TRL's KTO trainer reads them.

    Parameters
    ----------
    data : Responses
        With ratings. For comparisons, use :func:`write_trl` and TRL's own
        ``unpair_preference_dataset``.
    path : str or path-like, default=None
        As for :func:`write_comparisons`.
    threshold : float, default=None
        A rating above it is good. None needs ratings of 0 and 1.

    Returns
    -------
    rows : list of dict
        ``prompt, completion, label, prompt_id`` and the further columns.

    Raises
    ------
    ValueError
        If there are no ratings, or they are neither 0 nor 1 and there is no threshold.
    """
    scores = _ratings(data)
    if threshold is None and not np.isin(scores, [0.0, 1.0]).all():
        raise ValueError(
            "ratings must be 0 or 1 to be labels. Got "
            f"{np.unique(scores[~np.isin(scores, [0, 1])])[:3].tolist()}. Pass "
            "threshold=, above which a response is good."
        )
    good = scores > (0.5 if threshold is None else threshold)
    rows = []
    for k, (group, item) in enumerate(
        zip(data.groups.tolist(), data.items, strict=True)
    ):
        row = {
            "prompt": item.prompt,
            "completion": item.response,
            "label": bool(good[k]),
            "prompt_id": group,
        }
        columns = {name: column[k] for name, column in data.columns.items()}
        rows.append({**row, **columns, **row})
    return write_rows(drop_empty(rows, ("prompt", "completion")), path)
