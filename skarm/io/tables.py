"""Plain tables of comparisons: JSON Lines, JSON, CSV, Parquet."""

import math

from skarm.io._cells import get_id, get_number, get_text, shown
from skarm.io._files import drop_empty, write_rows
from skarm.io._rows import Answer, each_answer, gather_preferences, read_each

__all__ = ["read_comparisons", "write_comparisons"]

_SECOND = ("second_prompt", "second_prompt_id")


def read_comparisons(
    source,
    *,
    prompt="prompt",
    first="first",
    second="second",
    y="y",
    outcomes=None,
    id="id",
    prompt_id="prompt_id",
    annotator="annotator",
    sample_weight="sample_weight",
    margin="margin",
    join=None,
    on_error="raise",
):
    """Read a table with one comparison per row.

    Parameters
    ----------
    source : path, iterable of dict, DataFrame or datasets.Dataset
        See :mod:`skarm.io`. The columns ``second_prompt`` and ``second_prompt_id``, if
        there, are those of the second response where a pair lies across prompts.
    prompt, first, second : str
        Names of the columns with the prompt and the two responses; a row without the
        column prompt has an empty one.
    y : str, default="y"
        Column with the outcome in [0, 1] (empty: not asked), or with a list of
        outcomes, one per annotator, which become one comparison each.
    outcomes : dict, default=None
        What the values of that column mean, such as ``{"left": 1, "right": 0, "tie":
        0.5}``; others are an error.
    id, prompt_id, annotator, sample_weight, margin : str
        Names of the columns with these; none of them need be there.
    join : callable, default=None
        ``join(prompt, response) -> str``, the text of an item; None means
        :func:`join_texts`.
    on_error : {"raise", "skip"}, default="raise"
        Whether a malformed row raises, or is left out and reported.

    Returns
    -------
    preferences : Preferences
        Every other column is in ``columns``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the format is unknown, or a row is malformed; the message names the line.

    Examples
    --------
    >>> from skarm.io import read_comparisons
    >>> row = {"prompt": "How far?", "a": "Far.", "b": "Two miles.", "vote": [2, 2, 1]}
    >>> votes = read_comparisons(
    ...     [row], first="a", second="b", y="vote", outcomes={1: 1, 2: 0, 0: 0.5}
    ... )
    >>> votes.y.tolist(), votes.aggregate().y.round(2).tolist()
    ([0.0, 0.0, 1.0], [0.33])
    """
    known = {prompt, first, second, y, id, prompt_id, annotator, sample_weight, margin}
    known.update(_SECOND)

    def parse(row):
        answer = Answer(
            get_text(row, first),
            get_text(row, second),
            math.nan,
            prompt=get_text(row, prompt, default=""),
            group=get_id(row, prompt_id),
            id=get_id(row, id),
            annotator=get_id(row, annotator),
            sample_weight=get_number(row, sample_weight, low=0),
            margin=get_number(row, margin),
            columns={name: row[name] for name in row if name not in known},
        )
        if row.get("second_prompt") is not None:
            answer.second_prompt = get_text(row, "second_prompt")
            answer.second_group = get_id(row, "second_prompt_id")
        votes = row.get(y)
        if not isinstance(votes, list):
            answer.y = _outcome(row, y, outcomes)
            yield answer
            return
        for number, vote in enumerate(votes):
            values = {**vars(answer), "y": _outcome({y: vote}, y, outcomes)}
            if answer.annotator is None:
                values["annotator"] = number
            yield Answer(**values)

    answers, report = read_each(source, parse, on_error)
    return gather_preferences(answers, report, join)


def _outcome(row, name, outcomes):
    value = row.get(name)
    if outcomes is None:
        number = get_number(row, name, low=0, high=1)
    elif value is None or value == "":
        number = None
    elif isinstance(value, (str, int, float)) and value in outcomes:
        number = outcomes[value]
    else:
        raise ValueError(
            f"column {name!r} must hold one of {list(outcomes)}. Got {shown(value)}."
        )
    return math.nan if number is None else float(number)


def write_comparisons(data, y=None, path=None):
    """Write a table with one comparison per row.

    ``read_comparisons`` reads it back as it was: texts or messages, order, ids, groups,
    annotators, ties, NaN, weights, margins and columns (CSV: texts only, and empty for
    missing).

    Parameters
    ----------
    data : Preferences or Comparisons
        Of texts.
    y : array-like of shape (n,), default=None
        Outcomes of comparisons; preferences have theirs.
    path : str or path-like, default=None
        Where to write: ``.jsonl``, ``.json``, ``.csv`` (each also ``.gz``) or
        ``.parquet``. None only returns the rows.

    Returns
    -------
    rows : list of dict
        With the columns that :func:`read_comparisons` reads by default.

    Raises
    ------
    ValueError
        If the items are not texts, or the format cannot hold a value.

    Examples
    --------
    >>> from skarm import Comparisons
    >>> from skarm.io import write_comparisons
    >>> write_comparisons(Comparisons(["Far.", "Two miles."], [[0, 1]]), [0])
    [{'prompt': '', 'first': 'Far.', 'second': 'Two miles.', 'y': 0.0}]
    """
    answers, rows = each_answer(data, y), []
    across = any(answer.is_across for answer in answers)
    for answer in answers:
        (group, asked, first), (second_group, second_asked, second) = answer.parts
        row = {
            "id": answer.id,
            "prompt_id": group,
            "prompt": asked,
            "first": first,
            "second": second,
            "y": None if math.isnan(answer.y) else answer.y,
            "annotator": answer.annotator,
            "sample_weight": answer.sample_weight,
            "margin": answer.margin,
            "second_prompt": second_asked if across else None,
            "second_prompt_id": second_group if across else None,
        }
        rows.append({**row, **answer.columns, **row})
    return write_rows(drop_empty(rows, ("prompt", "first", "second", "y")), path)
