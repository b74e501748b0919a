"""Best of a few random pairs: against brute force, and how far it leans."""

import numpy as np
import pytest
from strategies.problems import fitted, known

from skarm import ActiveComparisonSampler, Comparisons
from skarm.sampler import make_design
from skarm.strategies import tournament_d_optimal

SEEDS = range(3)


def design_of(seed, model=True, **arguments):
    pool, _, estimator = fitted(seed)
    design = make_design(
        pool, np.arange(len(pool)), estimator if model else None, **arguments
    )
    return pool, estimator if model else None, design


def whole(X):
    """ℓ of each row, by a plain inverse."""
    A = X.T @ X / len(X)
    return np.einsum("ki,ij,kj->k", X, np.linalg.inv(A), X)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("model", [True, False])
@pytest.mark.parametrize("variance", ["posterior", "plug_in"])
def test_with_every_candidate_a_contestant_it_is_greedy_d_on_equal_lengths(
    seed, model, variance
):
    pool, estimator, design = design_of(seed, model)
    rng = np.random.RandomState(0)
    # So many draws that none is left out but by chance below 1e-9.
    picks = tournament_d_optimal(
        design, 12, rng=rng, contestants=50 * len(pool), variance=variance
    )
    X, v, matrix = known(pool, estimator, variance)
    lengths = whole(X)
    v = v * np.minimum(np.median(lengths) / lengths, 10)
    taken = []
    for position, utility in zip(*picks[:2], strict=True):
        gains = v * np.einsum("ki,ij,kj->k", X, np.linalg.inv(matrix), X)
        gains[taken] = -1
        assert utility == pytest.approx(gains[position], rel=1e-6)
        assert gains[position] == pytest.approx(gains.max(), rel=1e-6)
        taken.append(position)
        matrix = matrix + v[position] * np.outer(X[position], X[position])


def test_one_contestant_is_random():
    """Every pair is as likely, however far out: chi-square over equal chances."""
    _, _, design = design_of(0)
    rng = np.random.RandomState(0)
    counts = np.zeros(design.n_pairs)
    for _ in range(600):
        picks = tournament_d_optimal(design, 6, rng=rng, contestants=1)
        counts[picks.positions] += 1
    expected = counts.mean()
    statistic = ((counts - expected) ** 2 / expected).sum()
    # Mean n - 1, variance 2 (n - 1), a little less for draws without replacement.
    n = design.n_pairs
    assert abs(statistic - (n - 1)) < 4 * np.sqrt(2 * (n - 1))


@pytest.mark.parametrize("contestants", [2, 3])
def test_no_pair_is_likelier_than_contestants_times_its_chance(contestants):
    _, _, design = design_of(1)
    rng = np.random.RandomState(0)
    counts = np.zeros(design.n_pairs)
    n_draws = 4000
    for _ in range(n_draws):
        picks = tournament_d_optimal(design, 1, rng=rng, contestants=contestants)
        counts[picks.positions] += 1
    limit = contestants * n_draws / design.n_pairs
    assert counts.max() <= limit + 4.5 * np.sqrt(limit)
    assert counts.max() > 1.2 * n_draws / design.n_pairs  # and it does lean


def test_an_outlier_has_no_advantage():
    """Among Gaussian pairs one is a hundred times as long: greedy D would take it."""
    rng = np.random.default_rng(0)
    items = rng.standard_normal((60, 3))
    items[0] *= 100
    pool = Comparisons.random_pairs(items, 200, random_state=0)
    design = make_design(pool, np.arange(200), None)
    far = (pool.pairs == 0).any(axis=1)
    taken = sum(
        far[
            tournament_d_optimal(design, 20, rng=np.random.RandomState(s)).positions
        ].sum()
        for s in range(50)
    )
    assert taken / (50 * 20) <= 2 * far.mean() + 0.02


def test_costs_divide_the_gains():
    cost = np.ones(120)
    cost[::2] = 1e6
    _, _, design = design_of(0, costs=cost)
    picks = tournament_d_optimal(
        design, 20, rng=np.random.RandomState(0), contestants=100
    )
    assert (picks.positions % 2 == 1).all()


def test_caps_are_kept():
    pool, _, model = fitted(0)
    sampler = ActiveComparisonSampler(
        "tournament_d_optimal", max_pairs_per_item=1, random_state=0
    )
    index = sampler.query(pool, estimator=model, n_pairs=15)
    assert len(np.unique(pool.pairs[index])) == 30


@pytest.mark.parametrize("contestants", [0, 1.5])
def test_contestants_must_be_a_positive_integer(contestants):
    _, _, design = design_of(0)
    with pytest.raises(ValueError, match="contestants must be a positive integer"):
        tournament_d_optimal(
            design, 1, rng=np.random.RandomState(0), contestants=contestants
        )
