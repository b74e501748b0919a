"""Bayesian rules against enumeration, Monte Carlo, definitions and scikit-activeml."""

import numpy as np
import pytest
from scipy.special import digamma, expit
from scipy.stats import entropy

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm.strategies import Design, bayesian, get_strategy
from skarm.strategies.bayesian import bal_pm, bald, batch_bald, variance

SEEDS = range(3)


def design_of(seed, *, n_items=25, d=3, n_pairs=40, n_heads=0, coef=True, **plan):
    """A posterior about `coef`, and an ensemble that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, d))
    pool = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    past = rng.standard_normal((20, d))
    w = rng.standard_normal(d) if coef else np.zeros(d)
    heads = 2 * rng.standard_normal((n_heads, d)) if n_heads else None
    return Design(
        pool.pairs,
        lambda: items,
        reward=lambda: items @ w,
        coef=w,
        alpha=0.5,
        heads=heads,
        past=lambda: 0.2 * past.T @ past,
        **plan,
    )


def pick(strategy, design, n_pairs, seed=0, **params):
    return strategy(design, n_pairs, rng=np.random.RandomState(seed), **params)


def covariance(design):
    return np.linalg.inv(design.past_information + design.prior)


def member_probabilities(design):
    """P(first preferred) under each head, (n_heads, n_pairs)."""
    return expit(design.heads @ design.differences.T)


def joint_information(p):
    """I(answers; member) of rows of members' probabilities, by enumeration."""
    joint = np.ones((1, p.shape[1]))
    for row in p:
        joint = np.vstack([joint * row, joint * (1 - row)])
    return entropy(joint.mean(axis=1)) - entropy([p, 1 - p]).mean(axis=1).sum()


# ---------------------------------------------------------------------- variance, bald


@pytest.mark.parametrize("seed", SEEDS)
def test_variance_is_that_of_the_reward_difference_under_the_posterior(seed):
    design = design_of(seed)
    X = design.differences
    expected = np.einsum("ki,ij,kj->k", X, covariance(design), X)
    picks = pick(variance, design, 15)
    np.testing.assert_array_equal(picks.positions, np.argsort(-expected)[:15])
    np.testing.assert_allclose(picks.utilities, expected[picks.positions])


@pytest.mark.parametrize("seed", SEEDS)
def test_variance_of_an_ensemble_is_that_over_its_heads(seed):
    design = design_of(seed, n_heads=4)
    expected = (design.heads @ design.differences.T).var(axis=0)
    picks = pick(variance, design, 15)
    np.testing.assert_array_equal(picks.positions, np.argsort(-expected)[:15])
    np.testing.assert_allclose(picks.utilities, expected[picks.positions])


def test_apo_is_the_longest_difference_in_the_inverse_information():
    design = design_of(0)
    lengths = [
        np.sqrt(x @ covariance(design) @ x) for x in design.differences
    ]  # Das et al. 2025
    assert pick(get_strategy("apo"), design, 1).positions == [np.argmax(lengths)]


@pytest.mark.parametrize("seed", SEEDS)
def test_bald_agrees_with_monte_carlo_over_the_posterior(seed):
    design = design_of(seed)
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(covariance(design))
    w = design.posterior.coef + rng.standard_normal((100_000, 3)) @ root.T
    p = expit(w @ design.differences.T)
    mean = p.mean(axis=0)
    expected = entropy([mean, 1 - mean]) - entropy([p, 1 - p]).mean(axis=0)
    picks = pick(bald, design, 40)
    np.testing.assert_allclose(picks.utilities, expected[picks.positions], atol=4e-3)
    assert (np.diff(picks.utilities) <= 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_bald_of_an_ensemble_is_by_definition(seed):
    design = design_of(seed, n_heads=4)
    p = member_probabilities(design)
    mean = p.mean(axis=0)
    expected = entropy([mean, 1 - mean]) - entropy([p, 1 - p]).mean(axis=0)
    picks = pick(bald, design, 10)
    np.testing.assert_array_equal(picks.positions, np.argsort(-expected)[:10])
    np.testing.assert_allclose(picks.utilities, expected[picks.positions])


# -------------------------------------------------------------------------- batch_bald


@pytest.mark.parametrize("block", [1, 7, 256])
@pytest.mark.parametrize("seed", SEEDS)
def test_batch_bald_is_greedy_in_the_enumerated_joint_information(
    seed, block, monkeypatch
):
    monkeypatch.setattr(bayesian, "BLOCK", block)
    design = design_of(seed, n_heads=9)
    p = member_probabilities(design).T
    picks = pick(batch_bald, design, 7)
    batch = []
    for position, utility in zip(*picks[:2], strict=True):
        information = np.array([joint_information(p[[*batch, i]]) for i in range(40)])
        information[batch] = -np.inf
        assert position == information.argmax()
        gain = information[position] - (joint_information(p[batch]) if batch else 0)
        assert utility == pytest.approx(gain, abs=1e-10)
        batch.append(position)


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_bald_agrees_with_scikit_activeml(seed):
    pool = pytest.importorskip("skactiveml.pool")
    design = design_of(seed, n_heads=9)
    p = member_probabilities(design)
    theirs = pool.batch_bald(np.stack([1 - p, p], axis=2), 5, n_MC_samples=64)
    picks = pick(batch_bald, design, 5)
    np.testing.assert_array_equal(picks.positions, np.nanargmax(theirs, axis=1))
    total = np.cumsum(picks.utilities)  # theirs is the information of the whole batch
    np.testing.assert_allclose(total, np.nanmax(theirs, axis=1), atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_sampled_configurations_lose_little_joint_information(seed):
    design = design_of(seed, n_heads=30)
    p = member_probabilities(design).T
    exact, sampled = (
        joint_information(p[pick(batch_bald, design, 10, n_configurations=n).positions])
        for n in (1024, 32)
    )
    assert 0.97 * exact < sampled < exact + 1e-9


@pytest.mark.parametrize("seed", SEEDS)
def test_one_pair_of_batch_bald_over_many_draws_is_bald(seed):
    design = design_of(seed)
    one = pick(batch_bald, design, 1, n_draws=40_000)
    best = pick(bald, design, 1)
    assert one.positions == best.positions
    assert one.utilities == pytest.approx(best.utilities, rel=0.03)


def test_batch_bald_takes_one_of_many_copies_where_bald_takes_them_all():
    items = np.array([[0.0, 0.0]] + [[3.0, 0.0]] * 5 + [[0.0, 2.5]])
    pairs = np.array([[0, i] for i in range(1, 7)])
    design = Design(pairs, lambda: items)
    assert 5 not in pick(bald, design, 5).positions
    assert 5 in pick(batch_bald, design, 2).positions


def test_a_batch_gains_at_most_the_logarithm_of_the_draws():
    design = design_of(0, n_heads=3)
    picks = pick(batch_bald, design, 40)
    assert picks.utilities.sum() < 1.1 * np.log(3)
    assert (picks.utilities >= -1e-12).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_drawing_anew_keeps_a_batch_informative_beyond_what_the_draws_can_tell(
    seed, monkeypatch
):
    items = 1.5 * np.random.default_rng(seed).standard_normal((200, 6))
    pool = Comparisons.random_pairs(items, 1000, random_state=seed)
    design = Design(pool.pairs, lambda: items, alpha=1.0)

    def log_det(positions):
        x, v = design.differences[positions], design.posterior_variances[positions]
        return np.linalg.slogdet(np.eye(6) + (x.T * v) @ x)[1]

    anew = pick(batch_bald, design, 20, n_draws=50)
    assert anew.utilities.sum() > np.log(50)
    monkeypatch.setattr(bayesian, "RENEWAL", np.inf)
    saturated = pick(batch_bald, design, 20, n_draws=50)
    assert log_det(anew.positions) > log_det(saturated.positions)
    assert log_det(anew.positions) > log_det(pick(bald, design, 20).positions)


def test_costs_divide_the_gains_of_batch_bald_and_caps_hold():
    free = design_of(0, n_heads=9)
    costs = np.ones(40)
    costs[pick(batch_bald, free, 1).positions] = 1e3
    dear = design_of(0, n_heads=9, costs=costs, max_pairs_per_item=1)
    picks = pick(batch_bald, dear, 8)
    assert not set(pick(batch_bald, free, 1).positions) & set(picks.positions)
    assert np.bincount(dear.pairs[picks.positions].ravel()).max() == 1
    p = member_probabilities(free).T
    gains = [joint_information(p[[i]]) for i in range(40)]
    assert picks.positions[0] == np.argmax(gains / costs)


# ------------------------------------------------------------------------------ bal_pm


def with_groups(seed, n_groups=8, **plan):
    groups = np.random.default_rng(seed).permutation(np.arange(24) % n_groups)
    return design_of(seed, n_items=24, groups=groups, **plan)


def defined_scores(design, features, counts, beta, k):
    """U + beta [log D - ψ(n + 1) / d] of each pair, straight from the definition."""
    information = np.empty(design.n_pairs)
    picks = pick(bald, design, design.n_pairs)
    information[picks.positions] = picks.utilities
    gaps = np.linalg.norm(features[:, None] - features[None], axis=2)
    radius = np.sort(gaps, axis=1)[:, k]  # column 0 is the prompt itself
    n = np.array([counts[gaps[g] <= radius[g]].sum() for g in range(len(features))])
    bonus = np.log(2 * radius) - digamma(n + 1) / features.shape[1]
    return information + beta * bonus[design.groups[design.pairs]].mean(axis=1)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_bal_pm_is_greedy_in_its_definition(seed, k):
    past = np.random.default_rng(seed).integers(0, 3, 8)
    design = with_groups(seed, past_counts=lambda: past)
    features = np.array(
        [design.embedding[design.groups == g].mean(axis=0) for g in range(8)]
    )
    picks = pick(bal_pm, design, 12, beta=0.5, n_neighbors=k)
    counts, taken = past.astype(float), []
    for position, utility in zip(*picks[:2], strict=True):
        scores = defined_scores(design, features, counts, 0.5, k)
        assert utility == pytest.approx(scores[position])
        scores[taken] = -np.inf
        assert position == scores.argmax()
        taken.append(position)
        counts[np.unique(design.groups[design.pairs[position]])] += 1


def test_bal_pm_takes_prompt_features_of_its_own():
    design = with_groups(0)
    features = np.random.default_rng(5).standard_normal((8, 2))
    picks = pick(bal_pm, design, 1, beta=2.0, n_neighbors=2, prompt_features=features)
    scores = defined_scores(design, features, np.zeros(8), 2.0, 2)
    assert picks.positions == [scores.argmax()]
    message = (
        "prompt_features must have a row per prompt among the candidates, 8. Got 7"
    )
    with pytest.raises(ValueError, match=message):
        pick(bal_pm, design, 1, prompt_features=features[1:])


def test_bal_pm_of_one_prompt_is_bald():
    design = design_of(0)
    expected = pick(bald, design, 20).positions
    np.testing.assert_array_equal(pick(bal_pm, design, 20).positions, expected)
    design = with_groups(0)
    expected = pick(bald, design, 20).positions
    found = pick(bal_pm, design, 20, beta=0.0).positions
    np.testing.assert_array_equal(found, expected)


def test_a_heavy_entropy_shares_the_batch_among_far_clusters_of_prompts():
    items = np.random.default_rng(0).standard_normal((24, 3))
    groups = np.arange(24) % 8
    pool = Comparisons.all_pairs(items, groups=groups, scope="within")
    design = Design(pool.pairs, lambda: items, groups=groups)
    inner = np.random.default_rng(1).standard_normal((4, 2))
    far = np.vstack([inner, inner + 100.0])
    picks = pick(bal_pm, design, 8, beta=100.0, n_neighbors=3, prompt_features=far)
    cluster = design.groups[design.pairs[picks.positions, 0]] // 4
    assert (cluster[::2] != cluster[1::2]).all()


def test_prompts_that_coincide_are_no_problem():
    design = with_groups(0)
    features = np.repeat(np.random.default_rng(0).standard_normal((4, 2)), 2, axis=0)
    for same in (features, np.ones((8, 2))):
        picks = pick(bal_pm, design, 40, n_neighbors=1, prompt_features=same)
        assert sorted(picks.positions) == list(range(40))
        assert np.isfinite(picks.utilities).all()


def test_asked_prompts_are_counted_by_their_labels():
    rng = np.random.default_rng(0)
    items = rng.standard_normal((12, 2))
    labels = np.repeat(["b", "a", "d", "c"], 3)
    pool = Comparisons.all_pairs(items, groups=labels, scope="within")
    past = Comparisons(items, [[0, 1], [1, 2], [0, 3]], groups=labels)
    model = BradleyTerryRegressor(alpha=1.0).fit(past, [1, 0, 1])
    seen = {}

    def look(design, n_pairs, *, rng):
        seen["counts"] = design.past_counts
        return np.arange(n_pairs)

    sampler = ActiveComparisonSampler(look)
    sampler.query(pool, estimator=model, past=past, n_pairs=1)
    assert seen["counts"].tolist() == [1, 3, 0, 0]  # a, b, c, d; "b" thrice, "a" once
    left = pool[pool.pair_groups() != "b"]
    sampler.query(left, estimator=model, past=past, n_pairs=1)
    assert seen["counts"].tolist() == [1, 0, 0]  # "b" has no candidate left
    sampler.query(pool, estimator=model, n_pairs=1)
    assert seen["counts"].tolist() == [0, 0, 0, 0]
