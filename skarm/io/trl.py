"""TRL's preference format, also that of OpenRLHF and hh-rlhf."""

import math

from skarm.io._cells import get_id, get_number, get_sequence, get_text
from skarm.io._files import drop_empty, write_rows
from skarm.io._rows import Answer, each_answer, gather_preferences, read_each

__all__ = ["read_trl", "write_trl"]

_TURN = "\n\nAssistant:"  # starts a reply in hh-rlhf


def read_trl(
    source,
    *,
    prompt="prompt",
    chosen="chosen",
    rejected="rejected",
    id="id",
    prompt_id="prompt_id",
    annotator="annotator",
    sample_weight="sample_weight",
    margin="margin",
    join=None,
    on_error="raise",
):
    r"""Read pairs of a chosen and a rejected response.

    The chosen one comes first, with ``y = 1``: legitimate, for neither the fit nor a
    strategy depends on which comes first. A column ``y``, which :func:`write_trl` adds
    where it must, says otherwise.

    Parameters
    ----------
    source, join, on_error
        As for :func:`read_comparisons`.
    prompt, chosen, rejected : str
        Names of the columns: texts, or messages with ``role`` and ``content``. Where
        there is no prompt it is *implicit* [1]_, the common beginning of both: whole
        messages; of texts, up to the last ``"\n\nAssistant:"`` in it (hh-rlhf), else
        up to a blank. Rows with no common beginning are each a group of their own.
    id, prompt_id, annotator, sample_weight, margin : str
        Names of the columns with these; none of them need be there.

    Returns
    -------
    preferences : Preferences
        Every other column is in ``columns``.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.

    References
    ----------
    .. [1] TRL documentation, "Dataset formats and types", section Preference.

    Examples
    --------
    >>> from skarm.io import read_trl
    >>> row = {"chosen": "Q: How far?\n\nAssistant: Two miles.",
    ...        "rejected": "Q: How far?\n\nAssistant: Too far."}
    >>> preferences = read_trl([row])
    >>> preferences.prompts[0], preferences.responses.tolist()
    ('Q: How far?\n\nAssistant:', [' Two miles.', ' Too far.'])
    """
    known = {prompt, chosen, rejected, id, prompt_id, annotator, sample_weight, margin}
    known |= {"y", "chosen_parts", "rejected_parts", "second_prompt_id"}
    alone = iter(range(2**62))

    def parse(row):
        better, worse = get_text(row, chosen), get_text(row, rejected)
        group, second_prompt, second_group = get_id(row, prompt_id), None, None
        if row.get("chosen_parts") is not None:
            asked, better = _parts(row, "chosen_parts")
            second_prompt, worse = _parts(row, "rejected_parts")
            second_group = get_id(row, "second_prompt_id")
        elif row.get(prompt) is not None:
            asked = get_text(row, prompt)
        else:
            n = _common(better, worse)
            asked, better, worse = better[:n], better[n:], worse[n:]
            if not asked and group is None:
                group = ("alone", next(alone))
        y = get_number(row, "y", low=0, high=1)
        yield Answer(
            better,
            worse,
            1.0 if y is None else y,
            prompt=asked,
            group=group,
            second_prompt=second_prompt,
            second_group=second_group,
            id=get_id(row, id),
            annotator=get_id(row, annotator),
            sample_weight=get_number(row, sample_weight, low=0),
            margin=get_number(row, margin),
            columns={name: row[name] for name in row if name not in known},
        )

    answers, report = read_each(source, parse, on_error)
    return gather_preferences(answers, report, join)


def _parts(row, name):
    parts = get_sequence(row, name)
    if len(parts) != 2:
        raise ValueError(
            f"{name!r} must hold a prompt and a response. Got {len(parts)} entries."
        )
    return [get_text({name: part}, name) for part in parts]


def _common(left, right):
    """Length of the implicit prompt of two texts, or two lists of messages."""
    n = 0
    shorter = min(len(left), len(right))
    if type(left) is type(right):
        while n < shorter and left[n] == right[n]:
            n += 1
    if not isinstance(left, str):
        return n
    turn = left.rfind(_TURN, 0, n)
    if turn >= 0:
        return turn + len(_TURN)
    while n > 0 and not left[n : n + 1].isspace() and not right[n : n + 1].isspace():
        n -= 1
    return n


def write_trl(data, y=None, path=None, *, implicit_prompt=False, ties="drop"):
    """Write pairs of a chosen and a rejected response, as TRL's trainers read them.

    Parameters
    ----------
    data : Preferences or Comparisons
        Of texts, such as ``learner.asked_``.
    y : array-like of shape (n,), default=None
        Outcomes of comparisons, such as ``learner.y_``; preferences have theirs. A pair
        without an answer (NaN) is not written.
    path : str or path-like, default=None
        As for :func:`write_comparisons`.
    implicit_prompt : bool, default=False
        Whether to begin both texts with the prompt instead of a column of its own.
    ties : {"drop", "keep"}, default="drop"
        Whether pairs with ``y = 0.5`` are written. TRL has no ties and would learn
        them as preferences; ``"keep"`` is for reading them back.

    Returns
    -------
    rows : list of dict
        ``prompt, chosen, rejected``, then what is known of ``margin, id, prompt_id,
        annotator, sample_weight`` and further columns, which trainers ignore. Shares of
        annotators go into a column ``y``, P(chosen is preferred). Where a pair lies
        across prompts, every prompt is implicit, and the columns ``chosen_parts`` and
        ``rejected_parts`` keep it apart from the response.

    Raises
    ------
    ValueError
        If the items are not texts, or the format cannot hold a value.

    Notes
    -----
    :func:`read_trl` reads it back loss-free, but for the order within a pair: the
    preferred one comes first. TRL's trainers put a prompt right before its response,
    with nothing between, and want a margin in every row or in none.

    Examples
    --------
    >>> from skarm import Comparisons
    >>> from skarm.io import write_trl
    >>> write_trl(Comparisons(["Far.", "Two miles."], [[0, 1]]), [0])
    [{'prompt': '', 'chosen': 'Two miles.', 'rejected': 'Far.'}]
    """
    if ties not in ("drop", "keep"):
        raise ValueError(f"ties must be 'drop' or 'keep'. Got {ties!r}.")
    answers = [
        answer
        for answer in each_answer(data, y)
        if not math.isnan(answer.y) and (ties == "keep" or answer.y != 0.5)
    ]
    across = any(answer.is_across for answer in answers)
    soft = any(answer.y not in (0.0, 1.0) for answer in answers)
    rows = []
    for answer in answers:
        better, worse = answer.parts
        if answer.y < 0.5:
            better, worse = worse, better
        row = {
            "prompt": better[1],
            "chosen": better[2],
            "rejected": worse[2],
            "margin": answer.margin,
            "id": answer.id,
            "prompt_id": better[0],
            "annotator": answer.annotator,
            "sample_weight": answer.sample_weight,
        }
        if soft:
            row["y"] = max(answer.y, 1.0 - answer.y)
        if across or implicit_prompt:
            row.pop("prompt")
            row["chosen"], row["rejected"] = _whole(*better[1:]), _whole(*worse[1:])
        if across:
            row["chosen_parts"] = list(better[1:])
            row["rejected_parts"] = list(worse[1:])
            row["second_prompt_id"] = worse[0]
        rows.append({**row, **answer.columns, **row})
    return write_rows(drop_empty(rows, ("prompt", "chosen", "rejected")), path)


def _whole(prompt, response):
    """Prompt and response as one text or one list of messages."""
    if isinstance(prompt, str) and isinstance(response, str):
        return prompt + response
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}] if prompt else []
    if isinstance(response, str):
        response = [{"role": "assistant", "content": response}]
    return prompt + response
