"""Plain tables of comparisons: nothing is lost."""

import datetime
import json
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from preference_data import messages, preferences, rows_of

from skarm import Comparisons
from skarm.io import Preferences, read_comparisons, write_comparisons

PAIR = {"prompt": "Where?", "first": "Here.", "second": "There.", "y": 1}
anywhere = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.jsonl.gz", "t.parquet"])
@given(
    preferences(
        outcomes=(0.0, 0.5, 1.0, None), shares=True, annotators=True, weights=True
    )
)
@settings(anywhere, max_examples=25)
def test_a_table_gives_back_what_was_written(tmp_path, name, data):
    rows = write_comparisons(data, path=tmp_path / name)
    back = read_comparisons(tmp_path / name)
    assert rows_of(back) == rows == rows_of(data)
    assert np.array_equal(back.y, data.y, equal_nan=True)
    assert back.ids.tolist() == data.ids.tolist()
    assert back.annotators.tolist() == data.annotators.tolist()
    assert back.comparisons.items.tolist() == data.comparisons.items.tolist()
    assert back.comparisons.groups.tolist() == data.comparisons.groups.tolist()


@pytest.mark.parametrize("name", ["t.jsonl", "t.json.gz"])
@given(preferences(across=True, messages=messages, shares=True))
@settings(anywhere, max_examples=50)
def test_messages_and_pairs_across_prompts_come_back(tmp_path, name, data):
    rows = write_comparisons(data, path=tmp_path / name)
    assert rows_of(read_comparisons(tmp_path / name)) == rows


@given(preferences(across=True, shares=True, outcomes=(0.0, None)))
@settings(anywhere, max_examples=50)
def test_csv_gives_back_texts(tmp_path, data):
    rows = write_comparisons(data, path=tmp_path / "t.csv.gz")
    back = rows_of(read_comparisons(tmp_path / "t.csv.gz"))
    for row in [*rows, *back]:
        row["note"] = row.get("note") or None  # CSV does not tell empty from missing
    assert back == rows


def test_frames_and_data_sets_are_sources_like_files():
    pd = pytest.importorskip("pandas")
    rows = [{**PAIR, "id": 1, "stars": 2}, {**PAIR, "second": "Far.", "y": None}]
    sources = [rows, iter(rows), pd.DataFrame(rows)]
    for name in ("polars", "datasets"):
        module = pytest.importorskip(name)
        make = getattr(module, "DataFrame", None) or module.Dataset.from_list
        full = [{**row, "id": row.get("id"), "stars": row.get("stars")} for row in rows]
        sources.append(make(full))
    wanted = None
    for source in sources:
        back = read_comparisons(source)
        wanted = wanted or rows_of(back)
        assert rows_of(back) == wanted
        assert back.ids.tolist() == [1, None]
        assert back.columns["stars"].tolist() == [2, None]


def test_arrays_of_a_frame_are_lists(tmp_path):
    pd = pytest.importorskip("pandas")
    row = {**PAIR, "first": [{"role": "assistant", "content": "Here."}]}
    pd.DataFrame([row]).to_parquet(tmp_path / "t.parquet")
    frame = pd.read_parquet(tmp_path / "t.parquet")  # messages as an ndarray
    for source in (frame, tmp_path / "t.parquet"):
        assert read_comparisons(source).responses[0] == row["first"]


def test_parquet_does_not_add_fields_to_messages(tmp_path):
    plain = [{"role": "assistant", "content": None}]
    named = [{"role": "assistant", "content": "Here.", "name": "ann"}]
    data = read_comparisons([{**PAIR, "first": plain, "second": named}])
    write_comparisons(data, path=tmp_path / "t.parquet")
    back = read_comparisons(tmp_path / "t.parquet")
    assert back.responses.tolist() == [plain, named]


def test_a_data_set_dictionary_asks_for_a_split():
    datasets = pytest.importorskip("datasets")
    split = datasets.DatasetDict(train=datasets.Dataset.from_list([PAIR]))
    with pytest.raises(TypeError, match=r"source must be .* Got DatasetDict. Pass one"):
        read_comparisons(split)
    assert len(read_comparisons(split["train"])) == 1
    with pytest.raises(TypeError, match=r"source must be .* Got int. Pass a path"):
        read_comparisons(3)


def test_names_outcomes_and_lists_of_votes():
    rows = [
        {"q": "?", "a": "x", "b": "y", "who": "ann", "winner": "left"},
        {"q": "?", "a": "x", "b": "y", "who": "bob", "winner": ["right", "tie", None]},
    ]
    data = read_comparisons(
        rows,
        prompt="q",
        first="a",
        second="b",
        y="winner",
        annotator="who",
        outcomes={"left": 1, "right": 0, "tie": 0.5},
    )
    assert np.array_equal(data.y, [1, 0, 0.5, np.nan], equal_nan=True)
    assert data.annotators.tolist() == ["ann", "bob", "bob", "bob"]
    assert data.comparisons.n_items == 2
    unnamed = read_comparisons([{**PAIR, "y": [1, 0]}])
    assert unnamed.annotators.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"'y' must hold one of \[1\]. Got 2.*Row 1"):
        read_comparisons([{**PAIR, "y": 2}], outcomes={1: 1})


def test_a_response_in_two_groups_is_two_items():
    data = read_comparisons([{**PAIR, "prompt_id": group} for group in ("a", "b")])
    assert data.comparisons.n_items == 4
    assert [row["prompt_id"] for row in rows_of(data)] == ["a", "b"]
    across = {**PAIR, "second": "Here.", "prompt_id": "a", "second_prompt_id": "b"}
    data = read_comparisons([{**across, "second_prompt": "Where?"}])
    assert data.comparisons.groups[data.comparisons.pairs].tolist() == [["a", "b"]]


def test_messages_are_not_the_text_that_looks_like_them():
    turn = [{"content": "Here.", "role": "assistant"}]
    data = read_comparisons([{**PAIR, "first": turn, "second": json.dumps(turn)}])
    assert data.comparisons.n_items == 2


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path):
    text = "prompt,first,second,y\nWhere?,Here.,There.,1\n"
    (tmp_path / "excel.csv").write_text(text, encoding="utf-8-sig")
    assert read_comparisons(tmp_path / "excel.csv").prompts[0] == "Where?"


def test_a_long_response_fits_into_csv(tmp_path):
    row = {**PAIR, "first": "long, " * 50_000}
    write_comparisons(read_comparisons([row]), path=tmp_path / "t.csv")
    assert read_comparisons(tmp_path / "t.csv").responses[0] == row["first"]


def test_lone_surrogates_survive_json(tmp_path):
    data = read_comparisons([{**PAIR, "first": "\ud800"}])
    write_comparisons(data, path=tmp_path / "t.jsonl")
    assert read_comparisons(tmp_path / "t.jsonl").responses[0] == "\ud800"
    with pytest.raises(ValueError, match=r"a lone surrogate: .* Write .jsonl"):
        write_comparisons(data, path=tmp_path / "t.csv")


def test_what_a_format_cannot_hold_is_said(tmp_path):
    turn = [{"role": "assistant", "content": "Here."}]
    data = read_comparisons([{**PAIR, "first": turn}, PAIR])
    with pytest.raises(ValueError, match=r"CSV holds texts .* 'first' has a list"):
        write_comparisons(data, path=tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"column of Parquet has one type.*jsonl"):
        write_comparisons(data, path=tmp_path / "t.parquet")
    with pytest.raises(
        ValueError, match=r"path must end in .jsonl.* Got 't.parquet.gz'"
    ):
        write_comparisons(data, path=tmp_path / "t.parquet.gz")


def test_dates_are_written_as_texts(tmp_path):
    day = datetime.date(2026, 1, 2)
    write_comparisons(
        read_comparisons([{**PAIR, "day": day}]), path=tmp_path / "t.jsonl"
    )
    assert json.loads((tmp_path / "t.jsonl").read_text())["day"] == "2026-01-02"


def test_parquet_says_which_extra_it_needs(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"")
    with mock.patch.dict("sys.modules", {"pyarrow": None, "pyarrow.parquet": None}):
        with pytest.raises(ImportError, match=r"reading Parquet .*skarm\[parquet\]"):
            read_comparisons(tmp_path / "t.parquet")
        with pytest.raises(ImportError, match=r"Parquet .*skarm\[parquet\]"):
            write_comparisons(read_comparisons([PAIR]), path=tmp_path / "u.parquet")


@pytest.mark.parametrize(
    "row, message",
    [
        ({**PAIR, "y": 2}, r"'y' must hold a number from 0 to 1. Got 2. \(Row 1 of"),
        ({**PAIR, "y": "much"}, "'y' must hold a number from 0 to 1. Got 'much'"),
        ({**PAIR, "margin": [1]}, "'margin' must hold a number. Got"),
        ({**PAIR, "sample_weight": -1}, "'sample_weight' must hold a number from 0"),
        ({**PAIR, "first": 3}, "'first' must hold a text or messages. Got 3"),
        ({**PAIR, "first": [{"role": "user"}]}, "'first' must hold a text or messages"),
        ({"first": "a", "second": "b", "id": [1]}, "'id' must hold an id"),
        (["a"], "Row 1 of the list is a list. Drop it or name its fields"),
    ],
)
def test_a_malformed_row_is_named(row, message):
    with pytest.raises(ValueError, match=message):
        read_comparisons([row])


def test_malformed_rows_are_reported_instead_where_asked(tmp_path):
    rows = [PAIR, {**PAIR, "y": 7}, {**PAIR, "second": "Here."}, {**PAIR, "first": 1}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)))
    data = read_comparisons(path, on_error="skip")
    assert len(data) == 1 and data.report.n_read == 4 and data.report.n_skipped == 3
    assert data.report.reasons["both responses are the same"] == ["line 5"]
    places = [place for at in data.report.reasons.values() for place in at]
    assert sorted(places) == ["line 3", "line 5", "line 7"]
    with pytest.raises(
        ValueError, match=r"on_error must be 'raise' or 'skip'. Got 'no'"
    ):
        read_comparisons(path, on_error="no")


def test_writers_take_comparisons_or_preferences(tmp_path):
    pair = Comparisons(["a", "b"], [[0, 1]])
    rows = write_comparisons(pair, [0.25])
    assert rows == write_comparisons(Preferences(pair, [0.25]))
    assert write_comparisons(pair)[0]["y"] is None
    with pytest.raises(ValueError, match="preferences hold their own y"):
        write_comparisons(Preferences(pair), [1])
    with pytest.raises(TypeError, match="data must be Preferences or Comparisons"):
        write_comparisons(tmp_path, [1])
    with pytest.raises(ValueError, match=r"items must be texts .* shape \(2, 3\)"):
        write_comparisons(pair.with_items(np.ones((2, 3))), [1])


def test_rows_of_a_prompt_and_a_response_are_texts_too():
    pd = pytest.importorskip("pandas")
    table = [["Where?", "Here."], ["Where?", "There."]]
    for items in (
        np.array(table, dtype=object),
        pd.DataFrame(table, columns=["prompt", "response"]),
    ):
        (row,) = write_comparisons(Comparisons(items, [[0, 1]]), [1])
        assert row == {**PAIR, "y": 1.0}


@given(st.data())
@settings(deadline=None, max_examples=20)
def test_writing_leaves_the_data_alone(data):
    given_ = data.draw(preferences(shares=True))
    before = rows_of(given_)
    write_comparisons(given_)[0]["first"] = "changed"
    assert rows_of(given_) == before
