"""Texts that know their parts, preferences and the report."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skarm import BradleyTerryRegressor, Comparisons
from skarm.io import (
    ItemText,
    Preferences,
    ReadReport,
    join_texts,
    read_comparisons,
    render_messages,
)

TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def test_an_item_text_is_a_text_and_keeps_its_parts_through_copies():
    item = ItemText("a b", "a", TALK)
    assert item == "a b" and hash(item) == hash("a b") and isinstance(item, str)
    for other in (
        *(pickle.loads(pickle.dumps(item, protocol)) for protocol in range(6)),
        *(copy.copy(item), copy.deepcopy(item)),
        np.array([item], dtype=object)[0],
        Comparisons([item, "c"], [[0, 1]])[:1].compact().items[0],
    ):
        assert type(other) is ItemText
        assert (other, other.prompt, other.response) == ("a b", "a", TALK)
    assert joblib.hash(item) == joblib.hash(ItemText("a b", "a", TALK))
    assert (ItemText("x").prompt, ItemText("x").response) == ("", "x")


def test_texts_and_messages_are_rendered_and_joined():
    assert render_messages(TALK) == "user: Hi\n\nassistant: Hello"
    assert render_messages([]) == "" and render_messages("x") == "x"
    parts = [{"type": "text", "text": "See"}, {"type": "image"}, "this"]
    assert render_messages([{"role": "user", "content": parts}]) == "See\nthis"
    assert render_messages([{"role": "assistant", "content": None}]) == ""
    assert join_texts("Hi", TALK[1:]) == "Hi\n\nHello"
    assert join_texts("", "Hello") == "Hello"
    rows = [{"prompt": "p", "first": "a", "second": "b"}]
    data = read_comparisons(rows, join=lambda prompt, response: f"{prompt}|{response}")
    assert data.comparisons.items.tolist() == ["p|a", "p|b"]


votes = st.lists(
    st.tuples(
        st.sampled_from([(0, 1), (1, 0), (1, 2), (2, 0)]),
        st.sampled_from([0.0, 0.5, 1.0, np.nan]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
)


@given(votes, st.booleans())
@settings(deadline=None)
def test_aggregating_gives_shares_of_annotators(votes, weighted):
    pairs, y, weights = zip(*votes, strict=True)
    data = Preferences(
        Comparisons(["a", "b", "c"], list(map(list, pairs))),
        y,
        ids=range(len(y)),
        sample_weight=weights if weighted else None,
    )
    found = data.aggregate()
    seen = []
    for k, pair in enumerate(found.comparisons.pairs.tolist()):
        answers = [
            (w if weighted else 1, v if list(p) == pair else 1 - v)
            for p, v, w in votes
            if set(p) == set(pair) and not np.isnan(v)
        ]
        total = sum(w for w, _ in answers)
        assert found.sample_weight[k] == total
        share = sum(w * v for w, v in answers) / total if total else np.nan
        assert np.isclose(found.y[k], share, equal_nan=True)
        seen.append(set(pair))
        assert set(pairs[found.ids[k]]) == set(pair)
    assert seen == [set(p) for p in dict.fromkeys(map(frozenset, pairs))]


def test_a_fit_on_shares_is_the_fit_on_answers():
    rng = np.random.RandomState(0)
    items = rng.standard_normal((8, 3))
    pairs = np.array([rng.choice(8, 2, replace=False) for _ in range(60)])
    data = Preferences(Comparisons(items, pairs), rng.choice([0, 0.5, 1], 60))
    model, less = BradleyTerryRegressor(alpha=1.0), data.aggregate()
    assert len(less) < 60
    coef = model.fit(data.comparisons, data.y).coef_.copy()
    model.fit(less.comparisons, less.y, sample_weight=less.sample_weight)
    assert np.allclose(model.coef_, coef, atol=1e-6)


def test_preferences_check_what_they_hold():
    pair = Comparisons(["a", "b"], [[0, 1]])
    assert np.isnan(Preferences(pair).y).all()
    with pytest.raises(ValueError, match=r"ids must hold one entry per comparison, 1"):
        Preferences(pair, [1], ids=[1, 2])
    with pytest.raises(
        ValueError, match=r"note must hold one .* Got 0. Select both by"
    ):
        Preferences(pair, [1], columns={"note": []})
    with pytest.raises(ValueError, match=r"y must lie in \[0, 1\]"):
        Preferences(pair, [2])
    assert repr(Preferences(pair, report=ReadReport(3))) == (
        "Preferences(1 comparisons, 0 answered, over 2 responses; "
        "3 rows read, none left out)"
    )


def test_a_report_names_places_but_not_a_thousand():
    report = ReadReport(1200, {"odd": [f"line {k}" for k in range(1007)]})
    assert report.n_skipped == 1007
    assert str(report).endswith("(line 0, line 1, line 2, line 3, line 4, 1,002 more)")
