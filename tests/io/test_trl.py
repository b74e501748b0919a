"""TRL's preference format: round trips, implicit prompts, real files, TRL itself."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from preference_data import (
    messages,
    preferences,
    rows_of,
    talk,
    through_json,
    winner_first,
)
from sklearn.feature_extraction.text import TfidfVectorizer

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
    make_reward_pipeline,
)
from skarm.io import read_trl, read_trl_unpaired, write_trl

ROW = {"prompt": "Where?", "chosen": "Here.", "rejected": "There."}
HH = "\n\nHuman: How far?\n\nAssistant: {}"


@given(
    preferences(
        messages=messages,
        shares=True,
        annotators=True,
        weights=True,
        outcomes=(0.0, 0.5, 1.0, None),
    )
)
@settings(deadline=None)
def test_everything_comes_back_the_preferred_one_first(data):
    assume(not np.isnan(data.y).all())
    back = read_trl(through_json(write_trl(data, ties="keep")))
    assert rows_of(back) == winner_first(rows_of(data))


@given(preferences(across=True, messages=messages, shares=True))
@settings(deadline=None)
def test_pairs_across_prompts_come_back(data):
    rows = through_json(write_trl(data, ties="keep"))
    back = winner_first(rows_of(read_trl(rows)))
    assert back == winner_first(rows_of(data))
    if any("chosen_parts" in row for row in rows):
        assert "prompt" not in rows[0]  # both texts must begin with their own


def test_a_learner_writes_what_it_has_asked_in_one_line(tmp_path):
    rows = [{**ROW, "prompt": p, "rejected": r} for p in "ab" for r in ("x", "y", "z")]
    recorded = read_trl(rows)
    pool = Comparisons.all_pairs(
        recorded.comparisons.items, groups=recorded.comparisons.groups, scope="within"
    )
    learner = ActiveRewardLearner(
        make_reward_pipeline(
            TfidfVectorizer(analyzer="char"), BradleyTerryRegressor(alpha=1.0)
        ),
        ActiveComparisonSampler("random", random_state=0),
    )
    _, asked = learner.query(pool, n_pairs=6)
    answers = np.array([1, 0, 0.5, np.nan, 1, 0])
    learner.teach(asked, answers)
    write_trl(learner.asked_, learner.y_, tmp_path / "asked.jsonl")
    back = read_trl(tmp_path / "asked.jsonl")
    assert len(back) == 4  # neither the tie nor the skipped pair is a preference
    winners = [
        pair[int(y == 0)]
        for pair, y in zip(asked.pairs.tolist(), answers, strict=True)
        if y in (0, 1)
    ]
    items = recorded.comparisons.items
    assert [back.comparisons.items[i] for i in back.comparisons.pairs[:, 0]] == [
        items[i] for i in winners
    ]
    assert set(back.prompts) == {"a", "b"} and "Here." in back.responses


def test_the_implicit_prompt_ends_where_the_reply_begins():
    data = read_trl(
        [{"chosen": HH.format("Two miles."), "rejected": HH.format("Two.")}]
    )
    assert data.prompts.tolist() == [HH.format("").rstrip()] * 2
    assert data.responses.tolist() == [" Two miles.", " Two."]
    data = read_trl([{"chosen": "The sky is blue.", "rejected": "The sky is black."}])
    assert data.prompts[0] == "The sky is" and data.responses[0] == " blue."
    rows = write_trl(data, implicit_prompt=True)
    assert rows[0]["chosen"] == "The sky is blue." and "prompt" not in rows[0]


def test_rows_without_a_common_beginning_are_groups_of_their_own():
    rows = [{"chosen": "a", "rejected": "b"}, {"chosen": "a", "rejected": "c"}]
    data = read_trl(rows)
    assert data.comparisons.groups.tolist() == [0, 0, 1, 1]
    assert data.responses.tolist() == ["a", "b", "a", "c"]
    assert rows_of(read_trl(write_trl(data))) == rows_of(data)


def test_each_response_to_a_prompt_is_stored_once():
    rows = [
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": "a", "rejected": "c"},
        {"prompt": "q", "chosen": "b", "rejected": "a"},
    ]
    data = read_trl(rows)
    assert data.responses.tolist() == ["a", "b", "c", "b", "a"]
    assert data.comparisons.pairs.tolist() == [[0, 1], [0, 2], [3, 4]]
    assert data.comparisons.pair_groups().tolist() == [0, 0, 1]
    assert data.y.tolist() == [1, 1, 1]


def test_a_response_preferred_to_itself_is_left_out_and_reported():
    data = read_trl([ROW, {**ROW, "rejected": "Here."}])
    assert str(data.report) == (
        "2 rows read, 1 left out: both responses are the same (row 2)"
    )


def test_keys_are_configurable_as_in_openrlhf():
    row = {"q": "Where?", "good": "Here.", "bad": "There.", "gap": 2, "key": 9}
    data = read_trl(
        [row], prompt="q", chosen="good", rejected="bad", margin="gap", id="key"
    )
    assert write_trl(data) == [{**ROW, "margin": 2.0, "id": 9, "prompt_id": 0}]


@pytest.mark.parametrize(
    "row, message",
    [
        ({**ROW, "rejected": None}, "'rejected' must hold a text .* Got None; the col"),
        ({"question": "x"}, r"'chosen' must hold .* the columns are \['question'\]"),
        ({**ROW, "chosen_parts": ["a"]}, "a prompt and a response. Got 1 entries"),
        ({**ROW, "chosen_parts": "a"}, "'chosen_parts' must hold a list. Got 'a'"),
    ],
)
def test_malformed_rows_say_what_to_do(row, message):
    with pytest.raises(ValueError, match=message + r".*Row 1 of .*Correct or drop"):
        read_trl([row])


def test_ties_are_dropped_or_kept():
    pair = Comparisons(["a", "b"], [[0, 1]])
    assert write_trl(pair, [0.5]) == []
    assert write_trl(pair, [0.5], ties="keep")[0]["y"] == 0.5
    with pytest.raises(ValueError, match=r"ties must be 'drop' or 'keep'. Got 'both'"):
        write_trl(pair, [0.5], ties="both")


def test_texts_and_messages_join_to_messages_across_prompts():
    asks = [{"role": "user", "content": "Where?"}]
    rows = [
        {
            "chosen_parts": [asks, "Here."],
            "chosen": "",
            "rejected_parts": ["When?", talk("Now.")],
            "rejected": "",
        }
    ]
    (row,) = write_trl(read_trl(rows))
    assert row["chosen"] == [*asks, {"role": "assistant", "content": "Here."}]
    assert row["rejected"] == [*talk("When?"), *talk("Now.")]


# ---------------------------------------------------------------- theirs against ours


def test_trl_finds_the_same_implicit_prompt_in_messages():
    theirs = pytest.importorskip("trl.data_utils").extract_prompt
    row = {
        "chosen": talk("How far?", "Two miles.", "Sure?", "Yes."),
        "rejected": talk("How far?", "Two miles.", "Sure?", "No."),
    }
    data, (row,) = read_trl([row]), [theirs(row)]
    assert data.prompts[0] == row["prompt"]
    assert data.responses.tolist() == [row["chosen"], row["rejected"]]


def test_trl_reads_a_data_set_of_what_we_write(shared_data):
    datasets = pytest.importorskip("datasets")
    utils = pytest.importorskip("trl.data_utils")
    data = read_trl(shared_data / "hh_harmless_public.jsonl.gz", id="pair_id")
    dataset = datasets.Dataset.from_list(write_trl(data))
    assert rows_of(read_trl(dataset)) == rows_of(data)
    unpaired = utils.unpair_preference_dataset(dataset.select(range(5)))
    back = read_trl_unpaired(unpaired)
    assert sorted(back.ratings) == [0.0] * 5 + [1.0] * 5
    good = set(back.responses[back.ratings == 1])
    assert good == set(data.responses[data.comparisons.pairs[:5, 0]])


@pytest.mark.parametrize("name", ["t.jsonl.gz", "t.csv", "t.parquet"])
def test_real_human_preferences_make_the_round_trip(shared_data, tmp_path, name):
    data = read_trl(shared_data / "hh_harmless_public.jsonl.gz", id="pair_id")
    assert (len(data), data.report.n_read, data.report.n_skipped) == (1151, 1151, 0)
    write_trl(data, path=tmp_path / name)
    back = read_trl(tmp_path / name)
    rows, wanted = rows_of(back), rows_of(data)
    if name == "t.csv":  # all columns are texts there, prompt ids too
        for row in [*rows, *wanted]:
            row.update({n: str(row[n]) for n in ("prompt_id", "n_turns")})
    assert rows == wanted


def test_dialogs_of_hh_rlhf_give_their_prompts_back(shared_data):
    """The data set as published has no prompts: both dialogs begin with them."""
    data = read_trl(shared_data / "hh_harmless_public.jsonl.gz")
    dialogs = [
        {
            "chosen": f"\n\n{row['prompt']} {row['chosen']}",
            "rejected": f"\n\n{row['prompt']} {row['rejected']}",
        }
        for row in write_trl(data)
        if not any("\n\nAssistant:" in row[name] for name in ("chosen", "rejected"))
    ]
    assert len(dialogs) > 1100
    back = read_trl(dialogs)
    for row, dialog in zip(write_trl(back, implicit_prompt=True), dialogs, strict=True):
        assert {name: row[name] for name in dialog} == dialog
    assert all(prompt.endswith("\n\nAssistant:") for prompt in back.prompts)
