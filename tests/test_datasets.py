"""Sample data, readers and synthetic comparisons."""

import gzip
import json

import numpy as np
import pytest

from skarm.datasets import (
    load_assistant_answers,
    make_comparisons,
    read_preferences,
    read_responses,
)
from skarm.metrics import grouped_spearman

ROWS = [
    {"prompt": "Where?", "response": 'Here, "there"', "prompt_id": "a", "stars": 3},
    {"prompt": "Where?", "response": "Over\nthere", "prompt_id": "a", "stars": 4.5},
    {"prompt": "When?", "response": "Ümläut 時", "prompt_id": "b", "stars": None},
]


def write_rows(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def test_sample_answers_are_what_they_say():
    data = load_assistant_answers()
    prompts, counts = np.unique(data.groups, return_counts=True)
    assert len(prompts) == 80 and (counts == 6).all()
    assert len(set(data.responses)) == 480
    parts = [data.columns[name] for name in ("correct", "useful", "clear", "honest")]
    assert np.array_equal(np.sum(parts, axis=0), data.ratings)
    for part, most in zip(parts, (4, 3, 2, 1), strict=True):
        assert set(np.unique(part)) <= set(range(most + 1))
    for prompt in prompts:
        kinds = sorted(data.kinds[data.groups == prompt])
        assert kinds == ["evasive", "excellent", "good", "padded", "terse", "wrong"]
    assert "rubric" in data.DESCR


def test_length_does_not_give_quality_away():
    data = load_assistant_answers()
    for measure in (len, lambda text: len(text.split()), lambda text: text.count("\n")):
        size = np.array([measure(text) for text in data.responses], dtype=float)
        assert abs(grouped_spearman(data.ratings, size, groups=data.groups)) < 0.15


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "my.file.v2.jsonl"])
def test_json_lines(tmp_path, name):
    data = read_responses(write_rows(tmp_path / name, ROWS))
    assert data.responses.tolist() == [row["response"] for row in ROWS]
    assert data.groups.tolist() == ["a", "a", "b"]
    assert np.array_equal(data.columns["stars"], [3, 4.5, np.nan], equal_nan=True)


def test_csv_and_parquet_agree_with_json(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "r.csv", index=False)
    frame.to_csv(tmp_path / "r.csv.gz", index=False)
    frame.to_parquet(tmp_path / "r.parquet")
    for name in ("r.csv", "r.csv.gz", "r.parquet"):
        data = read_responses(tmp_path / name)
        assert data.responses.tolist() == [row["response"] for row in ROWS]
        assert data.groups.tolist() == ["a", "a", "b"]


def test_groups_are_prompts_where_no_id_is_given(tmp_path):
    rows = [{"prompt": p, "response": r} for p, r in (("x", "1"), ("y", "2"))]
    data = read_responses(write_rows(tmp_path / "r.jsonl", rows))
    assert data.groups.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    "name, text, message",
    [
        (
            "r.jsonl",
            '{"prompt": "a", "response": "b"}\n{"prompt"',
            "Line 2 of .* is not",
        ),
        ("r.jsonl", '\n["a"]\n', "Line 2 of .* is a list"),
        (
            "r.jsonl",
            '{"prompt": "a", "answer": "b"}\n',
            r"lacks \['response'\].*'answer'",
        ),
        ("r.jsonl", '{"prompt": "a", "response": 3}\n', r"Line 1 of .* has 3"),
        ("r.jsonl", "", "at least one row"),
        ("r.csv", "prompt,response\na,b\nc\n", "Line 3 of .* another number"),
        ("r.csv", "prompt,response\na,b,c\n", "Line 2 of .* another number"),
        ("r.csv", 'prompt,response\na,"b\n', "well formed"),
        ("r.txt", "a", "must end in .jsonl"),
    ],
)
def test_malformed_files_name_the_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_responses(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="existing file"):
        read_responses(tmp_path / "nowhere.jsonl")


def test_preferences_store_each_response_once(tmp_path):
    rows = [
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": "a", "rejected": "c"},
        {"prompt": "q", "chosen": "b", "rejected": "a"},
    ]
    data = read_preferences(write_rows(tmp_path / "p.jsonl", rows))
    assert data.responses.tolist() == ["a", "b", "c", "b", "a"]
    assert data.comparisons.pairs.tolist() == [[0, 1], [0, 2], [3, 4]]
    assert data.prompts[data.comparisons.pairs[:, 0]].tolist() == ["p", "p", "q"]
    assert data.y.tolist() == [1, 1, 1]
    assert data.comparisons.pair_groups().tolist() == [0, 0, 1]


def test_preferences_without_prompts_are_groups_of_their_own(tmp_path):
    rows = [{"chosen": "a", "rejected": "b"}, {"chosen": "a", "rejected": "c"}]
    data = read_preferences(write_rows(tmp_path / "p.jsonl", rows))
    assert data.groups.tolist() == [0, 0, 1, 1]
    assert data.responses.tolist() == ["a", "b", "a", "c"]


def test_preference_of_a_response_to_itself_is_refused(tmp_path):
    rows = [{"prompt": "p", "chosen": "a", "rejected": "a"}]
    with pytest.raises(ValueError, match=r"Row 1 of .* prefers a response to itself"):
        read_preferences(write_rows(tmp_path / "p.jsonl", rows))


def test_real_files_are_read(shared_data):
    data = read_responses(shared_data / "alpacaeval_public.jsonl.gz")
    assert len(data.responses) == 13194 and len(set(data.groups)) == 400
    assert data.columns["golden_wide"].dtype == np.float64
    data = read_preferences(shared_data / "hh_harmless_public.jsonl.gz")
    assert len(data.comparisons) == 1151


def test_synthetic_comparisons_follow_their_probabilities():
    data = make_comparisons(20000, n_items=400, random_state=0)
    first, second = data.comparisons.pairs.T
    gap = data.rewards[first] - data.rewards[second]
    assert np.allclose(data.probabilities, 1 / (1 + np.exp(-gap)))
    assert np.isclose(gap.std(), 2.0, rtol=0.1)
    error = (data.y - data.probabilities) / np.sqrt(
        data.probabilities * (1 - data.probabilities)
    )
    assert abs(error.mean()) < 4 / np.sqrt(20000)
    grouped = make_comparisons(50, n_groups=20, random_state=0)
    assert len(grouped.comparisons.pair_groups()) == 50
