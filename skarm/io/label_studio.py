"""Label Studio: pairwise tasks out, annotations in."""

from collections.abc import Mapping
from numbers import Real

from skarm.io._cells import get_id, get_mapping, get_sequence, get_text, shown
from skarm.io._files import write_rows
from skarm.io._rows import Skip, gather_preferences, read_each
from skarm.io._sides import each_question, read_question

__all__ = ["label_studio_config", "read_label_studio", "write_label_studio"]

_CONFIG = """\
<View>
  <Text name="prompt" value="$prompt"/>
  <Header value="Which response is better?"/>
  <Pairwise name="pairwise" toName="text1,text2"/>
  <View style="display: flex; gap: 1em">
    <View style="flex: 1"><Text name="text1" value="$text1"/></View>
    <View style="flex: 1"><Text name="text2" value="$text2"/></View>
  </View>
  <Choices name="tie" toName="prompt" choice="single" showInline="true">
    <Choice value="tie" hotkey="t"/>
  </Choices>
</View>
"""


def label_studio_config():
    """Return the labeling interface for the tasks of :func:`write_label_studio`.

    The tag Pairwise knows no tie [1]_, hence the Choices control beside it.

    Returns
    -------
    config : str
        XML, for Settings, Labeling Interface, Code of a project.

    References
    ----------
    .. [1] Label Studio documentation, "Pairwise" and "Choices" tags,
       https://labelstud.io/tags/pairwise.html
    """
    return _CONFIG


def write_label_studio(data, y=None, path=None, *, random_state=0):
    """Write tasks to import into Label Studio; answers, if any, as annotations.

    Parameters
    ----------
    data : Preferences or Comparisons
        Of texts, such as what ``learner.query`` returned. Rows with one id (or, without
        ids, about one pair) are one task.
    y : array-like of shape (n,), default=None
        Outcomes of comparisons, 0, 0.5 or 1; preferences have theirs. A row without
        (NaN) is only a task; with an annotator, a skipped annotation.
    path : str or path-like, default=None
        A ``.json`` file. None only returns the tasks.
    random_state : int, RandomState or None, default=0
        Draws which response is shown left, against position bias; ``data.left`` says
        which one it is.

    Returns
    -------
    tasks : list of dict
        Task ``data``: ``prompt``, ``text1`` (left), ``text2`` (right), ``left``
        ("first" or "second"), ``id``, ``prompt_id``, and the further columns. Where
        the texts shown are not what they were (messages, two prompts), ``exact`` keeps
        those. ``annotations``, with annotators as ``completed_by``: in Label Studio
        the number of a user.

    Raises
    ------
    ValueError
        If the items are not texts, an answer is a share, or one id names two pairs.

    Notes
    -----
    :func:`read_label_studio` reads the tasks, with the annotations that people add,
    back loss-free; weights and margins are not written.

    Examples
    --------
    >>> from skarm import Comparisons
    >>> from skarm.io import write_label_studio
    >>> pair = Comparisons(["Far.", "Two miles."], [[0, 1]])
    >>> write_label_studio(pair)[0]["data"]
    {'left': 'second', 'prompt': '', 'text1': 'Two miles.', 'text2': 'Far.'}
    """
    tasks = []
    for question in each_question(data, y, random_state):
        shown = {
            "prompt": question.prompt,
            "text1": question.left,
            "text2": question.right,
        }
        task = {"data": {**question.record, **shown}}
        if question.answers:
            task["annotations"] = [
                {
                    "completed_by": annotator,
                    "was_cancelled": side is None,
                    "result": [] if side is None else [_result(side)],
                }
                for annotator, side in question.answers
            ]
        tasks.append(task)
    return write_rows(tasks, path)


def _result(side):
    if side == "tie":
        return {
            "from_name": "tie",
            "to_name": "prompt",
            "type": "choices",
            "value": {"choices": ["tie"]},
        }
    return {
        "from_name": "pairwise",
        "to_name": "text1,text2",
        "type": "pairwise",
        "value": {"selected": side},
    }


def read_label_studio(
    source,
    *,
    prompt="prompt",
    left="text1",
    right="text2",
    tie="tie",
    join=None,
    on_error="raise",
):
    """Read pairwise annotations that Label Studio has exported.

    Parameters
    ----------
    source, join, on_error
        As for :func:`read_comparisons`; the export format "JSON" [1]_.
    prompt, left, right : str
        Fields of a task's ``data``; the prompt may be missing.
    tie : str, default="tie"
        The choice, of any Choices control, that means a tie; case does not matter. It
        counts more than a selected side.

    Returns
    -------
    preferences : Preferences
        One row per annotation, with the annotator's id or e-mail address; y is NaN
        where a person has skipped the task. Tasks that nobody has annotated are left
        out and reported. ``ids`` are those in ``data``, else the tasks'.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`read_comparisons`.

    References
    ----------
    .. [1] Label Studio documentation, "Export annotations", section "Label Studio JSON
       format of annotated tasks"; the value of Pairwise is ``{"selected": "left"}`` or
       ``"right"`` (``Pairwise.js`` in HumanSignal/label-studio).
    """

    def parse(row):
        data = get_mapping(row, "data")
        texts = (
            get_text(data, prompt, default=""),
            get_text(data, left),
            get_text(data, right),
        )
        answers = []
        annotations = row.get("annotations")
        if annotations is not None:
            annotations = get_sequence(row, "annotations")
        for annotation in annotations or ():
            if not isinstance(annotation, Mapping):
                raise ValueError(
                    f"an annotation must be an object. Got {shown(annotation)}."
                )
            side = _side(annotation, tie)
            if side == "unclear":
                yield Skip("an annotation selects neither a side nor a tie")
            else:
                answers.append((_annotator(annotation), side))
        if not annotations:
            yield Skip("nobody has annotated the task")
        yield from read_question(
            *texts,
            data,
            answers,
            default_id=get_id(row, "id"),
            shown=(prompt, left, right),
        )

    answers, report = read_each(source, parse, on_error)
    return gather_preferences(answers, report, join)


def _side(annotation, tie):
    """Which of "left", "right", "tie", None (skipped) and "unclear" it says."""
    if annotation.get("was_cancelled") is True:
        return None
    selected = "unclear"
    for result in get_sequence(annotation, "result"):
        value = result.get("value") if isinstance(result, Mapping) else None
        if not isinstance(value, Mapping):
            continue
        choices = value.get("choices")
        if isinstance(choices, list) and tie.lower() in map(_lower, choices):
            return "tie"
        if result.get("type") == "pairwise":
            selected = value.get("selected")
            if selected not in ("left", "right"):
                raise ValueError(
                    "'selected' must be 'left' or 'right'. Got " + shown(selected) + "."
                )
    return selected


def _lower(choice):
    return choice.lower() if isinstance(choice, str) else choice


def _annotator(annotation):
    """Id of a user, or the e-mail address where the export has users in full."""
    user = annotation.get("completed_by")
    if isinstance(user, Mapping):
        user = user.get("email") or user.get("id")
    if user is None or isinstance(user, (str, Real)):
        return user
    raise ValueError(f"'completed_by' must be a user. Got {shown(user)}.")
