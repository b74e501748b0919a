"""Planning a batch: caps on items and groups, costs, a random share, targets."""

import re

import numpy as np
import pytest

from skarm import (
    ActiveComparisonSampler,
    BradleyTerryRegressor,
    Comparisons,
    _candidates,
)
from skarm._candidates import MAX_CANDIDATES
from skarm.exceptions import PoolExhaustedError
from skarm.strategies import Selection, get_strategy, get_strategy_names

STRATEGIES = get_strategy_names()
#: Strategies that draw, and do not weigh what a pair costs.
COSTLESS = {"random", "double_thompson", "drts", "max_min_lcb"}

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@pytest.fixture(scope="module")
def world():
    """Twelve prompts with five answers each, within-prompt pairs, a fitted model."""
    rng = np.random.default_rng(0)
    items = rng.standard_normal((60, 4))
    groups = np.repeat(np.arange(12), 5)
    pool = Comparisons.all_pairs(items, groups=groups, scope="within")
    asked = Comparisons.random_pairs(items, 40, groups=groups, random_state=0)
    gaps = asked.differences() @ rng.standard_normal(4)
    y = (rng.logistic(size=40) < gaps).astype(float)
    return pool, BradleyTerryRegressor(alpha=1.0).fit(asked, y)


def counts(codes):
    """How often each code occurs; a pair inside a group counts once for it."""
    return np.bincount([code for pair in codes for code in set(pair.tolist())])


# ------------------------------------------------------------------------------- caps


@pytest.mark.parametrize("is_cold", [False, True])
@every_strategy
def test_no_item_and_no_group_occurs_more_often_than_it_may(strategy, is_cold, world):
    pool, model = world
    sampler = ActiveComparisonSampler(
        strategy, max_pairs_per_item=1, max_pairs_per_group=2, random_state=0
    )
    estimator = None if is_cold else model
    pairs = pool[sampler.query(pool, estimator=estimator, n_pairs=20)].pairs
    assert len(np.unique(pairs, axis=0)) == 20
    assert counts(pairs).max() == 1
    assert counts(pool.groups[pairs]).max() == 2


@every_strategy
def test_caps_that_never_bind_change_nothing(strategy, world):
    pool, model = world
    free, capped = (
        ActiveComparisonSampler(
            strategy, max_pairs_per_item=cap, max_pairs_per_group=cap, random_state=0
        )
        for cap in (None, 10**6)
    )
    if strategy == "random":
        pytest.skip("drawn in another way where there are caps")
    expected = free.query(pool, estimator=model, n_pairs=10)
    found = capped.query(pool, estimator=model, n_pairs=10)
    np.testing.assert_array_equal(found, expected)


@every_strategy
def test_caps_that_leave_too_few_raise(strategy, world):
    pool, model = world
    sampler = ActiveComparisonSampler(strategy, max_pairs_per_group=1, random_state=0)
    assert len(sampler.query(pool, estimator=model, n_pairs=12)) == 12
    message = (
        "n_pairs=13, of which 12 could be chosen with max_pairs_per_item=None and "
    )
    with pytest.raises(PoolExhaustedError, match=message + "max_pairs_per_group=1"):
        sampler.query(pool, estimator=model, n_pairs=13)


@pytest.mark.parametrize("strategy", ["greedy_d_optimal", "v_optimal"])
def test_a_capped_greedy_batch_is_the_greedy_batch_of_what_is_open(strategy, world):
    pool, model = world
    params = {"eligible": 1.0, "variance": "plug_in"}
    sampler = ActiveComparisonSampler(
        strategy, strategy_params=params, max_pairs_per_item=1, random_state=0
    )
    picks = sampler.query(pool, estimator=model, n_pairs=8, target=pool)
    free = ActiveComparisonSampler(strategy, strategy_params=params, random_state=0)
    answered = model.information_.copy()
    for k, pick in enumerate(picks):  # one at a time, from those that are still open
        used = pool[picks[:k]].pairs.reshape(-1)
        left = ~np.isin(pool.pairs, used).any(axis=1)
        step = BradleyTerryRegressor.__new__(BradleyTerryRegressor)
        step.__dict__.update(model.__dict__)
        step.information_ = answered
        found = free.query(pool, estimator=step, candidates=left, target=pool)
        assert found[0] == pick
        x = pool[[pick]].differences()[0]
        p = model.predict(pool[[pick]])[0]
        answered = answered + p * (1 - p) * np.outer(x, x)


def test_every_pair_of_a_vast_pool_is_capped_too():
    items = np.random.default_rng(0).standard_normal((900, 3))
    groups = np.arange(900) % 40
    pool = Comparisons.all_pairs(items, groups=groups, scope="across")
    assert len(pool) > MAX_CANDIDATES
    sampler = ActiveComparisonSampler(
        *("greedy_d_optimal",),
        **{"max_pairs_per_item": 1, "max_pairs_per_group": 3, "random_state": 0},
        random_fraction=0.25,
    )
    indices = sampler.query(pool, n_pairs=40)
    assert len(set(indices)) == 40
    assert sampler.explain_["is_random"].sum() == 10
    pairs = pool[indices].pairs
    assert counts(pairs).max() == 1
    assert counts(groups[pairs]).max() <= 3


def test_a_group_cap_needs_groups(world):
    pool, _ = world
    sampler = ActiveComparisonSampler(max_pairs_per_group=1)
    with pytest.raises(ValueError, match="max_pairs_per_group needs the groups"):
        sampler.query(Comparisons(pool.items, pool.pairs))


def test_a_callable_that_breaks_the_caps_is_told(world):
    pool, _ = world

    def careless(design, n_pairs, *, rng):
        return np.arange(n_pairs)

    sampler = ActiveComparisonSampler(careless, max_pairs_per_item=1)
    message = r"must keep to design.max_pairs_per_item.*'careless' returned position 1"
    with pytest.raises(ValueError, match=message):
        sampler.query(pool, n_pairs=3)

    def careful(design, n_pairs, *, rng):
        selection = Selection(design)
        while len(selection) < n_pairs and selection.open.any():
            selection.take(np.flatnonzero(selection.open)[0])
        return selection.picks()

    sampler.set_params(strategy=careful)
    assert counts(pool[sampler.query(pool, n_pairs=20)].pairs).max() == 1


def test_a_question_that_is_listed_twice_is_asked_once(world):
    pool, model = world
    twice = np.vstack([pool.pairs[:30], pool.pairs[:30, ::-1]])
    listed = Comparisons(pool.items, twice)
    for strategy in STRATEGIES:
        sampler = ActiveComparisonSampler(strategy, random_state=0)
        indices = sampler.query(listed, estimator=model, n_pairs=30)
        assert set(indices % 30) == set(range(30)), strategy
        assert len(set(sampler.query(listed, estimator=model, n_pairs=45))) == 45


@pytest.mark.parametrize("spread", [0, 1, int(_candidates.SPREAD)])  # 0: all collide
def test_repeated_codes_are_found_whatever_collides(spread, monkeypatch):
    monkeypatch.setattr(_candidates, "SPREAD", np.uint64(spread))
    rng = np.random.default_rng(0)
    found = set()
    for n in (0, 1, 2, 3, 40, 1000):
        for n_codes in (n, 2 * n, n * n, 2**62):
            drawn = rng.integers(max(n_codes, 1), size=n)
            for codes in (drawn, np.unique(drawn)[::-1].copy()):
                are_distinct = len(np.unique(codes)) == len(codes)
                assert _candidates._are_distinct(codes) == are_distinct
                found.add(are_distinct)
    assert found == {True, False}


# ------------------------------------------------------------------------------- costs


@every_strategy
def test_equal_costs_change_nothing_and_dear_pairs_are_avoided(strategy, world):
    pool, model = world
    sampler = ActiveComparisonSampler(strategy, random_state=0)
    plain = sampler.query(pool, estimator=model, n_pairs=10)
    same = sampler.query(pool, estimator=model, n_pairs=10, cost=np.full(len(pool), 3))
    np.testing.assert_array_equal(same, plain)
    if strategy in COSTLESS:
        pytest.skip("draws, or plays a game, and does not weigh costs")
    cost = np.ones(len(pool))
    cost[plain[:5]] = 1e9
    found = sampler.query(pool, estimator=model, n_pairs=10, cost=cost)
    assert not set(found) & set(plain[:5])


def test_a_cost_may_be_a_function_of_the_pairs(world):
    pool, model = world
    cost = 1 + np.random.default_rng(0).random(pool.n_items)

    def minutes(comparisons):
        return cost[comparisons.pairs].sum(axis=1)

    sampler = ActiveComparisonSampler("max_difference", random_state=0)
    given = {"estimator": model, "n_pairs": 10}
    found = sampler.query(pool, cost=minutes, **given)
    np.testing.assert_array_equal(
        found, sampler.query(pool, cost=minutes(pool), **given)
    )
    gaps = model.predict(pool.items)[pool.pairs] @ [1, -1]
    np.testing.assert_array_equal(found, np.argsort(-np.abs(gaps) / minutes(pool))[:10])


@pytest.mark.parametrize("bad", [[1.0], np.zeros(120), np.full(120, np.nan)])
def test_costs_that_are_not_one_positive_number_a_pair_are_refused(bad, world):
    pool, _ = world
    with pytest.raises(ValueError, match="cost must give one positive, finite number"):
        ActiveComparisonSampler("entropy").query(pool, cost=bad)


def test_costs_that_are_words_are_refused(world):
    pool, _ = world
    for cost in (["dear"] * 120, lambda pairs: ["dear"] * len(pairs)):
        with pytest.raises(ValueError, match="cost must give one number per pair"):
            ActiveComparisonSampler("random").query(pool, cost=cost)


# ---------------------------------------------------------------------- a random share


def test_a_share_of_the_batch_is_drawn_at_random_and_logged(world):
    pool, model = world
    given = {"estimator": model, "n_pairs": 20, "return_utilities": True}
    plain = ActiveComparisonSampler("entropy", random_state=0)
    expected, _ = plain.query(pool, **given)
    assert not plain.explain_["is_random"].any()
    mixed = ActiveComparisonSampler("entropy", random_fraction=0.3, random_state=0)
    indices, utilities = mixed.query(pool, **given)
    is_random = mixed.explain_["is_random"]
    assert is_random.sum() == 6
    np.testing.assert_array_equal(indices[~is_random], expected[:14])
    assert len(set(indices)) == 20
    assert (utilities[is_random] == 0).all()
    assert (utilities[~is_random] > 0).all()


def test_the_random_share_is_right_on_average_and_uniform(world):
    pool, model = world
    sampler = ActiveComparisonSampler(
        "entropy", random_fraction=0.25, random_state=np.random.RandomState(0)
    )
    first = sampler.query(pool, estimator=model)[0]
    drawn = np.zeros(len(pool))
    shares = []
    for _ in range(600):
        indices = sampler.query(pool, estimator=model, n_pairs=5)
        is_random = sampler.explain_["is_random"]
        shares.append(is_random.sum())
        drawn[indices[is_random]] += 1
    assert set(shares) == {1, 2}
    assert np.mean(shares) == pytest.approx(1.25, abs=0.07)  # 4 standard errors
    assert drawn[first] == 0 or first in indices
    assert (drawn > 0).sum() > 110  # of 116 that entropy leaves


# ----------------------------------------------------------------------------- targets


def test_a_target_turns_the_v_criterion_to_where_the_model_is_used(world):
    pool, model = world
    sampler = ActiveComparisonSampler(
        "v_optimal", strategy_params={"eligible": 1.0}, random_state=0
    )
    given = {"estimator": model, "n_pairs": 5, "return_utilities": True}
    ordinary = sampler.query(pool, **given)
    same = sampler.query(pool, target=pool, **given)
    np.testing.assert_array_equal(same[0], ordinary[0])
    np.testing.assert_allclose(same[1], ordinary[1])
    narrow = np.zeros((30, 4))
    narrow[:, 2] = np.arange(30)  # only the third feature will vary
    aimed = sampler.query(pool, target=narrow, **given)
    assert set(aimed[0]) != set(ordinary[0])
    share = np.square(pool[aimed[0]].differences())
    usual = np.square(pool[ordinary[0]].differences())
    assert (share[:, 2] / share.sum(axis=1)).mean() > 0.7
    assert (usual[:, 2] / usual.sum(axis=1)).mean() < 0.5


def test_the_target_moment_is_that_of_the_targets_differences(world):
    pool, model = world
    seen = []

    def look(design, n_pairs, *, rng):
        seen.append(design.target_moment)
        return np.arange(n_pairs)

    few = pool[:7]
    for target in (few, np.asarray(few), pool.items[:9], None):
        ActiveComparisonSampler(look).query(pool, estimator=model, target=target)
    x, all_x = few.differences(), Comparisons.all_pairs(pool.items[:9]).differences()
    np.testing.assert_allclose(seen[0], x.T @ x / len(x))
    np.testing.assert_allclose(seen[1], seen[0])
    np.testing.assert_allclose(seen[2], all_x.T @ all_x / len(all_x))
    x = pool.differences()
    np.testing.assert_allclose(seen[3], x.T @ x / len(x))


# ---------------------------------------------------------------------------- progress


@pytest.mark.parametrize("strategy", ["greedy_d_optimal", "v_optimal", "batch"])
def test_the_bar_counts_picks_and_shows_only_where_it_should(
    strategy, world, monkeypatch
):
    pool, model = world
    bars = []

    class Bar:
        def __init__(self, **settings):
            self.settings, self.n = settings, 0
            bars.append(self)

        def update(self, by):
            self.n += by

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *error: None  # noqa: E731

    def batch(design, n_pairs, *, rng):
        selection = Selection(design)
        for position in range(n_pairs):
            selection.take(position)
        return selection.picks()

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    sampler = ActiveComparisonSampler(batch if strategy == "batch" else strategy)
    for shown in (None, True, False):
        sampler.query(pool, estimator=model, n_pairs=7, progress=shown)
    assert [bar.n for bar in bars] == [7, 7, 7]
    assert [bar.settings["disable"] for bar in bars] == [None, False, True]
    assert {bar.settings["delay"] for bar in bars} == {2}


def test_explanations_name_the_strategy(world):
    pool, model = world
    sampler = ActiveComparisonSampler("auto", random_state=0)
    sampler.query(pool, estimator=model, n_pairs=3)
    assert sampler.explain_["strategy"] == get_strategy("auto").__name__
    assert sampler.explain_["n_candidates"] == len(pool)
    assert re.fullmatch(r"[\w ,.:;'%()-]*", sampler.explain_["why"])
