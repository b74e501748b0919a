"""The default rule: what it measures, what it then does, and that it says so."""

import numpy as np
import pytest

from skarm import ActiveComparisonSampler, Comparisons
from skarm.sampler import make_design
from skarm.strategies import adaptive, get_strategy
from skarm.strategies.adaptive import LIGHT_TAILS, tail_weight


def pool_of(items, n_pairs=3000):
    return Comparisons.random_pairs(items, n_pairs, random_state=0)


def light(seed=0):
    return np.random.default_rng(seed).standard_normal((400, 8))


def heavy(seed=0):
    return np.random.default_rng(seed).standard_t(3, size=(400, 8))


def weight_of(items):
    pool = pool_of(items)
    return tail_weight(make_design(pool, np.arange(len(pool)), None))


@pytest.mark.parametrize("seed", range(3))
def test_gaussian_differences_weigh_one(seed):
    assert weight_of(light(seed)) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("seed", range(3))
def test_the_weight_is_mardias_kurtosis_by_definition(seed):
    items = heavy(seed)
    X = pool_of(items).differences()
    A = X.T @ X / len(X)
    squares = np.einsum("ki,ij,kj->k", X, np.linalg.inv(A), X) ** 2
    assert weight_of(items) == pytest.approx(squares.mean() / (8 * 10), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_weight_does_not_depend_on_coordinates_or_on_redundant_features(seed):
    items = heavy(seed)
    mixing = np.random.default_rng(seed).standard_normal((8, 8))
    expected = weight_of(items)
    assert weight_of(items @ mixing) == pytest.approx(expected, rel=1e-6)
    redundant = np.hstack([items, items[:, :2], np.ones((400, 1))])
    assert weight_of(redundant) == pytest.approx(expected, rel=1e-4)


def test_pairs_of_equal_items_weigh_nothing():
    items = light()
    twins = np.vstack([items, items])
    pairs = np.vstack([pool_of(items).pairs, [[k, k + 400] for k in range(400)]])
    design = make_design(Comparisons(twins, pairs), np.arange(len(pairs)), None)
    alone = make_design(pool_of(items), np.arange(3000), None)
    # The moment counts them, a factor for all lengths, which cancels.
    assert tail_weight(design) == pytest.approx(tail_weight(alone), rel=1e-6)


def test_a_pool_without_differences_has_a_weight():
    assert weight_of(np.ones((50, 2))[:, :2].repeat(2, axis=0)) == 1.0


@pytest.mark.parametrize(
    ("items", "rule", "params", "why"),
    [
        (light(), "v_optimal", {"eligible": 1.0}, "light tails"),
        (heavy(), "tournament_d_optimal", {}, "heavy tails"),
    ],
)
def test_it_is_the_rule_that_it_names(items, rule, params, why):
    pool = pool_of(items)
    auto = ActiveComparisonSampler("auto", random_state=0)
    plain = ActiveComparisonSampler(rule, strategy_params=params, random_state=0)
    np.testing.assert_array_equal(
        auto.query(pool, n_pairs=20), plain.query(pool, n_pairs=20)
    )
    assert why in auto.explain_["why"]
    assert f"{weight_of(items):.2f}" in auto.explain_["why"]
    assert str(LIGHT_TAILS) in auto.explain_["why"]


def test_it_is_the_default():
    assert get_strategy("auto") is adaptive


@pytest.mark.parametrize(("draw", "why"), [(light, "light"), (heavy, "heavy")])
def test_it_chooses_among_every_pair_of_a_vast_pool(draw, why):
    items = np.vstack([draw(seed) for seed in range(3)])
    pool = Comparisons.all_pairs(items)
    assert len(pool) > 200_000
    sampler = ActiveComparisonSampler(random_state=0)
    index = sampler.query(pool, n_pairs=10, exclude=pool[:100])
    assert len(np.unique(index)) == 10
    assert index.min() >= 100
    assert why in sampler.explain_["why"]
