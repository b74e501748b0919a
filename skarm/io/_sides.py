"""Questions shown left and right: what the annotation tools have in common."""

import math
from dataclasses import dataclass, field

from sklearn.utils import check_random_state

from skarm.io._cells import get_id, get_sequence, get_text
from skarm.io._rows import Answer, each_answer
from skarm.io._texts import render_messages

__all__ = ["Question", "each_question", "read_question"]

_RECORD = ("left", "id", "prompt_id", "second_prompt_id", "exact")


@dataclass
class Question:
    """A pair as it is shown, and all answers to it."""

    prompt: str
    left: str
    right: str
    record: dict  # what to store with the task, to read it back
    parts: tuple
    answers: list = field(default_factory=list)  # (annotator, "left", "right", ...)


def each_question(data, y, random_state):
    """Questions of preferences, each with its answers; sides are drawn and recorded.

    Rows with one id, or about one pair where there are no ids, are one question.
    """
    rng = check_random_state(random_state)
    questions = {}
    for answer in each_answer(data, y):
        key = (type(answer.id), answer.id)
        if answer.id is None:
            key = frozenset(map(str, answer.parts))
        if key not in questions:
            questions[key] = _ask(answer, bool(rng.randint(2)))
        question = questions[key]
        if answer.parts not in (question.parts, question.parts[::-1]):
            raise ValueError(
                "rows with one id must be about one pair. "
                f"Id {answer.id!r} is about two. Number the rows anew."
            )
        if answer.annotator is not None or not math.isnan(answer.y):
            y_left = answer.y
            if (answer.parts == question.parts) != (question.record["left"] == "first"):
                y_left = 1.0 - y_left
            question.answers.append((answer.annotator, _side(y_left)))
    return list(questions.values())


def _ask(answer, first_left):
    (group, prompt, first), (second_group, second_prompt, second) = answer.parts
    asked = render_messages(prompt)
    shown = [render_messages(text) for text in (first, second)]
    if prompt != second_prompt:
        asks = asked, render_messages(second_prompt)
        shown = [f"{ask}\n\n{text}" for ask, text in zip(asks, shown, strict=True)]
        asked = ""
    record = {
        **answer.columns,
        "left": "first" if first_left else "second",
        "id": answer.id,
        "prompt_id": group,
        "second_prompt_id": second_group if second_group != group else None,
        "exact": [prompt, first, second_prompt, second],
    }
    if [asked, shown[0], asked, shown[1]] == record["exact"]:
        del record["exact"]  # what is shown says it all
    record = {name: value for name, value in record.items() if value is not None}
    left, right = shown if first_left else reversed(shown)
    return Question(asked, left, right, record, answer.parts)


def _side(y_left):
    """Which of "left", "right" and "tie" says this; None for no answer."""
    if math.isnan(y_left):
        return None
    if y_left not in (0.0, 0.5, 1.0):
        raise ValueError(
            "an annotation is a side or a tie: y must be 0, 0.5, 1 or NaN. "
            f"Got {y_left:g}. Write shares with write_comparisons."
        )
    return {1.0: "left", 0.0: "right", 0.5: "tie"}[y_left]


def read_question(prompt, left, right, record, answers, *, default_id=None, shown=()):
    """Yield an :class:`Answer` for each of `answers`, as :class:`Question` holds them.

    `record` is what was stored with the task; the names in `shown` and its own are not
    columns of the user.
    """
    side = record.get("left", "first")
    if side not in ("first", "second"):
        raise ValueError(f"'left' must be 'first' or 'second'. Got {side!r}.")
    first, second = (left, right) if side == "first" else (right, left)
    group, second_group = (
        get_id(record, "prompt_id"),
        get_id(record, "second_prompt_id"),
    )
    second_prompt = None if second_group is None else prompt
    if record.get("exact") is not None:
        exact = get_sequence(record, "exact")
        if len(exact) != 4:
            raise ValueError(f"'exact' must hold four texts. Got {len(exact)}.")
        exact = [get_text({"exact": text}, "exact") for text in exact]
        prompt, first, second_prompt, second = exact
    id = get_id(record, "id")
    columns = {n: record[n] for n in record if n not in (*_RECORD, *shown)}
    outcome = {"left": 1.0, "right": 0.0, "tie": 0.5, None: math.nan}
    for annotator, choice in answers:
        y_left = outcome[choice]
        yield Answer(
            first,
            second,
            y_left if side == "first" else 1.0 - y_left,
            prompt=prompt,
            second_prompt=second_prompt,
            group=group,
            second_group=group if second_group is None else second_group,
            id=default_id if id is None else id,
            annotator=annotator,
            columns=columns,
        )
