"""Chatbot Arena battles."""

import math

from skarm.io._cells import get_id, get_text, is_messages, shown
from skarm.io._files import drop_empty, write_rows
from skarm.io._rows import Answer, each_answer, gather_preferences, read_each

__all__ = ["read_arena", "write_arena"]

_OUTCOMES = {"model_a": 1.0, "model_b": 0.0}
_TIES = ("tie", "tie (bothbad)", "both_bad", "bothbad")


def read_arena(source, *, id="question_id", join=None, on_error="raise"):
    """Read battles of two models, as LMSYS and LMArena publish them.

    Parameters
    ----------
    source, join, on_error
        As for :func:`read_comparisons`. Rows have ``winner`` ("model_a", "model_b",
        "tie", "tie (bothbad)" or "both_bad") and ``conversation_a`` and
        ``conversation_b``, lists of messages, of which the common beginning is the
        prompt; or ``prompt``, ``response_a`` and ``response_b``.
    id : str, default="question_id"
        Name of the column with the id of a battle, if there.

    Returns
    -------
    preferences : Preferences
        Model a comes first; both kinds of tie have y = 0.5. A conversation of one turn
        becomes two texts. ``annotators`` is the column ``judge``; ``columns`` holds the
        others, ``winner``, ``model_a`` and ``model_b`` among them.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.

    References
    ----------
    .. [1] Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena",
       NeurIPS 2023; data set lmsys/chatbot_arena_conversations.

    Examples
    --------
    >>> from skarm.io import read_arena
    >>> def talk(text):
    ...     return [{"role": "user", "content": "How far?"},
    ...             {"role": "assistant", "content": text}]
    >>> battle = {"model_a": "x", "model_b": "y", "winner": "tie (bothbad)",
    ...           "conversation_a": talk("Far."), "conversation_b": talk("Very.")}
    >>> battles = read_arena([battle])
    >>> battles.y, battles.responses.tolist()
    (array([0.5]), ['Far.', 'Very.'])
    """
    texts = {"conversation_a", "conversation_b", "prompt", "response_a", "response_b"}
    known = {*texts, id, "judge", "prompt_id"}

    def parse(row):
        winner = row.get("winner")
        if winner not in (*_OUTCOMES, *_TIES):
            raise ValueError(
                f"'winner' must be one of {[*_OUTCOMES, *_TIES]}. Got {shown(winner)}."
            )
        if row.get("conversation_a") is not None:
            prompt, first, second = _split(
                get_text(row, "conversation_a"), get_text(row, "conversation_b")
            )
        else:
            prompt, first, second = (
                get_text(row, name) for name in ("prompt", "response_a", "response_b")
            )
        yield Answer(
            first,
            second,
            _OUTCOMES.get(winner, 0.5),
            prompt=prompt,
            group=get_id(row, "prompt_id"),
            id=get_id(row, id),
            annotator=get_id(row, "judge"),
            columns={name: row[name] for name in row if name not in known},
        )

    answers, report = read_each(source, parse, on_error)
    return gather_preferences(answers, report, join)


def _split(left, right):
    """Prompt and the two responses of two conversations."""
    if isinstance(left, str) or isinstance(right, str):
        raise ValueError("conversations must be lists of messages. Got a text.")
    n = 0
    while n < min(len(left), len(right)) and left[n] == right[n]:
        n += 1
    parts = left[:n], left[n:], right[n:]
    roles = ("user", "assistant", "assistant")
    if all(map(_is_single, parts, roles)):
        return tuple(part[0]["content"] for part in parts)
    return parts


def _is_single(messages, role):
    """Whether this is one message that a text can stand for."""
    return (
        len(messages) == 1
        and messages[0].keys() == {"role", "content"}
        and messages[0]["role"] == role
        and isinstance(messages[0]["content"], str)
    )


def write_arena(data, y=None, path=None):
    """Write battles of two models.

    Parameters
    ----------
    data : Preferences or Comparisons
        Of texts; ``columns`` may hold ``model_a`` and ``model_b``, and a ``winner``
        that tells the kind of a tie.
    y : array-like of shape (n,), default=None
        Outcomes of comparisons, 0, 0.5 or 1; preferences have theirs. A pair without an
        answer (NaN) is not written.
    path : str or path-like, default=None
        As for :func:`write_comparisons`; not CSV.

    Returns
    -------
    rows : list of dict
        ``question_id, model_a, model_b, winner, judge, conversation_a, conversation_b,
        prompt_id`` and the further columns.

    Raises
    ------
    ValueError
        If the items are not texts, an answer is a share, or a pair lies across prompts.
    """
    rows = []
    for answer in each_answer(data, y):
        if math.isnan(answer.y):
            continue
        if answer.is_across or answer.y not in (0.0, 0.5, 1.0):
            what = "a pair across prompts" if answer.is_across else f"y = {answer.y:g}"
            raise ValueError(
                "a battle is about one prompt, and won, lost or tied. "
                f"Got {what}. Use write_comparisons."
            )
        winner = {1.0: "model_a", 0.0: "model_b", 0.5: "tie"}[answer.y]
        if winner == "tie" and answer.columns.get("winner") in _TIES:
            winner = answer.columns["winner"]
        prompt = _messages(answer.prompt, "user")
        row = {
            "question_id": answer.id,
            "model_a": answer.columns.get("model_a"),
            "model_b": answer.columns.get("model_b"),
            "winner": winner,
            "judge": answer.annotator,
            "conversation_a": prompt + _messages(answer.first, "assistant"),
            "conversation_b": prompt + _messages(answer.second, "assistant"),
            "prompt_id": answer.group,
        }
        rows.append({**row, **answer.columns, **row})
    return write_rows(drop_empty(rows), path)


def _messages(text, role):
    return text if is_messages(text) else [{"role": role, "content": text}]
