"""Annotators: one pair, one answer; the right frequencies; nothing typed is lost."""

import copy
import io
import json
import pickle
import time

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chisquare, kstest

from skarm import Comparisons
from skarm.annotators import (
    AnnotationStopped,
    RecordedAnnotator,
    SimulatedAnnotator,
    TerminalAnnotator,
    _uniform,
)


def random_pairs(seed, n_pairs, n_items):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, n_items, n_pairs)
    second = (first + rng.integers(1, n_items, n_pairs)) % n_items
    return np.stack([first, second], axis=1)


def every_pair(n_items):
    return np.stack(np.triu_indices(n_items, 1), axis=1)


# --------------------------------------------------------------------- simulated


@pytest.mark.parametrize("seed", range(10))
def test_a_pair_has_one_answer_however_it_is_asked(seed):
    reward = np.random.default_rng(seed).normal(size=30)
    annotator = SimulatedAnnotator(reward, tie_width=0.1, random_state=seed)
    pairs = random_pairs(seed, 400, 30)
    y = annotator(pairs)
    assert y.dtype == np.float64 and set(np.unique(y)) == {0.0, 0.5, 1.0}
    np.testing.assert_array_equal(annotator(pairs[:, ::-1]), 1 - y)
    np.testing.assert_array_equal([annotator([pair]).item() for pair in pairs], y)
    order = np.random.default_rng(seed).permutation(400)
    np.testing.assert_array_equal(annotator(pairs[order]), y[order])
    again = SimulatedAnnotator(reward, tie_width=0.1, random_state=seed)
    np.testing.assert_array_equal(again(pairs), y)


def test_comparisons_and_bare_pairs_are_answered_alike():
    items = np.random.default_rng(0).normal(size=(12, 2))
    annotator = SimulatedAnnotator(items[:, 0])
    pool = Comparisons.all_pairs(items)
    np.testing.assert_array_equal(annotator(pool), annotator(pool.pairs))
    np.testing.assert_array_equal(annotator(pool[[3, 5]]), annotator(pool)[[3, 5]])
    np.testing.assert_array_equal(annotator(pool[:5].swap()), 1 - annotator(pool[:5]))
    assert annotator(pool[:0]).shape == annotator([]).shape == (0,)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_frequencies_match_the_sigmoid(temperature):
    delta = np.array([0.0, 0.1, 0.7, 2.0, 5.0])
    n = 20_000
    annotator = SimulatedAnnotator(
        np.r_[np.repeat(delta, n), np.zeros(n)], temperature=temperature
    )
    first = np.arange(len(delta) * n)
    pairs = np.stack([first, len(delta) * n + first % n], axis=1)
    p = expit(delta / temperature)
    np.testing.assert_allclose(annotator.probability(pairs), np.repeat(p, n))
    np.testing.assert_allclose(
        annotator.probability(pairs[:, ::-1]), np.repeat(1 - p, n)
    )
    shares = annotator(pairs).reshape(len(delta), n).mean(axis=1)
    assert np.all(np.abs(shares - p) <= 4 * np.sqrt(p * (1 - p) / n) + 1e-12)


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (2, 4), (7, 3)])
def test_frequencies_over_seeds_match_the_probability(pair):
    reward, n = np.linspace(-1, 1, 8), 4000
    y = [SimulatedAnnotator(reward, random_state=s)([pair]).item() for s in range(n)]
    p = SimulatedAnnotator(reward).probability([pair]).item()
    assert abs(np.mean(y) - p) < 4 * np.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("seed", [0, 1, 2, 12345, 2**63, 2**64 - 1])
def test_hash_is_uniform_over_pairs(seed):
    low, high = every_pair(700).T
    u = _uniform(low, high, seed)
    assert u.min() >= 0 and u.max() < 1
    assert kstest(u, "uniform").pvalue > 1e-3
    assert len(np.unique(u)) == len(u)


def test_hash_is_uniform_over_seeds():
    u = [_uniform(np.array([3]), np.array([8]), seed).item() for seed in range(20_000)]
    assert kstest(u, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("far", [1, 7, 2**20])
def test_hash_of_neighboring_pairs_and_seeds_is_independent(far):
    low, high = every_pair(500).T
    high = high + far
    u = _uniform(low, high, 5)
    others = [
        _uniform(low, high + 1, 5),  # the next item
        _uniform(low + high[0], high + low + 1, 5),
        _uniform(low, high, 6),  # the next seed
        _uniform(low, high, 5 + 2**32),
        np.roll(u, 1),
    ]
    for other in others:
        cells = np.floor(u * 16).astype(int) * 16 + np.floor(other * 16).astype(int)
        assert chisquare(np.bincount(cells, minlength=256)).pvalue > 1e-4
        fine = np.floor(u * 2**20) % 16 * 16 + np.floor(other * 2**20) % 16
        assert chisquare(np.bincount(fine.astype(int), minlength=256)).pvalue > 1e-4


def test_temperature_zero_never_errs():
    reward = np.array([0.0, 1e-9, 1.0, 1.0, -5.0])
    pairs = every_pair(5)
    y = SimulatedAnnotator(reward, temperature=0)(pairs)
    delta = reward[pairs[:, 0]] - reward[pairs[:, 1]]
    np.testing.assert_array_equal(y, (1 + np.sign(delta)) / 2)
    tiny = SimulatedAnnotator(reward * 1e300, temperature=1e-300)  # overflows quietly
    assert set(tiny(pairs[delta != 0])) == {0.0, 1.0}
    np.testing.assert_array_equal(tiny(pairs)[delta != 0], y[delta != 0])


def test_tie_width_is_a_difference_of_rewards():
    annotator = SimulatedAnnotator([0.0, 0.4, 1.0], tie_width=0.5, temperature=2.0)
    pairs = [[0, 1], [1, 2], [0, 2], [1, 0]]
    y = annotator(pairs)
    np.testing.assert_array_equal(y == 0.5, [True, False, False, True])
    p = annotator.probability(pairs)
    np.testing.assert_allclose(p, [0.5, expit(-0.3), expit(-0.5), 0.5])


def test_random_state_instances_are_drawn_from_once():
    reward, pairs = np.zeros(60), every_pair(60)
    for make in (np.random.RandomState, np.random.default_rng):
        source = make(3)
        a, b = (SimulatedAnnotator(reward, random_state=source) for _ in range(2))
        assert a.random_state is source
        np.testing.assert_array_equal(a(pairs), a(pairs))
        assert (a(pairs) != b(pairs)).any()
        twin = SimulatedAnnotator(reward, random_state=make(3))
        np.testing.assert_array_equal(twin(pairs), a(pairs))
    a, b = (SimulatedAnnotator(reward, random_state=s) for s in (-1, np.int64(7)))
    assert (a(pairs) != b(pairs)).any()
    SimulatedAnnotator(reward, random_state=None)(pairs)


def test_a_million_pairs_take_less_than_a_second():
    annotator = SimulatedAnnotator(np.random.default_rng(0).normal(size=100_000))
    pairs = random_pairs(0, 1_000_000, 100_000)
    start = time.perf_counter()
    annotator(pairs)
    assert time.perf_counter() - start < 1


def test_simulated_annotator_pickles():
    annotator = SimulatedAnnotator([0.0, 0.5, 1.0], random_state=3)
    pairs = [[0, 1], [1, 2], [2, 0]]
    again = pickle.loads(pickle.dumps(annotator))
    np.testing.assert_array_equal(again(pairs), annotator(pairs))


@pytest.mark.parametrize(
    ("reward", "params", "match"),
    [
        ([0, np.nan], {}, r"reward must hold one finite .* shape \(2,\) with 1 values"),
        ([[0, 1]], {}, r"reward must hold .* Got shape \(1, 2\)"),
        ([0, 1], {"temperature": -1}, "temperature must be finite and not negative. G"),
        ([0, 1], {"temperature": np.inf}, "temperature must be finite"),
        (
            [0, 1],
            {"tie_width": np.nan},
            "tie_width must be finite and not neg.*Got nan",
        ),
        ([0, 1], {"random_state": "x"}, "'x' cannot be used to seed"),
    ],
)
def test_simulated_annotator_refuses(reward, params, match):
    with pytest.raises(ValueError, match=match):
        SimulatedAnnotator(reward, **params)


@pytest.mark.parametrize(
    ("pairs", "match"),
    [
        (
            np.zeros((4, 2, 3)),
            r"integer array of shape \(n_pairs, 2\). Got shape \(4, 2",
        ),
        ([[0.0, 1.0]], "dtype float64. Pass indices of items"),
        ([0, 1], r"Got shape \(2,\)"),
        ([[0, 1, 2]], r"Got shape \(1, 3\)"),
        ([[0, 1], [2, 2]], r"two different item indices .* Row 1 is \(2, 2\)"),
        ([[0, 1], [1, -1]], r"from 0 to 2. Row 1 is \(1, -1\)"),
        ([[0, 3]], r"from 0 to 2. Row 0 is \(0, 3\). Drop it"),
        (Comparisons(np.eye(4), [[0, 1]]), "must be of the 3 items .* Got 4 items"),
    ],
)
@pytest.mark.parametrize(
    "annotator", [SimulatedAnnotator([0, 1, 2]), TerminalAnnotator(["a", "b", "c"])]
)
def test_pairs_are_checked(annotator, pairs, match):
    with pytest.raises(ValueError, match=match):
        annotator(pairs)


# ---------------------------------------------------------------------- recorded


@pytest.mark.parametrize("n_items", [12, 1_000_000])
@pytest.mark.parametrize("seed", range(5))
def test_recorded_answers_equal_a_dictionary_of_means(seed, n_items):
    rng = np.random.default_rng(seed)
    pairs = random_pairs(seed, 300, n_items)
    y = rng.choice([0, 1, 0.5, 0.25, np.nan], 300)
    answers = {}
    for (first, second), value in zip(pairs.tolist(), y, strict=True):
        if not np.isnan(value):
            key = (min(first, second), max(first, second))
            answers.setdefault(key, []).append(value if first < second else 1 - value)
    annotator = RecordedAnnotator(pairs, y)
    assert [tuple(pair) for pair in annotator.pairs.tolist()] == sorted(answers)
    assert annotator.pairs.dtype == np.intp
    expected = [np.mean(answers[tuple(pair)]) for pair in annotator.pairs.tolist()]
    np.testing.assert_allclose(annotator.y, expected)
    order = rng.permutation(len(expected))
    np.testing.assert_array_equal(annotator(annotator.pairs[order]), annotator.y[order])
    np.testing.assert_array_equal(annotator(annotator.pairs[:, ::-1]), 1 - annotator.y)


def test_recorded_annotator_keeps_the_largest_item_indices_apart():
    top = 2**32 - 1
    annotator = RecordedAnnotator([[top, 0], [top, top - 1], [0, 1]], [1, 1, 1])
    assert annotator.pairs.tolist() == [[0, 1], [0, top], [top - 1, top]]
    assert annotator([[0, top], [top, top - 1], [1, 0]]).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="from 0 to 4294967295"):
        RecordedAnnotator([[0, 2**32]], [1])


def test_recorded_annotator_replays_a_simulated_one():
    items = np.random.default_rng(0).normal(size=(20, 2))
    asked = Comparisons.random_pairs(items, 50, random_state=0)
    y = SimulatedAnnotator(items[:, 0])(asked)
    recorded = RecordedAnnotator(asked, y)
    np.testing.assert_array_equal(recorded(asked), y)
    np.testing.assert_array_equal(recorded(asked.swap()), 1 - y)
    pool = Comparisons(items, recorded.pairs)
    np.testing.assert_array_equal(recorded(pool), recorded.y)


def test_unrecorded_pairs_are_named_and_counted():
    annotator = RecordedAnnotator([[0, 1], [3, 7], [4, 5]], [1, 0, np.nan])
    match = r"Got \(7, 2\), without one; 2 of the 3 asked are missing"
    with pytest.raises(ValueError, match=match):
        annotator([[1, 0], [7, 2], [4, 5]])
    with pytest.raises(ValueError, match="1 of the 1 asked are missing"):
        RecordedAnnotator([], [])([[0, 1]])
    assert RecordedAnnotator([], [])([]).shape == (0,)
    assert RecordedAnnotator([], []).pairs.shape == (0, 2)


@pytest.mark.parametrize(
    ("pairs", "y", "match"),
    [
        ([[0, 1]], [1, 0], r"y must hold one .* Got shape \(2,\) for 1 pairs"),
        ([[0, 1]], [-1], r"values \[-1.\] outside. Map answers in \{-1, 1\}"),
        ([[0, 0]], [1], r"two different item indices .* Row 0 is \(0, 0\)"),
        ([[0.5, 1]], [1], "integer array of shape"),
    ],
)
def test_recorded_annotator_refuses(pairs, y, match):
    with pytest.raises(ValueError, match=match):
        RecordedAnnotator(pairs, y)


# ---------------------------------------------------------------------- terminal

TEXTS = ["alpha", "beta", "gamma", "delta"]


class Person:
    """Types the keys in turn; an exception among them is raised."""

    def __init__(self, *keys):
        self.keys, self.questions = list(keys), []

    def __call__(self, question):
        self.questions.append(question)
        if not self.keys:
            raise AssertionError("asked once more than expected")
        key = self.keys.pop(0)
        if not isinstance(key, str):
            raise key
        return key


class Reader:
    """Always prefers the text that `reward` says, judged from what is shown."""

    def __init__(self, output, reward):
        self.output, self.reward, self.shown = output, reward, []

    def __call__(self, question):
        screen = self.output.getvalue().split("==== Comparison")[-1]
        a, b = screen.split("---- A ----")[1].split("---- B ----")
        self.shown.append((a.strip(), b.strip()))
        return "a" if self.reward[a.strip()] > self.reward[b.strip()] else "b"


def terminal(person, **params):
    params.setdefault("output", io.StringIO())
    return TerminalAnnotator(TEXTS, input=person, **params)


def test_sides_are_drawn_and_undone_in_the_answer():
    texts = [f"text {i}" for i in range(40)]
    reward = dict(zip(texts, np.random.default_rng(0).permutation(40), strict=True))
    pairs = random_pairs(1, 300, 40)
    expected = [float(reward[texts[i]] > reward[texts[j]]) for i, j in pairs]
    output = io.StringIO()
    reader = Reader(output, reward)
    y = TerminalAnnotator(texts, input=reader, output=output)(pairs)
    np.testing.assert_array_equal(y, expected)
    n_unordered = len(np.unique(np.sort(pairs, axis=1), axis=0))
    assert len(reader.shown) == n_unordered < 300  # each pair once
    share = np.mean([int(a.split()[1]) < int(b.split()[1]) for a, b in reader.shown])
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(n_unordered)
    output = io.StringIO()
    other_side = Reader(output, reward)
    TerminalAnnotator(texts, input=other_side, output=output)(pairs[:, ::-1])
    assert other_side.shown == reader.shown  # sides do not depend on the order asked


@pytest.mark.parametrize(
    ("key", "for_a"),
    [("1", 1), ("a", 1), (" A ", 1), ("2", 0), ("b", 0), ("t", 0.5), ("0", 0.5)],
)
def test_keys(key, for_a, tmp_path):
    path = tmp_path / "answers.jsonl"
    (y,) = terminal(Person(key), path=path)([[2, 1]])
    record = json.loads(path.read_text())
    assert (record["first"], record["second"], record["y"]) == (2, 1, y)
    assert y == (for_a if record["shown_first"] == 2 else 1 - for_a)
    assert record["seconds"] >= 0 and record["time"].endswith("+00:00")


def test_unknown_keys_are_asked_again():
    person = Person("", "x", "12", "t")
    assert terminal(person)([[0, 1]]) == [0.5]
    assert len(person.questions) == 4 and "'x' is none of" in person.questions[2]


def test_skipping_gives_nan_and_is_not_asked_again(tmp_path):
    path = tmp_path / "answers.jsonl"
    y = terminal(Person("s", "t"), path=path)([[0, 1], [2, 3]])
    np.testing.assert_array_equal(y, [np.nan, 0.5])
    assert json.loads(path.read_text().splitlines()[0])["y"] is None
    y = terminal(Person(), path=path)([[1, 0], [2, 3]])
    np.testing.assert_array_equal(y, [np.nan, 0.5])


@pytest.mark.parametrize("stop", ["q", " Q", EOFError()])
def test_stopping_carries_the_answers_so_far(stop):
    person = Person("t", "s", stop, "t")
    annotator = terminal(person)
    pairs = [[0, 1], [1, 2], [2, 3], [1, 0]]
    with pytest.raises(AnnotationStopped, match="stopped with 2 of 4 comp") as stopped:
        annotator(pairs)
    np.testing.assert_array_equal(stopped.value.y, [0.5, np.nan, np.nan, 0.5])
    for twin in (copy.copy(stopped.value), pickle.loads(pickle.dumps(stopped.value))):
        np.testing.assert_array_equal(twin.y, stopped.value.y)
    np.testing.assert_array_equal(annotator(pairs), [0.5, np.nan, 0.5, 0.5])  # goes on


@pytest.mark.parametrize("crash", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_lost_when_the_program_stops(crash, tmp_path):
    path = tmp_path / "answers.jsonl"
    pairs = every_pair(4)
    annotator = terminal(Person("1", "2", crash()), path=path)
    with pytest.raises(crash):
        annotator(pairs)
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    person = Person("t", "t", "t", "1")
    y = terminal(person, path=str(path))(pairs)
    assert len(person.questions) == 4
    np.testing.assert_array_equal(y[:2], [json.loads(line)["y"] for line in lines])
    assert path.read_text().splitlines()[:2] == lines  # appended, not rewritten
    assert len(path.read_text().splitlines()) == 6
    np.testing.assert_array_equal(terminal(Person(), path=path)(pairs), y)
    np.testing.assert_array_equal(terminal(Person(), path=path)(pairs[:, ::-1]), 1 - y)


def test_each_answer_is_on_disk_before_the_next_question(tmp_path):
    path = tmp_path / "answers.jsonl"
    n_lines = []

    def person(question):
        n_lines.append(len(path.read_text().splitlines()) if path.exists() else 0)
        return "1"

    terminal(person, path=path)(every_pair(4))
    assert n_lines == [0, 1, 2, 3, 4, 5]


def test_the_recorded_file_feeds_a_recorded_annotator(tmp_path):
    path = tmp_path / "answers.jsonl"
    pairs = [[3, 0], [1, 2]]
    y = terminal(Person("1", "2"), path=path)(pairs)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    recorded = RecordedAnnotator(
        [[row["first"], row["second"]] for row in rows], [row["y"] for row in rows]
    )
    np.testing.assert_array_equal(recorded(pairs), y)


def test_a_file_may_be_edited_by_hand(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(
        '{"first": 0, "second": 1, "y": 1}\n\n'
        '{"first": 1, "second": 0, "y": 1}\n'  # a second thought
        '{"first": 2, "second": 3, "y": 0.25}'  # without a newline
    )
    y = terminal(Person("t"), path=path)([[0, 1], [3, 2], [1, 3]])
    np.testing.assert_array_equal(y, [0, 0.75, 0.5])
    assert len(path.read_text().splitlines()) == 5
    terminal(Person(), path=path)([[1, 3]])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"first": 0, "sec', "JSONDecodeError"),
        ("[0, 1, 1]", "TypeError"),
        ('{"first": 0, "second": 1}', "KeyError: 'y'"),
        ('{"first": 0, "second": 1, "y": 2}', r"y must be in \[0, 1\] or null. Got 2"),
        ('{"first": 0, "second": 1, "y": "one"}', "could not convert"),
        ('{"first": 0, "second": 9, "y": 1}', r"from 0 to 3. Row 0 is \(0, 9\)"),
        ('{"first": 0.5, "second": 1, "y": 1}', "integer array"),
        ('{"first": 1, "second": 1, "y": 1}', "two different"),
        ("\udcff\udcfe", "JSONDecodeError"),
    ],
)
def test_a_malformed_line_is_reported_with_its_number(line, why, tmp_path):
    path = tmp_path / "answers.jsonl"
    good = '{"first": 0, "second": 1, "y": 1}\n'
    path.write_bytes((good * 2 + line).encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=f"on line 3, .*{why}.*Repair or delete"):
        terminal(Person(), path=path)


def test_prompts_are_shown_once_or_with_each_response(capsys):
    prompts = ["Which?", "Which?", "Why?", "Why?"]
    annotator = terminal(Person("1", "1"), prompts=prompts, output=None)
    annotator([[0, 1]])
    shown = capsys.readouterr().out
    assert shown.count("Which?") == 1 and "Comparison 1 of 1" in shown
    assert shown.index("Which?") < shown.index("---- A") < shown.index("---- B")
    annotator([[0, 1], [0, 2]])
    shown = capsys.readouterr().out
    assert "(to: Which?)\nalpha" in shown and "(to: Why?)\ngamma" in shown


def test_long_texts_are_cut_and_control_characters_removed():
    output = io.StringIO()
    texts = ["x" * 50, "\x1b[2Jtwo\r\nlines\x07\x9b"]
    for show_chars in (10, None):
        TerminalAnnotator(
            texts, input=Person("t"), output=output, show_chars=show_chars
        )([[0, 1]])
    short, full = output.getvalue().split("==== Comparison")[1:]
    assert "\n" + "x" * 10 + " [... 40 more characters]" in short
    assert "x" * 50 in full and "[2Jtwo\nlines\n" in full
    assert not set("\x1b\r\x07\x9b") & set(output.getvalue())


def test_prompts_must_match_the_texts():
    with pytest.raises(ValueError, match=r"one prompt per text. Got 1 for 4 texts"):
        terminal(Person(), prompts=["Which?"])
