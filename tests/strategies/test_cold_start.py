"""Designs before the first answer: the published rule, and the family's own round 0."""

import inspect

import numpy as np
import pytest
from problems import fitted, query

from skarm import Comparisons
from skarm.strategies import get_strategy, get_strategy_names
from skarm.strategies._design import COLD_START_SD

SEEDS = range(4)


def published(x, ridge, n_pairs, past=()):
    """Algorithm 1: the pair with the largest ‖x‖ in Σ⁻¹; Σ += x xᵀ."""
    sigma = ridge * np.eye(x.shape[1])
    for difference in past:
        sigma += np.outer(difference, difference)
    picks, norms = [], []
    for _ in range(n_pairs):
        norm = np.sqrt(np.einsum("ij,ij->i", x @ np.linalg.inv(sigma), x))
        norm[picks] = -1
        picks.append(int(norm.argmax()))
        norms.append(norm[picks[-1]])
        sigma += np.outer(x[picks[-1]], x[picks[-1]])
    return picks, norms


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ridge", [0.01, 1.0, 30.0])
def test_reward_agnostic_is_the_published_rule(ridge, seed):
    pool, asked, _ = fitted(seed)
    for past in (None, asked):
        found = query("reward_agnostic", pool, 25, {"ridge": ridge}, past=past)
        differences = () if past is None else past.differences()
        picks, norms = published(pool.differences(), ridge, 25, differences)
        assert found[0].tolist() == picks
        np.testing.assert_allclose(found[1], norms, rtol=1e-6)
        assert (np.diff(found[1]) <= 1e-9).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_default_ridge_is_four_times_the_cold_starts_prior(seed):
    pool, *_ = fitted(seed)
    x = pool.differences()
    alpha = np.mean((x**2).sum(axis=1)) / COLD_START_SD**2
    picks, _ = query("reward_agnostic", pool, 25)
    assert picks.tolist() == published(x, 4 * alpha, 25)[0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("with_past", [False, True])
def test_greedy_d_is_reward_agnostic_in_round_0(seed, with_past):
    """v = 1/4 for all, and 4 (alpha I + Σ x xᵀ / 4) = λ I + Σ x xᵀ with λ = 4 alpha."""
    pool, asked, _ = fitted(seed)
    past = asked if with_past else None
    params = {"eligible": 1.0, "variance": "plug_in"}
    picks, gains = query("greedy_d_optimal", pool, 40, params, past=past)
    found, norms = query("reward_agnostic", pool, 40, past=past)
    np.testing.assert_array_equal(found, picks)
    np.testing.assert_allclose(np.log1p(norms**2), gains, rtol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_answer_is_read(seed):
    """Models of opposite answers make the same picks."""
    pool, asked, model = fitted(seed)
    opposite = fitted(seed)[2]
    y = (asked.differences() @ model.coef_ < 0).astype(float)
    opposite.fit(asked, y)
    one, other = (
        query("reward_agnostic", pool, 25, estimator=m, past=asked)
        for m in (model, opposite)
    )
    np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize("strategy", get_strategy_names("optimal_design"))
def test_the_design_family_asks_by_design_before_the_first_answer(strategy):
    """Round 0 already beats chance: more log det than any of 200 random batches."""
    items = np.random.default_rng(0).standard_normal((60, 6))
    pool = Comparisons.random_pairs(items, 400, random_state=0)
    x = pool.differences()

    def log_det(picks):
        return np.linalg.slogdet(np.eye(6) + x[picks].T @ x[picks])[1]

    names = inspect.signature(get_strategy(strategy)).parameters
    params = {"eligible": 1.0} if "eligible" in names else {}
    picks, _ = query(strategy, pool, 20, params)
    rng = np.random.default_rng(0)
    chance = [log_det(rng.permutation(400)[:20]) for _ in range(200)]
    assert log_det(picks) > max(chance)
