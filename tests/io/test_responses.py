"""Plain tables of responses."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from preference_data import messages, texts

from skarm.io import read_columns, read_responses, write_responses

ROWS = [
    {"prompt": "Where?", "response": 'Here, "there"', "prompt_id": "a", "stars": 3},
    {"prompt": "Where?", "response": "Over\nthere", "prompt_id": "a", "stars": 4.5},
    {"prompt": "When?", "response": "Ümläut 時", "prompt_id": "b", "stars": None},
]
row = st.fixed_dictionaries(
    {
        "id": st.integers(0, 99),
        "prompt": texts | messages,
        "response": texts | messages,
        "rating": st.none() | st.floats(-9, 9),
        "model": texts,
    }
)


@given(st.lists(row, min_size=1, max_size=5))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=50,
)
def test_a_table_of_responses_comes_back(tmp_path, rows):
    data = read_responses(rows, rating="rating")
    assert data.prompts.tolist() == [row["prompt"] for row in rows]
    assert data.ids.tolist() == [row["id"] for row in rows]
    written = write_responses(data, tmp_path / "t.jsonl")
    back = read_responses(tmp_path / "t.jsonl", rating="rating")
    assert write_responses(back) == written


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.parquet", "r.json"])
def test_every_kind_of_file_agrees(tmp_path, name):
    wanted = read_responses(ROWS, rating="stars")
    write_responses(wanted, tmp_path / name)
    back = read_responses(tmp_path / name, rating="rating")
    assert back.responses.tolist() == [row["response"] for row in ROWS]
    assert back.groups.tolist() == ["a", "a", "b"]
    assert back.ratings.tolist()[:2] == [3, 4.5]


def test_groups_are_prompts_where_no_id_is_given():
    rows = [
        {"prompt": p, "response": r} for p, r in (("x", "1"), ("y", "2"), ("x", "3"))
    ]
    assert read_responses(rows).groups.tolist() == [0, 1, 0]


def test_responses_that_look_like_numbers_are_texts(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("prompt,response\n6*7,42\n6*8,48\n")
    assert read_responses(path).responses.tolist() == ["42", "48"]


def test_columns_are_numbers_where_all_are(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n1,x,\n2.5,3,7\n")
    columns = read_columns(path)
    assert columns["a"].dtype == float and columns["b"].tolist() == ["x", "3"]
    assert columns["c"].tolist()[1] == 7 and columns["c"][0] != columns["c"][0]


@pytest.mark.parametrize(
    "row, message",
    [
        (
            {"prompt": "a", "answer": "b"},
            r"'response' must .* are \['prompt', 'answer'\]",
        ),
        ({"prompt": "a", "response": 3}, "'response' must hold a text .* Got 3"),
        (
            {"prompt": "a", "response": "b", "prompt_id": {}},
            "'prompt_id' must hold an id",
        ),
    ],
)
def test_malformed_rows_say_what_must_hold(row, message):
    with pytest.raises(ValueError, match=message + r".*Row 1 of"):
        read_responses([row])
