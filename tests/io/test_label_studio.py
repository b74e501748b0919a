"""Label Studio: tasks out, annotations in."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_data import messages, preferences, rows_of, through_json

from skarm import Comparisons
from skarm.io import (
    label_studio_config,
    read_comparisons,
    read_label_studio,
    write_label_studio,
)

VOTES = [
    {"id": "a", "prompt": "Where?", "first": "Here.", "second": "There.", **vote}
    for vote in (
        {"y": 1, "annotator": 7},
        {"y": 0.5, "annotator": 8},
        {"y": None, "annotator": 9},
    )
]


def choose(side):
    value = {"selected": side}
    return {"from_name": "pairwise", "to_name": "x", "type": "pairwise", "value": value}


def mark(*choices):
    return {"from_name": "tie", "type": "choices", "value": {"choices": list(choices)}}


def exported(*annotations, **data):
    """A task as Label Studio exports it, in the fields that matter here."""
    task = {"prompt": "Where?", "text1": "Here.", "text2": "There.", **data}
    return {
        "id": 42,
        "data": task,
        "annotations": [
            {"id": 1001 + k, "was_cancelled": False, "completed_by": 10 + k, **a}
            for k, a in enumerate(annotations)
        ],
        "predictions": [],
    }


@pytest.mark.parametrize("seed", [0, 1])
@given(
    preferences(
        messages=messages, across=True, annotators=True, outcomes=(0.0, 0.5, 1.0, None)
    )
)
@settings(deadline=None, max_examples=60)
def test_annotated_tasks_come_back(seed, data):
    tasks = through_json(write_label_studio(data, random_state=seed))
    assert rows_of(read_label_studio(tasks)) == rows_of(data)


@given(preferences(outcomes=(None,)), st.integers(0, 9))
@settings(deadline=None)
def test_the_left_choice_wins_for_the_response_shown_left(data, seed):
    tasks = write_label_studio(data, random_state=seed)
    assert all("annotations" not in task for task in tasks)
    for task in tasks:
        task["annotations"] = [{"completed_by": 1, "result": [choose("left")]}]
    back = read_label_studio(tasks)
    winners = [
        pair[int(y == 0)]
        for pair, y in zip(back.comparisons.pairs, back.y, strict=True)
    ]
    assert back.responses[winners].tolist() == [task["data"]["text1"] for task in tasks]
    assert back.ids.tolist() == data.ids.tolist()


def test_sides_are_drawn_evenly_and_seeded():
    items = [f"{number}" for number in range(401)]
    pool = Comparisons(items, [[k, k + 1] for k in range(400)])
    tasks = write_label_studio(pool, random_state=0)
    left = [task["data"]["left"] == "first" for task in tasks]
    assert abs(np.mean(left) - 0.5) < 4 * 0.5 / np.sqrt(400)
    assert tasks == write_label_studio(pool, random_state=0)
    assert tasks != write_label_studio(pool, random_state=1)


def test_all_answers_to_a_pair_are_one_task():
    (task,) = write_label_studio(read_comparisons(VOTES))
    assert [a["completed_by"] for a in task["annotations"]] == [7, 8, 9]
    assert [a["was_cancelled"] for a in task["annotations"]] == [False, False, True]
    pair = Comparisons(["a", "b"], [[0, 1], [1, 0]])
    (task,) = write_label_studio(pair, [1, 0])  # without ids: whichever comes first
    sides = [a["result"][0]["value"]["selected"] for a in task["annotations"]]
    assert len(set(sides)) == 1
    assert read_label_studio([task]).y.tolist() == [1, 1]


def test_one_id_for_two_pairs_is_refused():
    rows = [VOTES[0], {**VOTES[0], "first": "Far."}]
    with pytest.raises(
        ValueError, match=r"about one pair. Id 'a' is about two. Number"
    ):
        write_label_studio(read_comparisons(rows))


def test_a_share_is_no_annotation():
    with pytest.raises(
        ValueError, match=r"must be 0, 0.5, 1 or NaN. Got 0\.\d+. Write"
    ):
        write_label_studio(Comparisons(["a", "b"], [[0, 1]]), [0.3])


def test_an_export_is_read_with_annotators_ties_and_skips():
    task = exported(
        {"result": [choose("right")]},
        {"result": [choose("left"), mark("Tie")]},
        {"result": [], "was_cancelled": True},
        {"result": [mark("other")]},
        {"result": [choose("left")], "completed_by": {"id": 3, "email": "a@b.org"}},
    )
    data = read_label_studio([task, exported()])
    assert np.array_equal(data.y, [0, 0.5, np.nan, 1], equal_nan=True)
    assert data.annotators.tolist() == [10, 11, 12, "a@b.org"]
    assert data.ids.tolist() == [42] * 4
    assert data.report.reasons == {
        "an annotation selects neither a side nor a tie": ["row 1"],
        "nobody has annotated the task": ["row 2"],
    }


def test_fields_of_other_projects_can_be_named():
    row = {
        "data": {"q": "Where?", "answer1": "Here.", "answer2": "There.", "lang": "en"},
        "annotations": [{"result": [choose("left")]}],
    }
    data = read_label_studio([row], prompt="q", left="answer1", right="answer2")
    assert data.y.tolist() == [1] and data.columns["lang"].tolist() == ["en"]


@pytest.mark.parametrize(
    "row, message",
    [
        ({"id": 1}, "'data' must hold an object. Got None"),
        (exported({"result": [choose("up")]}), "must be 'left' or 'right'. Got 'up'"),
        (exported({"result": "x"}), "'result' must hold a list"),
        (exported(left="up"), "'left' must be 'first' or 'second'. Got 'up'"),
        (exported({"result": [choose("left")]}, exact=["a"]), "four texts. Got 1"),
        (exported({"result": [choose("left")], "completed_by": [1]}), "must be a user"),
        ({**exported(), "annotations": [3]}, "annotation must be an object. Got 3"),
        ({**exported(), "annotations": 3}, "'annotations' must hold a list. Got 3"),
    ],
)
def test_malformed_tasks_say_what_must_hold(row, message):
    with pytest.raises(ValueError, match=message + r".*Row 1 of"):
        read_label_studio([row])


def test_the_interface_shows_what_the_tasks_hold():
    config = ET.fromstring(label_studio_config())
    (task,) = write_label_studio(Comparisons(["a", "b"], [[0, 1]]), [0.5])
    shown = {text.get("name"): text.get("value") for text in config.iter("Text")}
    assert all(value.removeprefix("$") in task["data"] for value in shown.values())
    (pairwise,) = config.iter("Pairwise")
    assert pairwise.get("toName").split(",") == ["text1", "text2"]
    (result,) = task["annotations"][0]["result"]
    (choices,) = config.iter("Choices")
    assert (choices.get("name"), choices.get("toName")) == (
        result["from_name"],
        result["to_name"],
    )
    assert [c.get("value") for c in choices] == result["value"]["choices"]
    assert result["to_name"] in shown


def test_real_votes_make_the_round_trip(shared_data, tmp_path):
    data = read_comparisons(
        shared_data / "pandalm_human_public.jsonl.gz",
        first="response_1",
        second="response_2",
        y="labels",
        outcomes={1: 1, 2: 0, 0: 0.5},
    )
    assert len(data) == 3 * 494
    write_label_studio(data, path=tmp_path / "tasks.json")
    back = read_label_studio(tmp_path / "tasks.json")
    assert len(back) == len(data) and len(back.aggregate()) == len(data.aggregate())
    shares = [
        {
            frozenset([(a, y), (b, 1 - y)])
            for (a, b), y in zip(
                d.comparisons.items[d.comparisons.pairs], d.y.round(6), strict=True
            )
        }
        for d in (data.aggregate(), back.aggregate())
    ]
    assert shares[0] == shares[1]
