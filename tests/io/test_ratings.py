"""Rated completions and labelled ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_data import messages, texts, through_json

from skarm.io import (
    read_ratings,
    read_responses,
    read_trl_unpaired,
    write_ratings,
    write_responses,
    write_trl_unpaired,
)

ULTRA = {
    "source": "sharegpt",
    "instruction": "How far?",
    "completions": [
        {
            "model": "a",
            "response": "Far.",
            "overall_score": 3.0,
            "annotations": {"helpfulness": {"Rating": "2"}},
        },
        {
            "model": "b",
            "response": "2 mi.",
            "overall_score": 8.5,
            "annotations": {"helpfulness": {"Rating": "5"}},
        },
        {
            "model": "c",
            "response": "?",
            "overall_score": 3.0,
            "annotations": {"helpfulness": {"Rating": "N/A"}},
        },
    ],
}
rated = st.lists(
    st.fixed_dictionaries(
        {
            "prompt_id": st.sampled_from("abc"),
            "response": texts | messages,
            "rating": st.floats(-9, 9),
            "model": texts.filter(bool),
        }
    ),
    min_size=1,
    max_size=5,
).map(
    lambda rows: [
        {**row, "prompt": f"Prompt {row['prompt_id']}"}
        for row in sorted(rows, key=lambda row: row["prompt_id"])
    ]
)


@given(rated)
@settings(deadline=None)
def test_rated_completions_come_back(rows):
    data = read_responses(rows, rating="rating")
    back = read_ratings(through_json(write_ratings(data)))
    assert write_responses(back) == write_responses(data)


@given(rated)
@settings(deadline=None)
def test_labelled_completions_come_back(rows):
    rows = [{**row, "rating": row["rating"] > 0} for row in rows]
    data = read_responses(rows, rating="rating")
    back = read_trl_unpaired(through_json(write_trl_unpaired(data)))
    assert write_responses(back) == write_responses(data)


def test_ratings_are_found_where_they_are():
    data = read_ratings([ULTRA])
    assert data.ratings.tolist() == [3, 8.5, 3]
    assert data.columns["model"].tolist() == ["a", "b", "c"]
    data = read_ratings([ULTRA], rating="annotations.helpfulness.Rating")
    assert data.ratings.tolist() == [2, 5]
    assert data.report.reasons == {"a completion has no rating": ["row 1"]}
    row = {"prompt": "?", "responses": ["x", talk_of("y")], "ratings": ["1", 2]}
    data = read_ratings(
        [row], prompt="prompt", completions="responses", rating="ratings"
    )
    assert data.ratings.tolist() == [1, 2] and data.responses[1] == talk_of("y")


def talk_of(text):
    return [{"role": "assistant", "content": text}]


def test_ratings_become_comparisons_within_prompts():
    other = {**ULTRA, "instruction": "When?"}
    data = read_ratings([ULTRA, other])
    won = data.preferences()
    assert len(won) == 4 and set(won.margins) == {5.5}
    assert set(won.comparisons.pair_groups()) == {0, 1}
    for (first, second), y in zip(won.comparisons.pairs, won.y, strict=True):
        assert (data.ratings[first] > data.ratings[second]) == (y == 1)
    tied = data.preferences(ties=True)
    assert len(tied) == 6 and (tied.y == 0.5).sum() == 2
    row = {"prompt": "?", "response": "x"}
    with pytest.raises(ValueError, match=r"must have ratings to be compared. Got none"):
        read_responses([row]).preferences()
    with pytest.raises(
        ValueError, match=r"must have ratings to be written so. Got none"
    ):
        write_ratings(read_responses([row]))


def test_an_unrated_response_is_in_no_comparison():
    rows = [
        {"prompt": "?", "response": r, "rating": s}
        for r, s in [("x", 1), ("y", None), ("z", 2)]
    ]
    won = read_responses(rows, rating="rating").preferences()
    assert won.comparisons.pairs.tolist() == [[0, 2]]


def test_a_threshold_makes_labels():
    data = read_ratings([ULTRA])
    with pytest.raises(
        ValueError, match=r"0 or 1 to be labels. Got \[3.0, 8.5\]. Pass"
    ):
        write_trl_unpaired(data)
    labels = [row["label"] for row in write_trl_unpaired(data, threshold=5)]
    assert labels == [False, True, False]


def test_labels_of_a_table_are_words():
    rows = [
        {"prompt": "?", "completion": c, "label": value}
        for c, value in [("a", "True"), ("b", "false"), ("c", 1), ("d", False)]
    ]
    assert read_trl_unpaired(rows).ratings.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "read, row, message",
    [
        (
            read_ratings,
            {"instruction": "x"},
            "'completions' must hold a list. Got None",
        ),
        (
            read_ratings,
            {"instruction": "x", "completions": ["a"], "overall_score": []},
            "one rating per completion, 1. Got 0",
        ),
        (
            read_ratings,
            {
                "instruction": "x",
                "completions": [{"response": "a", "overall_score": "good"}],
            },
            "must hold a number. Got 'good'",
        ),
        (
            read_trl_unpaired,
            {"prompt": "x", "completion": "y", "label": "maybe"},
            "'label' must hold true or false. Got 'maybe'",
        ),
    ],
)
def test_malformed_rows_say_what_must_hold(read, row, message):
    with pytest.raises(ValueError, match=message + r".*Row 1 of"):
        read([row])


def test_real_ratings_make_the_round_trip(shared_data, tmp_path):
    path = shared_data / "alpacaeval_public.jsonl.gz"
    data = read_responses(path, rating="golden_wide")
    assert (len(data), len(np.unique(data.groups))) == (13194, 400)
    write_ratings(data, tmp_path / "rated.jsonl.gz")
    back = read_ratings(tmp_path / "rated.jsonl.gz")
    assert write_responses(back) == write_responses(data)
    assert len(back.preferences()) == len(data.preferences()) > 200_000
