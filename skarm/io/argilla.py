"""Argilla: records with a ranking question out, rankings in."""

from collections.abc import Mapping
from itertools import combinations
from numbers import Real

from skarm.io._cells import get_id, get_mapping, get_text, shown
from skarm.io._files import write_rows
from skarm.io._rows import Answer, Skip, gather_preferences, read_each
from skarm.io._sides import each_question, read_question

__all__ = ["read_argilla", "write_argilla"]

_RANKS = {"left": (1, 2), "right": (2, 1), "tie": (1, 1)}


def write_argilla(data, y=None, path=None, *, question="preference", random_state=0):
    """Write records with a ranking question; answers, if any, as responses.

    Parameters
    ----------
    data, y, random_state
        As for :func:`write_label_studio`.
    path : str or path-like, default=None
        A ``.json`` or ``.jsonl`` file. None only returns the records.
    question : str, default="preference"
        Name of the ranking question, over the fields ``response1`` and ``response2``.

    Returns
    -------
    records : list of dict
        ``id``, ``fields`` (``prompt``, ``response1``, ``response2``), ``metadata``
        (``left``: which one ``response1`` is, ids and columns), and ``responses`` by
        question, each with ``value`` (``[{"value": "response1", "rank": 1}, ...]``,
        equal ranks for a tie), ``user_id`` and ``status``.

    Raises
    ------
    ValueError
        As for :func:`write_label_studio`.

    Notes
    -----
    The records are those of ``Record.from_dict`` in Argilla's SDK, with rankings as its
    server stores them [1]_. The SDK itself takes and returns a ranking as a list of
    names from best to worst, without ties.

    References
    ----------
    .. [1] ``RankingQuestionResponseValueItem`` in argilla_server, and
       ``Record.to_dict``, argilla-io/argilla.
    """
    records = []
    for asked in each_question(data, y, random_state):
        record = {
            "id": asked.record.get("id"),
            "fields": {
                "prompt": asked.prompt,
                "response1": asked.left,
                "response2": asked.right,
            },
            "metadata": asked.record,
            "responses": {},
        }
        answers = []
        for annotator, side in asked.answers:
            ranks = zip(("response1", "response2"), _RANKS.get(side, ()), strict=False)
            answers.append(
                {
                    "value": [{"value": name, "rank": rank} for name, rank in ranks],
                    "user_id": annotator,
                    "status": "discarded" if side is None else "submitted",
                }
            )
        if answers:
            record["responses"][question] = answers
        records.append(record)
    return write_rows(records, path)


def read_argilla(
    source,
    *,
    question="preference",
    prompt="prompt",
    join=None,
    on_error="raise",
):
    """Read answers to a ranking question of Argilla.

    Parameters
    ----------
    source, join, on_error
        As for :func:`read_comparisons`: records as ``dataset.records.to_list()`` gives
        them, as the server does, or as the first SDK put them on the Hub (fields at the
        top, ``value`` as parallel lists).
    question : str, default="preference"
        Name of the ranking question. What it ranks are names of fields.
    prompt : str, default="prompt"
        Name of the field with the prompt; it may be missing.

    Returns
    -------
    preferences : Preferences
        A row per annotator and pair; K ranked responses are K (K - 1) / 2 pairs, equal
        ranks are ties. A discarded response has y NaN; drafts, and records without a
        response, are left out and reported.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.

    Examples
    --------
    >>> from skarm.io import read_argilla
    >>> ranking = [{"value": "b", "rank": 1}, {"value": "a", "rank": 1}]
    >>> record = {
    ...     "id": "7",
    ...     "fields": {"prompt": "How far?", "a": "Far.", "b": "Two miles."},
    ...     "responses": {"preference": [{"value": ranking, "user_id": "ann"}]},
    ... }
    >>> read_argilla([record]).y
    array([0.5])
    """

    def parse(row):
        fields = get_mapping(row, "fields") if "fields" in row else row
        record = row.get("metadata")
        record = record if isinstance(record, Mapping) else {}
        asked = get_text(fields, prompt, default="")
        answers = list(_answers(row, question))
        if not answers:
            yield Skip("nobody has answered the record")
        for annotator, status, value in answers:
            if status == "draft":
                yield Skip("a response is a draft")
                continue
            ranks = {} if status == "discarded" else _ranking(value)
            if not ranks:
                ranks = dict.fromkeys(("response1", "response2"))
            texts = {name: get_text(fields, name) for name in ranks}
            yield from _pairs(row, record, asked, texts, ranks, annotator)

    answers, report = read_each(source, parse, on_error)
    return gather_preferences(answers, report, join)


def _pairs(row, record, asked, texts, ranks, annotator):
    id = get_id(row, "id")
    id = get_id(row, "external_id") if id is None else id
    if set(texts) == {"response1", "response2"}:
        left, right = ranks["response1"], ranks["response2"]
        side = None
        if left is not None:
            side = "tie" if left == right else "left" if left < right else "right"
        yield from read_question(
            asked,
            texts["response1"],
            texts["response2"],
            record,
            [(annotator, side)],
            default_id=id,
        )
        return
    for first, second in combinations(texts, 2):
        a, b = ranks[first], ranks[second]
        yield Answer(
            texts[first],
            texts[second],
            0.5 if a == b else float(a < b),
            prompt=asked,
            group=get_id(record, "prompt_id"),
            id=id,
            annotator=annotator,
            columns=dict(record),
        )


def _answers(row, question):
    """(user, status, value) of each response, in the three ways they are exported."""
    responses = row.get("responses")
    if isinstance(responses, Mapping):
        responses = responses.get(question)
    elif responses is None:
        responses = row.get(question)
    if responses is None:
        return
    if not isinstance(responses, list):
        raise ValueError(f"responses must be a list. Got {shown(responses)}.")
    for response in responses:
        if not isinstance(response, Mapping):
            raise ValueError(f"a response must be an object. Got {shown(response)}.")
        value = response.get("value")
        if isinstance(response.get("values"), Mapping):  # the server's
            value = response["values"].get(question)
            value = value.get("value") if isinstance(value, Mapping) else None
        yield get_id(response, "user_id"), response.get("status"), value


def _ranking(value):
    """Rank by name of what is ranked, from any of the forms a ranking has."""
    if isinstance(value, Mapping):  # parallel lists
        names, ranks = value.get("value"), value.get("rank")
        if not isinstance(names, list) or not isinstance(ranks, list):
            raise ValueError(
                f"a ranking must hold names and ranks. Got {shown(value)}."
            )
        value = [{"value": n, "rank": r} for n, r in zip(names, ranks, strict=False)]
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError(f"a ranking must hold two names or more. Got {shown(value)}.")
    if all(isinstance(name, str) for name in value):  # from best to worst
        value = [{"value": name, "rank": k} for k, name in enumerate(value, start=1)]
    ranking = {}
    for entry in value:
        name = entry.get("value") if isinstance(entry, Mapping) else None
        rank = entry.get("rank") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not isinstance(rank, Real):
            raise ValueError(
                f"a ranking must hold a name and a rank each. Got {shown(entry)}."
            )
        ranking[name] = rank
    return dict(sorted(ranking.items()))
