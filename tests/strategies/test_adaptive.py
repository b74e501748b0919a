"""The default rule: what it measures, what it then does, and that it says so."""

import numpy as np
import pytest

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm.sampler import make_design
from skarm.strategies import adaptive, get_strategy
from skarm.strategies.adaptive import (
    SETTLED,
    settled_share,
    tail_weight,
)


def pool_of(items, n_pairs=3000):
    return Comparisons.random_pairs(items, n_pairs, random_state=0)


def light(seed=0):
    return np.random.default_rng(seed).standard_normal((400, 8))


def heavy(seed=0):
    return np.random.default_rng(seed).standard_t(3, size=(400, 8))


def very_heavy(seed=0):
    """Items that weigh more than Gaussian ones even on a sphere."""
    return np.random.default_rng(seed).standard_t(1, size=(400, 8))


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


def answered(items, n_answers, alpha, seed=0):
    """A pool, and a model of so many answers about other pairs."""
    past = Comparisons.random_pairs(items, n_answers, random_state=seed + 50)
    truth = np.random.default_rng(seed).standard_normal(items.shape[1])
    y = (past.differences() @ truth > 0).astype(float)
    return pool_of(items), BradleyTerryRegressor(alpha=alpha).fit(past, y)


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_the_settled_share_is_mackays_number_over_the_dimensions(alpha):
    """Σ λ / (λ + alpha) over the eigenvalues of the information."""
    pool, model = answered(light(), 100, alpha)
    design = make_design(pool, np.arange(len(pool)), model)
    lam = np.linalg.eigvalsh(model.information_)
    expected = (lam / (lam + alpha)).sum() / 8
    assert settled_share(design) == pytest.approx(expected, rel=1e-6)


def test_constant_features_are_not_counted():
    items = light()
    pool, model = answered(items, 100, 1.0)
    expected = settled_share(make_design(pool, np.arange(len(pool)), model))
    wide = np.hstack([items, np.ones((400, 4))])
    pool, past = pool_of(wide), Comparisons.random_pairs(wide, 100, random_state=50)
    y = (past.differences()[:, :8] @ np.random.default_rng(0).standard_normal(8)) > 0
    model = BradleyTerryRegressor(alpha=1.0).fit(past, y.astype(float))
    design = make_design(pool, np.arange(len(pool)), model)
    assert settled_share(design) == pytest.approx(expected, rel=1e-6)


def test_nothing_is_settled_in_a_cold_start():
    pool = pool_of(light())
    assert settled_share(make_design(pool, np.arange(len(pool)), None)) == 0


def named(rule, pool, n_pairs, params, model=None, target=None):
    """What a rule picks, with items on a sphere for V, as long as little is settled."""
    design = make_design(pool, np.arange(len(pool)), model, target=target)
    if rule == "v_optimal" and settled_share(design) < SETTLED:
        design = design.on_sphere()
    rng = np.random.RandomState(0)
    return get_strategy(rule)(design, n_pairs, rng=rng, **params).positions


def seen(pool):
    """The same pairs between the items that V sees."""
    design = make_design(pool, np.arange(len(pool)), None)
    return pool.with_items(design.on_sphere().embedding)


def blended(pool, model, moment):
    """Pairs whose moment is A / tr(A M⁻¹) + M / d."""
    d = pool.items.shape[1]
    M = model.information_ + model.alpha_ * np.eye(d)
    root = np.linalg.cholesky(moment / np.trace(np.linalg.solve(M, moment)) + M / d)
    ends = np.vstack([np.zeros(d), np.sqrt(d) * root.T])
    return Comparisons(ends, [[0, k + 1] for k in range(d)])


HALF = "and every direction sure"


@pytest.mark.parametrize(
    ("items", "alpha", "n_groups", "rule", "params", "why"),
    [
        (light(), 1e4, None, "v_optimal", {"eligible": 1.0}, HALF),
        (heavy(), 1e4, None, "v_optimal", {"eligible": 1.0}, "so none is left"),
        (very_heavy(), 1e4, None, "v_optimal", {}, "and are left out"),
        (heavy(), 300.0, 30, "v_optimal", {"bound": 1.0}, HALF),
        (light(), 1e4, 29, "random", {}, "groups are few"),
        (light(), 80.0, 29, "tournament_d_optimal", {}, "groups are few"),
        (light(), 0.1, None, "greedy_d_optimal", {"eligible": 1.0}, "so none is left"),
        (light(), 0.1, 29, "greedy_d_optimal", {}, "and are left out"),
        (heavy(), 0.1, None, "greedy_d_optimal", {}, "and are left out"),
    ],
)
def test_it_is_the_rule_that_it_names(items, alpha, n_groups, rule, params, why):
    pool, model = answered(items, 100, alpha)
    x = seen(pool).differences()
    if n_groups is not None:
        groups = np.arange(len(items)) % n_groups
        pool = Comparisons(pool.items, pool.pairs, groups=groups)
        inside = Comparisons.all_pairs(items, groups=groups, scope="within")
        x = inside.with_items(seen(pool).items).differences()
    auto = ActiveComparisonSampler("auto", random_state=0)
    if "random" not in rule and "tournament" not in rule:
        params = {"undecided": 0.5, **params}
    target = None
    if rule == "v_optimal":
        target = blended(pool, model, x.T @ x / len(x))
    np.testing.assert_array_equal(
        auto.query(pool, estimator=model, n_pairs=20),
        named(rule, pool, 20, params, model, target),
    )
    assert auto.explain_["why"].startswith(f"{rule}: ")
    assert why in auto.explain_["why"]


def test_a_target_is_aimed_at():
    """Of two halves of the features the target varies in one: V asks about that one."""
    pool, model = answered(light(), 100, 0.1)
    aim = light(1) * ([1.0] * 4 + [0.0] * 4)
    auto = ActiveComparisonSampler(random_state=0)
    params = {"eligible": 1.0, "undecided": 0.5}
    np.testing.assert_array_equal(
        auto.query(pool, estimator=model, n_pairs=20, target=aim),
        named("v_optimal", pool, 20, params, model, aim),
    )
    assert auto.explain_["why"].startswith("v_optimal: ")


def test_it_is_the_default():
    assert get_strategy("auto") is adaptive


@pytest.mark.parametrize(
    ("alpha", "n_groups", "why"),
    [
        (1e4, 29, "random"),
        (80.0, 29, "tournament"),
        (80.0, 30, "v_optimal"),
        (0.1, 30, "greedy_d_optimal"),
    ],
)
def test_it_chooses_among_every_pair_of_a_vast_pool(alpha, n_groups, why):
    items = np.vstack([light(seed) for seed in range(3)])
    groups = np.arange(len(items)) % n_groups
    pool = Comparisons.all_pairs(items, groups=groups)
    assert len(pool) > 200_000
    _, model = answered(items, 100, alpha)
    sampler = ActiveComparisonSampler(random_state=0)
    index = sampler.query(pool, estimator=model, n_pairs=10, exclude=pool[:100])
    assert len(np.unique(index)) == 10
    assert index.min() >= 100
    assert why in sampler.explain_["why"]


# --------------------------------------------------------------------- the first batch


def test_the_first_batch_aims_at_pairs_inside_a_group():
    items, groups = heavy(), np.arange(400) % 40
    items[:, 0] += 5 * groups  # what tells groups apart is of no use inside one
    pool = Comparisons.random_pairs(items, 3000, groups=groups, random_state=0)
    auto = ActiveComparisonSampler(random_state=0)
    within = Comparisons.all_pairs(items, groups=groups, scope="within")
    inside = within.with_items(seen(pool).items)
    found, bound = auto.query(pool, n_pairs=30), {"bound": 1.0}
    aimed = named("v_optimal", pool, 30, bound, target=inside)
    np.testing.assert_array_equal(found, aimed)
    assert set(found) != set(named("v_optimal", pool, 30, bound))
    assert auto.explain_["why"].startswith("v_optimal: no answers yet")
    # A target, and a pool without groups, are aimed at as they are.
    np.testing.assert_array_equal(
        auto.query(pool, n_pairs=30, target=pool),
        named("v_optimal", pool, 30, bound, target=pool),
    )
    # Where no pair crosses groups, no difference counts for less.
    np.testing.assert_array_equal(
        auto.query(within, n_pairs=30), named("v_optimal", within, 30, {})
    )
    bare = Comparisons(items, pool.pairs)
    np.testing.assert_array_equal(
        auto.query(bare, n_pairs=30), named("v_optimal", bare, 30, {})
    )


def test_where_most_is_asked_at_once_it_is_random():
    pool, model = answered(light(), 100, 1e4)
    pool, auto = pool[:160], ActiveComparisonSampler(random_state=0)
    chance = ActiveComparisonSampler("random", random_state=0)
    for known in (model, None):
        for n_pairs, is_random in ((20, True), (19, False)):
            found = auto.query(pool, estimator=known, n_pairs=n_pairs)
            assert auto.explain_["why"].startswith("random: 20 of 160") == is_random
            same = found == chance.query(pool, estimator=known, n_pairs=n_pairs)
            assert same.all() == is_random


@pytest.mark.parametrize(("n_groups", "rule"), [(29, "random"), (30, "v_optimal")])
def test_with_few_groups_the_first_batch_is_random(n_groups, rule):
    items = light()
    pool = Comparisons.random_pairs(
        items, 3000, groups=np.arange(400) % n_groups, random_state=0
    )
    auto = ActiveComparisonSampler(random_state=0)
    auto.query(pool, n_pairs=20)
    assert auto.explain_["why"].startswith(f"{rule}: ")


@pytest.mark.parametrize("is_lazy", [True, False])
def test_pairs_of_equal_items_do_not_fill_a_batch(is_lazy):
    items = np.zeros((240, 4))
    items[:40] = np.random.default_rng(0).standard_normal((40, 4))
    groups = np.arange(240) % 40  # two thirds of the pairs are between equal items
    pool = Comparisons.all_pairs(items, groups=groups, scope="within")
    asked = pool[np.arange(0, 600, 8)]
    first, second = items[asked.pairs, 0].T
    model = BradleyTerryRegressor().fit(asked, np.where(first > second, 1.0, 0.0))
    pool = pool if is_lazy else pool[:]
    sampler = ActiveComparisonSampler(random_state=0)
    picks = sampler.query(pool, estimator=model, n_pairs=20)
    first, second = items[pool[picks].pairs.T]
    assert (first != second).any(axis=1).all()
