"""Ensembles of last layers: exact fits, the right spread, and no memory of order."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm._model.heads import fit_heads
from skarm._model.likelihood import BradleyTerryLoss


def problem(seed=0, n_items=60, d=3, n_pairs=300):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, d))
    pool = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    truth = rng.standard_normal(d)
    y = (rng.random(n_pairs) < expit(pool.differences() @ truth)).astype(float)
    return pool, y


def heads_of(pool, y, alpha=2.0, n_heads=5, seed=0, condition=True, weights=None):
    model = BradleyTerryRegressor(alpha=alpha).fit(pool, y)
    fit = SimpleNamespace(coef=model.coef_, alpha=alpha)
    weights = np.ones(len(y)) if weights is None else weights
    information = model.information_ if condition else None
    return fit_heads(
        *(pool.items, pool.pairs, y, weights, fit, information),
        n_heads=n_heads,
        rng=np.random.RandomState(seed),
    )


@pytest.mark.parametrize("condition", [True, False])
def test_each_head_is_the_exact_fit_to_its_perturbed_problem(condition):
    pool, y = problem()
    weights = np.random.default_rng(1).uniform(0.5, 2, len(y))
    heads = heads_of(pool, y, condition=condition, weights=weights)
    rng = np.random.RandomState(0)
    for head in heads:
        anchor = rng.standard_normal(3) / np.sqrt(2.0)
        shares = rng.standard_exponential(len(y)) * weights
        loss = BradleyTerryLoss(pool.items, pool.pairs, y, shares)
        gradient = loss.gradient(head, 0.0) + 2.0 * (head - anchor)
        assert np.abs(gradient).max() < 1e-5
        at_zero = loss.gradient(np.zeros(3), 0.0) - 2.0 * anchor
        assert np.abs(at_zero).max() > 1


def test_heads_spread_like_the_laplace_posterior_where_answers_are_many():
    pool, y = problem(n_items=500, n_pairs=3000)
    model = BradleyTerryRegressor(alpha=2.0).fit(pool, y)
    heads = heads_of(pool, y, n_heads=400)
    lower = np.linalg.cholesky(model.information_ + 2.0 * np.eye(3))
    white = (heads - model.coef_) @ lower
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=0.25)
    # 400 heads: standard errors of 0.07 and 0.05.
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=0.3)


def test_heads_spread_like_the_prior_where_there_are_no_answers():
    pool, y = problem()
    wide = np.hstack([pool.items, np.zeros((pool.n_items, 200))])
    heads = heads_of(pool.with_items(wide), y, alpha=4.0)
    silent = heads[:, 3:]
    assert silent.std() == pytest.approx(0.5, abs=0.04)  # 1000 draws: 3.6 s.e.
    assert silent.mean() == pytest.approx(0, abs=0.06)


def test_the_estimator_keeps_its_heads_and_the_seed_decides_them():
    pool, y = problem()
    one, again, other = (
        BradleyTerryRegressor(alpha=1.0, n_heads=4, random_state=seed).fit(pool, y)
        for seed in (0, 0, 1)
    )
    assert one.head_coefs_.shape == (4, 3)
    np.testing.assert_array_equal(one.head_coefs_, again.head_coefs_)
    assert np.abs(one.head_coefs_ - other.head_coefs_).min() > 1e-6
    plain = BradleyTerryRegressor(alpha=1.0).fit(pool, y)
    np.testing.assert_array_equal(plain.coef_, one.coef_)
    assert plain.head_coefs_ is None
    assert one.set_params(n_heads=0).fit(pool, y).head_coefs_ is None


def test_swapped_pairs_give_the_same_heads():
    pool, y = problem()
    model = BradleyTerryRegressor(alpha=1.0, n_heads=4, random_state=0)
    expected = model.fit(pool, y).head_coefs_
    found = model.fit(pool.swap(), 1 - y).head_coefs_
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_network_has_heads_on_its_embedding():
    pool, y = problem()
    model = BradleyTerryRegressor(
        hidden_layer_sizes=(5,),
        n_heads=3,
        max_iter=5,
        validation_fraction=0,
        random_state=0,
    ).fit(pool, y)
    assert model.head_coefs_.shape == (3, 5)


def test_the_number_of_heads_is_checked():
    pool, y = problem()
    with pytest.raises(ValueError, match="The 'n_heads' parameter"):
        BradleyTerryRegressor(n_heads=-1).fit(pool, y)


@pytest.mark.parametrize("strategy", ["variance", "bald", "batch_bald", "delta_ucb"])
def test_query_strategies_read_the_heads(strategy):
    pool, y = problem()
    sampler = ActiveComparisonSampler(strategy, random_state=0)
    model = BradleyTerryRegressor(alpha=1.0, n_heads=3, random_state=0).fit(pool, y)
    expected = sampler.query(pool, estimator=model, n_pairs=20, return_utilities=True)
    model.information_ = 2 * model.information_  # the posterior is not read
    found = sampler.query(pool, estimator=model, n_pairs=20, return_utilities=True)
    np.testing.assert_allclose(found, expected)
    model.head_coefs_ = None
    plain = sampler.query(pool, estimator=model, n_pairs=20, return_utilities=True)
    assert np.abs(plain[1] - expected[1]).max() > 1e-3
