"""AlpacaEval annotations."""

import math

from skarm.io._cells import get_id, get_number, get_text
from skarm.io._files import drop_empty, write_rows
from skarm.io._rows import Answer, Skip, each_answer, gather_preferences, read_each

__all__ = ["read_alpaca_eval", "write_alpaca_eval"]


def read_alpaca_eval(source, *, id="id", join=None, on_error="raise"):
    """Read AlpacaEval's ``annotations.json``.

    Parameters
    ----------
    source, join, on_error
        As for :func:`read_comparisons`. Rows have ``instruction``, ``output_1``,
        ``output_2`` and ``preference``, from 1 (output 1 is better) to 2 (output 2),
        1.5 for a draw (0 in early files).
    id : str, default="id"
        Name of the column with the id of a row, if there.

    Returns
    -------
    preferences : Preferences
        Output 1 comes first; ``y = 2 - preference``. ``annotators`` is the column
        ``annotator``; ``columns`` holds the others, ``generator_1`` and ``generator_2``
        among them. Rows that the judge could not answer are left out and reported.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.

    References
    ----------
    .. [1] Li et al., AlpacaEval, https://github.com/tatsu-lab/alpaca_eval

    Examples
    --------
    >>> from skarm.io import read_alpaca_eval
    >>> row = {"instruction": "How far?", "output_1": "Far.", "output_2": "Two miles.",
    ...        "preference": 1.75}
    >>> read_alpaca_eval([row]).y
    array([0.25])
    """
    known = {"instruction", "output_1", "output_2", "preference", "annotator"}
    known |= {id, "prompt_id"}

    def parse(row):
        preference = get_number(row, "preference", low=0, high=2)
        if preference is None:
            yield Skip("the judge gave no preference")
            return
        if preference == 0:
            preference = 1.5
        if preference < 1:
            raise ValueError(
                f"'preference' must be 1 to 2, or 0 for a draw. Got {preference:g}."
            )
        yield Answer(
            get_text(row, "output_1"),
            get_text(row, "output_2"),
            2.0 - preference,
            prompt=get_text(row, "instruction"),
            group=get_id(row, "prompt_id"),
            id=get_id(row, id),
            annotator=get_id(row, "annotator"),
            columns={name: row[name] for name in row if name not in known},
        )

    answers, report = read_each(source, parse, on_error)
    return gather_preferences(answers, report, join)


def write_alpaca_eval(data, y=None, path=None):
    """Write annotations as AlpacaEval does.

    Parameters
    ----------
    data : Preferences or Comparisons
        Of texts; ``columns`` may hold ``generator_1`` and ``generator_2``.
    y : array-like of shape (n,), default=None
        Outcomes of comparisons; preferences have theirs. A pair without an answer (NaN)
        is not written.
    path : str or path-like, default=None
        As for :func:`write_comparisons`.

    Returns
    -------
    rows : list of dict
        ``instruction, output_1, output_2, generator_1, generator_2, annotator,
        preference, id, prompt_id`` and the further columns. ``preference = 2 - y``
        rounds a share to a unit in the last place of 2.

    Raises
    ------
    ValueError
        If the items are not texts, or a pair lies across prompts.
    """
    rows = []
    for answer in each_answer(data, y):
        if math.isnan(answer.y):
            continue
        if answer.is_across:
            raise ValueError(
                "an annotation is about one instruction. Got a pair across prompts. "
                "Use write_comparisons."
            )
        row = {
            "instruction": answer.prompt,
            "output_1": answer.first,
            "output_2": answer.second,
            "generator_1": answer.columns.get("generator_1"),
            "generator_2": answer.columns.get("generator_2"),
            "annotator": answer.annotator,
            "preference": 2.0 - answer.y,
            "id": answer.id,
            "prompt_id": answer.group,
        }
        rows.append({**row, **answer.columns, **row})
    return write_rows(drop_empty(rows), path)
