"""Chatbot Arena battles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_data import preferences, rows_of, talk, texts, through_json

from skarm import Comparisons
from skarm.io import Preferences, read_arena, read_comparisons, write_arena

BATTLE = {
    "question_id": "58210e39b3fd4441",
    "model_a": "chatglm-6b",
    "model_b": "koala-13b",
    "winner": "model_b",
    "judge": "arena_user_973",
    "conversation_a": talk("How far?", "Far."),
    "conversation_b": talk("How far?", "Two miles."),
    "turn": 1,
    "anony": True,
    "language": "English",
    "tstamp": 1682351591.1322,
}
LONG = {
    **BATTLE,
    "conversation_a": talk("How far?", "Far.", "Really?", "Yes."),
    "conversation_b": talk("How far?", "Two miles.", "Really?", "No."),
}


@given(preferences(annotators=True))
@settings(deadline=None)
def test_battles_about_texts_come_back(data):
    back = rows_of(read_arena(through_json(write_arena(data))))
    for row in back:  # what a battle has besides
        del row["winner"]
    assert back == rows_of(data)


battles = st.fixed_dictionaries(
    {
        "question_id": texts.filter(bool),
        "winner": st.sampled_from(["model_a", "model_b", "tie", "tie (bothbad)"]),
        "conversation_a": st.lists(texts, min_size=2, max_size=5).map(
            lambda turns: talk(*turns)
        ),
        "conversation_b": st.lists(texts, min_size=2, max_size=5).map(
            lambda turns: talk(*turns)
        ),
        "judge": texts.filter(bool),
        "turn": st.integers(0, 9),
    }
)


@given(st.lists(battles, min_size=1, max_size=3))
@settings(deadline=None)
def test_a_file_of_battles_comes_back(rows):
    data = read_arena(rows)
    same = [row for row in rows if row["conversation_a"] == row["conversation_b"]]
    assert data.report.n_skipped == len(same)
    wanted = [row for row in rows if row["conversation_a"] != row["conversation_b"]]
    back = [dict(row) for row in write_arena(data)]
    for row in back:
        del row["prompt_id"]
    assert back == wanted


def test_models_kinds_of_ties_and_turns_are_kept():
    rows = [BATTLE, {**LONG, "winner": "tie (bothbad)"}, {**LONG, "winner": "both_bad"}]
    data = read_arena(rows)
    assert data.y.tolist() == [0, 0.5, 0.5]
    assert data.prompts[0] == "How far?" and data.prompts[2] == talk("How far?")
    assert data.responses[3] == talk("How far?", "Two miles.", "Really?", "No.")[1:]
    back = write_arena(data)
    for row, wanted in zip(back, rows, strict=True):
        assert {name: row[name] for name in wanted} == wanted


def test_battles_with_plain_columns():
    row = {"prompt": "?", "response_a": "x", "response_b": "y", "winner": "model_a"}
    assert read_arena([row]).responses.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"winner": "model_c"}, "'winner' must be one of .* Got 'model_c'"),
        ({"winner": ["tie"]}, "'winner' must be one of"),
        (
            {"conversation_a": "Hi"},
            "conversations must be lists of messages. Got a text",
        ),
        ({"conversation_b": None}, "'conversation_b' must hold a text or messages"),
    ],
)
def test_malformed_battles_say_what_must_hold(change, message):
    with pytest.raises(ValueError, match=message + r".*Row 1 of"):
        read_arena([{**BATTLE, **change}])


def test_what_is_no_battle_is_refused():
    pair = Comparisons(["a", "b"], [[0, 1]])
    assert write_arena(pair, [np.nan]) == []
    with pytest.raises(ValueError, match=r"lost or tied. Got y = 0.25. Use write_comp"):
        write_arena(pair, [0.25])
    row = {"prompt": "p", "first": "a", "second": "b", "second_prompt": "q", "y": 1}
    with pytest.raises(ValueError, match="Got a pair across prompts"):
        write_arena(read_comparisons([row]))


def test_real_crowd_votes_make_the_round_trip(shared_data):
    """LLMFAO's votes on models' responses, as battles: ties, workers and ids kept."""
    folder = shared_data
    from skarm.io import read_columns

    told = read_columns(folder / "llmfao_responses.jsonl.gz")
    answers = {
        (prompt, model): (text, said)
        for prompt, model, text, said in zip(
            told["prompt_id"],
            told["model"],
            told["prompt"],
            told["response"],
            strict=True,
        )
    }
    votes = read_columns(folder / "llmfao_comparisons.jsonl.gz")
    winner = {"left": "model_a", "right": "model_b", "tie": "tie"}
    rows = []
    for k in range(len(votes["winner"])):
        left, right = votes["model_left"][k], votes["model_right"][k]
        prompt, first = answers[votes["prompt_id"][k], left]
        second = answers[votes["prompt_id"][k], right][1]
        rows.append(
            {
                "question_id": int(votes["pair_id"][k]),
                "judge": int(votes["worker"][k]),
                "model_a": left,
                "model_b": right,
                "winner": winner[votes["winner"][k]],
                "prompt": prompt,
                "response_a": first,
                "response_b": second,
                "prompt_id": votes["prompt_id"][k],
            }
        )
    data = read_arena(rows)
    assert isinstance(data, Preferences) and data.report.n_read == 8931
    assert len(data) + data.report.n_skipped == 8931
    assert set(data.report.reasons) <= {"both responses are the same"}
    assert rows_of(read_arena(through_json(write_arena(data)))) == rows_of(data)
    share = data.aggregate()
    assert share.sample_weight.sum() == len(data)
