"""Argilla: records out, rankings in."""

import numpy as np
import pytest
from hypothesis import given, settings
from preference_data import messages, preferences, rows_of, through_json

from skarm.io import read_argilla, write_argilla

FIELDS = {"prompt": "Where?", "response1": "Here.", "response2": "There."}


def record(*responses, **more):
    return {
        "id": "r",
        "fields": FIELDS,
        "responses": {
            "preference": [
                {"user_id": f"u{k}", **response} for k, response in enumerate(responses)
            ]
        },
        **more,
    }


def ranks(**ranks):
    return [{"value": name, "rank": rank} for name, rank in ranks.items()]


@given(
    preferences(
        messages=messages, across=True, annotators=True, outcomes=(0.0, 0.5, 1.0, None)
    )
)
@settings(deadline=None)
def test_answered_records_come_back(data):
    records = through_json(write_argilla(data, random_state=1))
    assert rows_of(read_argilla(records)) == rows_of(data)


def test_rankings_have_one_meaning_in_all_their_forms():
    value = ranks(response1=2, response2=1)
    forms = [
        record({"value": value}),  # Record.to_dict, with ranks as the server has them
        record({"value": ["response2", "response1"]}),  # the second SDK: best first
        {
            **FIELDS,
            "preference": [
                {
                    "user_id": "u0",
                    "status": "submitted",
                    "value": {"value": ["response1", "response2"], "rank": [2, 1]},
                }
            ],
        },  # the Hub, first SDK
        {
            "fields": FIELDS,
            "responses": [
                {
                    "user_id": "u0",
                    "status": "submitted",
                    "values": {"preference": {"value": value}},
                }
            ],
        },  # the server
    ]
    for form in forms:
        data = read_argilla([form])
        assert (data.y.tolist(), data.annotators.tolist()) == ([0.0], ["u0"])
        assert data.responses.tolist() == ["Here.", "There."]


def test_discarded_drafts_and_unanswered_records():
    data = read_argilla(
        [
            record(
                {"value": ranks(response1=1, response2=1)},
                {"value": None, "status": "discarded"},
                {"value": ranks(response1=1, response2=2), "status": "draft"},
            ),
            record(),
            {"fields": FIELDS},
        ]
    )
    assert np.array_equal(data.y, [0.5, np.nan], equal_nan=True)
    assert data.annotators.tolist() == ["u0", "u1"]
    assert data.report.reasons == {
        "a response is a draft": ["row 1"],
        "nobody has answered the record": ["row 2", "row 3"],
    }


def test_k_ranked_responses_are_all_their_pairs():
    value = ranks(a=1, b=2, c=2, d=4)
    fields = {"prompt": "?", **{name: f"text {name}" for name in "abcd"}}
    data = read_argilla([record({"value": value}, fields=fields, metadata={"k": 1})])
    assert len(data) == 6
    order = {"text a": 1, "text b": 2, "text c": 2, "text d": 4}
    for (first, second), y in zip(
        data.responses[data.comparisons.pairs], data.y, strict=True
    ):
        assert y == (1 + np.sign(order[second] - order[first])) / 2
    assert set(data.ids) == {"r"} and set(data.columns["k"]) == {1}


@pytest.mark.parametrize(
    "row, message",
    [
        (record({"value": 3}), "a ranking must hold two names or more. Got 3"),
        (record({"value": [{"value": "response1"}] * 2}), "a name and a rank each"),
        (record({"value": {"value": 1}}), "must hold names and ranks"),
        (record({"value": ["a", "b"]}), "column 'a' must hold a text"),
        (record(fields=3), "'fields' must hold an object"),
        ({"fields": FIELDS, "responses": [3]}, "a response must be an object. Got 3"),
        ({"fields": FIELDS, "responses": 3}, "responses must be a list. Got 3"),
    ],
)
def test_malformed_records_say_what_must_hold(row, message):
    with pytest.raises(ValueError, match=message + r".*Row 1 of"):
        read_argilla([row])
