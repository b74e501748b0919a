"""Files of every kind, whole and broken: read, or refused with a line and advice."""

import gzip
import json
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import skarm.io as skio

READERS = [getattr(skio, name) for name in skio.__all__ if name.startswith("read_")]
anywhere = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)

MESSAGE = {"role": "assistant", "content": "x"}
#: Fields that some format knows, and values that are nearly right for some of them.
FIELDS = (
    "prompt chosen rejected margin id prompt_id y first second second_prompt annotator "
    "chosen_parts rejected_parts completion label instruction completions ratings "
    "overall_score response output_1 output_2 preference conversation_a conversation_b "
    "winner model_a question_id data annotations text1 text2 left result type value "
    "selected choices completed_by was_cancelled fields responses response1 response2 "
    "user_id status rank values metadata exact role content sample_weight"
).split()
NEARLY = [
    *(
        "",
        "x",
        "tie",
        "left",
        "model_a",
        "response1",
        "pairwise",
        "draft",
        "nan",
        "1e999",
    ),
    *(None, True, 0, 1, 1.5, -1, 10**400, float("inf"), 2**63, [], {}, [MESSAGE]),
    *([{"role": "user"}], ["a", "b"], [1, 2], ["a", "b", "c", "d"], [None], [[[]]]),
]
values = st.recursive(
    st.sampled_from(NEARLY) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=12,
)
rows = st.dictionaries(st.sampled_from(FIELDS), values, max_size=9)

#: A right row per reader, for fuzzing to begin near.
SIDES = {"prompt": "p", "text1": "a", "text2": "b", "left": "second", "id": 3}
ANNOTATION = {
    "completed_by": 1,
    "result": [{"type": "pairwise", "value": {"selected": "left"}}],
}
RANKS = [{"value": "response1", "rank": 1}, {"value": "response2", "rank": 2}]
RIGHT = {
    "read_comparisons": {"prompt": "p", "first": "a", "second": "b", "y": 1},
    "read_trl": {"prompt": "p", "chosen": "a", "rejected": "b", "margin": 1},
    "read_trl_unpaired": {"prompt": "p", "completion": "a", "label": True},
    "read_responses": {"prompt": "p", "response": "a"},
    "read_columns": {"a": 1},
    "read_ratings": {
        "instruction": "p",
        "completions": [{"response": "a", "overall_score": 1}],
    },
    "read_label_studio": {"data": SIDES, "annotations": [ANNOTATION]},
    "read_argilla": {
        "id": "1",
        "fields": {"prompt": "p", "response1": "a", "response2": "b"},
        "metadata": {"left": "first"},
        "responses": {"preference": [{"value": RANKS, "user_id": "u"}]},
    },
    "read_arena": {
        "winner": "tie",
        "conversation_a": [MESSAGE],
        "conversation_b": [{**MESSAGE, "content": "y"}],
    },
    "read_alpaca_eval": {
        "instruction": "p",
        "output_1": "a",
        "output_2": "b",
        "preference": 1.5,
    },
}


def test_every_reader_is_fuzzed_from_a_right_row():
    assert {reader.__name__ for reader in READERS} == RIGHT.keys()
    for reader in READERS:
        assert len(reader([RIGHT[reader.__name__]])) == 1


@st.composite
def nearly(draw, row):
    """The row with one entry, at any depth, replaced or removed."""
    paths = [[]]

    def walk(value, path):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in inner:
            paths.append([*path, key])
            if isinstance(entry, (dict, list)):
                walk(entry, [*path, key])

    walk(row, [])
    row = json.loads(json.dumps(row))
    *path, last = draw(st.sampled_from(paths[1:]))
    parent = row
    for key in path:
        parent = parent[key]
    if draw(st.booleans()) and isinstance(parent, dict):
        del parent[last]
    else:
        parent[last] = draw(values)
    return row


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(st.data())
@settings(deadline=None, max_examples=60)
def test_no_row_makes_a_reader_fail_but_with_its_place(reader, data):
    row = data.draw(rows | nearly(RIGHT[reader.__name__]))
    good = RIGHT[reader.__name__]
    try:
        reader([good, row])
    except ValueError as error:
        assert re.search(r"\(Row 2 of the list.\) Correct or drop", str(error))
        assert len(reader([good, row], on_error="skip")) >= 1


@pytest.mark.parametrize(
    "name", ["f.jsonl", "f.json", "f.csv", "f.jsonl.gz", "f.parquet"]
)
@given(st.data())
@settings(anywhere, max_examples=60)
def test_no_file_makes_a_reader_fail_but_with_advice(tmp_path, name, data):
    path = tmp_path / name
    good = [RIGHT["read_comparisons"], {**RIGHT["read_comparisons"], "first": "é\n"}]
    skio.write_comparisons(skio.read_comparisons(good), path=path)
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    broken = whole[:start] + data.draw(st.binary(max_size=4)) + whole[end:]
    path.write_bytes(data.draw(st.sampled_from([broken, broken, whole[:start]])))
    try:
        skio.read_comparisons(path)
    except ValueError as error:
        assert re.search(r"line \d+|row \d+|entry \d+|not|empty", str(error).lower())


@given(st.text(max_size=30))
@settings(anywhere, max_examples=50)
@example("[" * 100_000)
@example('{"a": ' * 3_000 + "1" + "}" * 3_000)
@example("1" * 5000)
@example("[1, 2]")
def test_no_text_makes_a_reader_fail_but_with_advice(tmp_path, text):
    for name in ("f.jsonl", "f.json", "f.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        try:
            skio.read_columns(tmp_path / name)
        except ValueError as error:
            assert len(str(error)) > 30


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("r.jsonl", '{"a": "b"}\n{"prompt"', r"every line must be JSON. Line 2 of"),
        ("r.jsonl", '\n["a"]\n', "Line 2 of .* is a list. Drop it or name"),
        ("r.json", '[\n{"a": 1},\n{"b" 2}]', "the file must be JSON. .*line 3"),
        ("r.json", '[{"a": 1}, 2]', "Entry 2 of .* is a int"),
        ("r.jsonl", "", "at least one row"),
        ("r.json", "[]", "at least one row"),
        ("r.csv", "prompt,response\na,b\nc\n", "2 fields. Line 3 of .* another number"),
        ("r.csv", "prompt,response\na,b,c\n", "Line 2 of .* another number. Quote"),
        ("r.csv", 'prompt,response\na,"b\n', "well formed. Line .*Write it with a CSV"),
        ("r.txt", "a", "must end in .jsonl"),
        ("r.parquet", "a", "the file must be Parquet. .* is not.*Export it again"),
        ("r.jsonl.gz", "a", "must be a whole gzip file. .*take the .gz off"),
        ("r.jsonl", '{"a":' * 10_000, "Line 1 of .* is not"),
    ],
)
def test_malformed_files_name_the_line_and_what_to_do(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        skio.read_columns(tmp_path / name)


def test_bytes_that_are_not_unicode_name_the_line(tmp_path):
    (tmp_path / "r.csv").write_bytes(b"a,b\n1,2\n\xff,3\n")
    with pytest.raises(
        ValueError, match=r"UTF-8. Line 3 of .* invalid .*Save it again"
    ):
        skio.read_columns(tmp_path / "r.csv")


def test_rows_nested_too_deeply_are_refused():
    row = value = {}
    for _ in range(3000):
        value["a"] = {}
        value = value["a"]
    with pytest.raises(ValueError, match=r"nested so deeply. A row of the list"):
        skio.read_columns([row])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"existing file. Got .*Check the name"):
        skio.read_columns(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize(
    "name", ["r.jsonl", "r.jsonl.gz", "my.file.v2.jsonl", "r.json"]
)
def test_the_kind_is_the_end_of_the_name(tmp_path, name):
    text = '{"a": 1}\n\n{"a": 2, "b": "x"}\n'  # also a .json may hold lines
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(data)
    columns = skio.read_columns(tmp_path / name)
    assert columns["a"].tolist() == [1.0, 2.0]
    assert columns["b"].tolist() == [None, "x"]


def test_equal_data_make_equal_files(tmp_path):
    data = skio.read_comparisons([RIGHT["read_comparisons"]])
    files = [tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz")]
    for path in files:
        skio.write_comparisons(data, path=path)
    assert files[0].read_bytes() == files[1].read_bytes()
