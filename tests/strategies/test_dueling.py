"""Dueling rules by brute force, by Monte Carlo, and against BoTorch's formula."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal

from skarm.strategies import Design
from skarm.strategies.dueling import (
    delta_ucb,
    double_thompson,
    drts,
    eubo,
    information_max,
    max_min_lcb,
)

SEEDS = range(4)


def design_of(seed, n_items=8, d=3, n_groups=None, cold=False, n_heads=0, scale=0.6):
    """All pairs inside each group (or of all items), with a posterior."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, d))
    groups = None if n_groups is None else np.arange(n_items) % n_groups
    pairs = [
        pair
        for pair in combinations(range(n_items), 2)
        if groups is None or groups[pair[0]] == groups[pair[1]]
    ]
    w, past = scale * rng.standard_normal(d), rng.standard_normal((30, d))
    return Design(
        np.array(pairs),
        lambda: items,
        reward=None if cold else lambda: items @ w,
        coef=None if cold else w,
        alpha=0.5,
        heads=w + 0.5 * rng.standard_normal((n_heads, d)) if n_heads else None,
        past=None if cold else lambda: 0.2 * past.T @ past,
        groups=groups,
    )


def pick(strategy, design, n_pairs=1, seed=0, **params):
    return strategy(design, n_pairs, rng=np.random.RandomState(seed), **params)


def covariance(design):
    """Of the rewards of the items, (n_items, n_items)."""
    X = design.embedding
    if design.heads is not None:
        return np.cov(X @ design.heads.T, ddof=0)
    matrix = design.past_information + design.prior
    return X @ np.linalg.solve(matrix, X.T)


def draws(design, n=200_000, seed=0):
    """Rewards drawn from the posterior, (n, n_items)."""
    rng = np.random.default_rng(seed)
    cov = covariance(design) + 1e-12 * np.eye(len(design.embedding))
    return rng.multivariate_normal(design.rewards, cov, size=n, method="cholesky")


def pair_sd(design):
    K = covariance(design)
    i, j = design.pairs.T
    return np.sqrt(K[i, i] + K[j, j] - 2 * K[i, j])


every_seed = pytest.mark.parametrize("seed", SEEDS)
every_belief = pytest.mark.parametrize("n_heads", [0, 4])


# ----------------------------------------------------------------- rules with utilities


@every_seed
def test_information_max_is_the_variance_of_p_over_draws(seed):
    design = design_of(seed)
    r = draws(design)
    p = expit(r[:, design.pairs[:, 0]] - r[:, design.pairs[:, 1]])
    picks = pick(information_max, design, design.n_pairs)
    expected = p.var(axis=0)[picks.positions]
    np.testing.assert_allclose(picks.utilities, expected, atol=1.5e-3)
    assert (np.diff(picks.utilities) <= 0).all()


def test_information_max_of_an_ensemble_is_over_its_heads():
    design = design_of(0, n_heads=4)
    p = expit(design.heads @ design.differences.T)
    picks = pick(information_max, design, 28)
    np.testing.assert_allclose(picks.utilities, p.var(axis=0)[picks.positions])


@every_seed
def test_eubo_is_the_mean_of_the_better_reward_over_draws(seed):
    design = design_of(seed)
    r = draws(design)
    best = np.maximum(r[:, design.pairs[:, 0]], r[:, design.pairs[:, 1]]).mean(axis=0)
    picks = pick(eubo, design, design.n_pairs)
    expected = best[picks.positions] - design.rewards.min()
    np.testing.assert_allclose(picks.utilities, expected, atol=0.02)


@every_seed
def test_eubo_ranks_as_botorch(seed):
    torch = pytest.importorskip("torch")
    preference = pytest.importorskip("botorch.acquisition.preference")
    gpytorch = pytest.importorskip("gpytorch")
    model_module = pytest.importorskip("botorch.models.model")
    posteriors = pytest.importorskip("botorch.posteriors.gpytorch")
    design = design_of(seed)
    mean = torch.as_tensor(design.rewards)
    cov = torch.as_tensor(covariance(design))

    class Ours(model_module.Model):
        """The items, by number, with our posterior."""

        num_outputs = 1
        datapoints = torch.zeros(1, 1, dtype=torch.float64)

        def posterior(self, X, *args, **kwargs):
            i = X[..., 0].long()
            block = cov[i[..., :, None], i[..., None, :]]
            block = block + 1e-10 * torch.eye(2, dtype=torch.float64)
            normal = gpytorch.distributions.MultivariateNormal(mean[i], block)
            return posteriors.GPyTorchPosterior(normal)

    rule = preference.AnalyticExpectedUtilityOfBestOption(Ours())
    values = rule(torch.as_tensor(design.pairs, dtype=torch.float64)[:, :, None])
    picks = pick(eubo, design, design.n_pairs)
    expected = values.numpy()[picks.positions] - design.rewards.min()
    np.testing.assert_allclose(picks.utilities, expected, atol=1e-6)


@every_belief
@every_seed
def test_delta_ucb_is_the_widest_gap_of_bounds_of_centered_rewards(seed, n_heads):
    design = design_of(seed, n_heads=n_heads)
    centering = np.eye(8) - 1 / 8  # every item is in as many pairs
    sd = np.sqrt(np.diag(centering @ covariance(design) @ centering))
    mean = centering @ design.rewards
    upper, lower = mean + 1.5 * sd, mean - 1.5 * sd
    gap = upper[:, None] - lower
    np.fill_diagonal(gap, -np.inf)
    i, j = np.unravel_index(gap.argmax(), gap.shape)
    picks = pick(delta_ucb, design, beta=1.5)
    assert set(design.pairs[picks.positions[0]]) == {i, j}
    assert picks.utilities[0] == pytest.approx(gap.max())


def max_min_by_hand(design, pairs, beta):
    """MaxMinLCB over the given pairs, M from all of them; None if M leaves no pair."""
    K, r, n = covariance(design), design.rewards, len(design.embedding)
    known = {frozenset(pair) for pair in design.pairs.tolist()}
    left = {frozenset(pair) for pair in pairs.tolist()}

    def bound(i, j, side):
        return r[i] - r[j] + side * beta * np.sqrt(K[i, i] + K[j, j] - 2 * K[i, j])

    M = [
        i
        for i in range(n)
        if all(bound(i, j, 1) > 0 for j in range(n) if frozenset((i, j)) in known)
    ]
    value = {}
    for i in M:
        duels = [(bound(i, j, -1), j) for j in M if frozenset((i, j)) in left]
        if duels:
            value[i] = min(duels)
    if not value:
        return None
    leader = max(value, key=lambda i: value[i][0])
    return {leader, value[leader][1]}, value[leader][0]


@every_belief
@every_seed
def test_max_min_lcb_is_the_stackelberg_pair(seed, n_heads):
    design = design_of(seed, n_heads=n_heads, scale=0.2)
    picks = pick(max_min_lcb, design, 3, beta=2.0)
    left, n_checked = np.ones(design.n_pairs, dtype=bool), 0
    for position, utility in zip(*picks[:2], strict=True):
        expected = max_min_by_hand(design, design.pairs[left], 2.0)
        if expected is not None:
            assert set(design.pairs[position]) == expected[0]
            assert utility == pytest.approx(expected[1])
            n_checked += 1
        left[position] = False
    assert n_checked >= 1


def test_max_min_lcb_sends_any_opponent_against_a_clear_winner():
    items = np.array([[9.0], [1.0], [0.0], [-2.0]])
    pairs = np.array(list(combinations(range(4), 2)))
    design = Design(
        *(pairs, lambda: items), reward=lambda: items[:, 0], coef=[1.0], alpha=1e4
    )
    picks = pick(max_min_lcb, design, 6)
    # Its closest rival is where the worst bound lies; then the others, one by one.
    assert design.pairs[picks.positions[:3]].tolist() == [[0, 1], [0, 2], [0, 3]]
    assert sorted(picks.positions) == list(range(6))


# -------------------------------------------------------------------------- drawn duels


def duel_probabilities(design, reverse):
    """P(unordered pair): leader best; follower best (worst) of draws naming another."""
    r = draws(design)
    n = r.shape[1]
    lead = np.bincount(r.argmax(axis=1), minlength=n) / len(r)
    follow = np.bincount((-r if reverse else r).argmax(axis=1), minlength=n) / len(r)
    ordered = lead[:, None] * follow / (1 - follow[:, None])
    return np.array([ordered[i, j] + ordered[j, i] for i, j in design.pairs])


@pytest.mark.parametrize("strategy", [double_thompson, drts])
@pytest.mark.parametrize("cold", [False, True])
def test_pairs_are_drawn_with_the_probabilities_of_two_thompson_samples(strategy, cold):
    design = design_of(1, n_items=4, cold=cold)
    n_seeds = 3000
    found = np.zeros(6)
    for seed in range(n_seeds):
        found[pick(strategy, design, seed=seed, n_tries=200).positions] += 1
    expected = duel_probabilities(design, reverse=strategy is drts)
    assert expected.sum() == pytest.approx(1)
    error = np.sqrt(expected * (1 - expected) / n_seeds)
    assert (np.abs(found / n_seeds - expected) < 4 * error + 2e-3).all()


def test_heads_are_the_thompson_samples_of_an_ensemble():
    heads = np.array([[0.0, 3.0, 1.0, -9.0], [0.0, 1.0, 3.0, -8.0]])
    pairs = np.array(list(combinations(range(4), 2)))
    design = Design(pairs, lambda: np.eye(4), heads=heads)
    for seed in range(20):
        picks = pick(double_thompson, design, seed=seed)
        assert pairs[picks.positions[0]].tolist() == [1, 2]
        assert 3 in pairs[pick(drts, design, seed=seed).positions[0]]


def test_without_a_second_opinion_the_opponent_is_drawn_uniformly():
    design = design_of(0, n_items=5, n_heads=1)
    best = (design.embedding @ design.heads[0]).argmax()
    opponents = []
    for seed in range(1000):
        picks = pick(double_thompson, design, seed=seed)
        pair = set(design.pairs[picks.positions[0]])
        assert best in pair
        opponents += list(pair - {best})
    share = np.bincount(opponents, minlength=5) / 1000
    np.testing.assert_allclose(np.delete(share, best), 0.25, atol=0.055)  # 4 s.e.


@pytest.mark.parametrize("strategy", [double_thompson, drts])
def test_an_item_meets_its_equal_only_when_no_other_duel_is_left(strategy):
    items = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    design = Design(np.array([[0, 1], [0, 2], [1, 2]]), lambda: items)
    for seed in range(10):
        assert pick(strategy, design, 3, seed=seed).positions[2] == 0


# -------------------------------------------------------------------------- all of them

RULES = [double_thompson, drts, information_max, eubo, delta_ucb, max_min_lcb]


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("strategy", RULES)
def test_every_prompt_is_asked_once_before_any_is_asked_twice(strategy, cold):
    design = design_of(0, n_items=24, n_groups=6, cold=cold)
    picks = pick(strategy, design, 18)
    groups = design.groups[design.pairs[picks.positions, 0]]
    for start in (0, 6, 12):
        assert sorted(groups[start : start + 6]) == list(range(6))


@pytest.mark.parametrize("strategy", RULES)
def test_prompts_do_not_disturb_each_other(strategy):
    """Lifting every reward of one prompt changes no duel inside any."""
    design = design_of(0, n_items=24, n_groups=6)
    lift = 5.0 * (design.groups == 2)
    lifted = Design(
        design.pairs,
        lambda: design.embedding,
        reward=lambda: design.rewards + lift,
        coef=design.posterior.coef,
        alpha=design.prior,
        past=lambda: design.past_information,
        groups=design.groups,
    )
    one, other = (sorted(pick(strategy, d, 6).positions) for d in (design, lifted))
    assert one == other


def test_the_brute_force_covariance_is_a_covariance():
    design = design_of(0, n_heads=4)
    frozen = multivariate_normal(cov=covariance(design), allow_singular=True)
    assert frozen.dim == 8
    np.testing.assert_allclose(pair_sd(design) ** 2, design.reward_difference_variances)
    design = design_of(0)
    np.testing.assert_allclose(pair_sd(design) ** 2, design.reward_difference_variances)
