"""One answer as a row: what every reader gathers from, and every writer starts from."""

import json
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from skarm.comparisons import Comparisons
from skarm.io._files import read_rows
from skarm.io._records import Preferences, ReadReport
from skarm.io._texts import ItemText, as_item_texts, join_texts, objects

__all__ = [
    "Answer",
    "Skip",
    "each_answer",
    "gather_items",
    "gather_preferences",
    "none_if_nan",
    "optional",
    "optional_numbers",
    "read_each",
]


@dataclass
class Skip:
    """What a parser yields for what says nothing."""

    reason: str


@dataclass
class Answer:
    """One answer to one pair; a text is a str or messages."""

    first: Any
    second: Any
    y: float
    prompt: Any = ""
    second_prompt: Any = None  # where the pair lies across two prompts
    group: Any = None  # prompt id; None = none is given
    second_group: Any = None
    id: Any = None
    annotator: Any = None
    sample_weight: float | None = None
    margin: float | None = None
    columns: dict = field(default_factory=dict)

    @property
    def is_across(self):
        """Whether the two respond to different prompts."""
        return self.second_prompt is not None

    @property
    def parts(self):
        """(group, prompt, response) of the first and of the second."""
        first = (self.group, self.prompt, self.first)
        if self.is_across:
            return first, (self.second_group, self.second_prompt, self.second)
        return first, (self.group, self.prompt, self.second)

    @property
    def is_same(self):
        """Whether the two are one and the same item."""
        first, second = self.parts
        return _key(first) == _key(second)


# ------------------------------------------------------------------ from a source


def read_each(source, parse, on_error):
    """Apply `parse`, a generator of things or :class:`Skip`, to each row of a source.

    A ValueError of `parse` is a malformed row: raised with its place, or reported.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip'. Got {on_error!r}.")
    name, rows = read_rows(source)
    found, reasons = [], {}
    for place, row in rows:
        try:
            parsed = list(parse(row))
        except ValueError as error:
            if on_error == "raise":
                raise ValueError(
                    f"{error} ({place.capitalize()} of {name}.) Correct or drop the "
                    "row, or pass on_error='skip'."
                ) from error
            parsed = [Skip(str(error))]
        for thing in parsed:
            if isinstance(thing, Answer) and thing.is_same:
                thing = Skip("both responses are the same")
            if isinstance(thing, Skip):
                reasons.setdefault(thing.reason, []).append(place)
            else:
                found.append(thing)
    return found, ReadReport(len(rows), reasons)


def gather_preferences(answers, report, join):
    """Store each response to a prompt once, and point pairs at it."""
    items, groups, code = gather_items(
        [part for answer in answers for part in answer.parts], join
    )
    names = dict.fromkeys(name for answer in answers for name in answer.columns)
    return Preferences(
        Comparisons(items, code.reshape(-1, 2), groups=groups),
        [answer.y for answer in answers],
        ids=optional([answer.id for answer in answers]),
        annotators=optional([answer.annotator for answer in answers]),
        sample_weight=optional_numbers([answer.sample_weight for answer in answers]),
        margins=optional_numbers([answer.margin for answer in answers]),
        columns={name: [a.columns.get(name) for a in answers] for name in names},
        report=report,
    )


def gather_items(parts, join):
    """Distinct (group, prompt, response), their group labels, and where each went."""
    join = join or join_texts
    number, code = {}, np.empty(len(parts), dtype=np.intp)
    keep, ids = [], []
    for position, part in enumerate(parts):
        key = _key(part)
        if key not in number:
            number[key] = len(keep)
            group, prompt, response = part
            keep.append(ItemText(join(prompt, response), prompt, response))
            ids.append(("prompt", _freeze(prompt)) if group is None else group)
        code[position] = number[key]
    given = bool(parts) and all(isinstance(part[0], (str, Real)) for part in parts)
    return objects(keep), _labels(ids, given), code


def _labels(ids, given):
    """Group labels that sort: ids as they are, or numbers by first appearance."""
    if given and all(type(label) is int and abs(label) < 2**63 for label in ids):
        return np.array(ids)
    if given:
        return objects(str(label) for label in ids)
    number = {}
    return np.array([number.setdefault(label, len(number)) for label in ids], dtype=int)


def _key(part):
    group, prompt, response = part
    return (type(group), group, _freeze(prompt), _freeze(response))


def _freeze(text):
    """A key for a text or for messages, never the same for one of each."""
    if isinstance(text, str):
        return text
    return (json.dumps(text, sort_keys=True, default=str),)


def optional(values):
    return None if all(value is None for value in values) else objects(values)


def optional_numbers(values):
    if all(value is None for value in values):
        return None
    return np.array([np.nan if value is None else value for value in values])


# -------------------------------------------------------------- towards a format


def _as_preferences(data, y):
    """Preferences, from them or from comparisons and their outcomes."""
    if isinstance(data, Preferences):
        if y is not None:
            raise ValueError(
                "preferences hold their own y. Got another. Pass "
                "preferences.comparisons and y, or only preferences."
            )
        return data
    if not isinstance(data, Comparisons):
        raise TypeError(
            "data must be Preferences or Comparisons, such as learner.asked_. "
            f"Got {type(data).__name__}. For a path write path=..."
        )
    return Preferences(data, y)


def each_answer(data, y):
    """The rows of preferences as :class:`Answer`, texts in their parts."""
    data = _as_preferences(data, y)
    items = as_item_texts(data.comparisons.items)
    groups = data.comparisons.groups
    labels = None if groups is None else groups.tolist()
    answers = []
    for row, (i, j) in enumerate(data.comparisons.pairs.tolist()):
        first, second = items[i], items[j]
        answer = Answer(first.response, second.response, float(data.y[row]))
        answer.prompt = first.prompt
        if labels is not None:
            answer.group = labels[i]
        if first.prompt != second.prompt or (labels and labels[i] != labels[j]):
            answer.second_prompt = second.prompt
            answer.second_group = None if labels is None else labels[j]
        answer.id = None if data.ids is None else data.ids[row]
        answer.annotator = None if data.annotators is None else data.annotators[row]
        answer.sample_weight = none_if_nan(data.sample_weight, row)
        answer.margin = none_if_nan(data.margins, row)
        answer.columns = {name: column[row] for name, column in data.columns.items()}
        answers.append(answer)
    return answers


def none_if_nan(column, row):
    """An entry of a column that may not be there, or not be known."""
    return None if column is None or np.isnan(column[row]) else float(column[row])
