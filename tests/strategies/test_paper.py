"""The paper's rules literally, by autograd."""

import numpy as np
import pytest
import torch
from problems import fitted, last_layer, query

from skarm import Comparisons
from skarm.strategies import Design
from skarm.strategies.paper import PAPER_RIDGE, d_optimal, xtx

SEEDS = range(5)
PAPER_RULES = ["d_optimal", "past_aware_d_optimal", "xtx"]


def authors_gradient(X, v, past=None):
    """d/dw log det(Σ_j w_j v_j x_j x_jᵀ [+ past] + 1e-6 I) at w = 1, by autograd.

    As the authors do it, through the tensor of all outer products, (n, d, d).
    """
    X, v = torch.as_tensor(X), torch.as_tensor(v)
    w = torch.ones(len(X), dtype=torch.float64, requires_grad=True)
    outer = v[:, None, None] * X[:, :, None] * X[:, None, :]
    information = (w[:, None, None] * outer).sum(dim=0)
    if past is not None:
        X_past, v_past = (torch.as_tensor(a) for a in past)
        information = information + X_past.T @ (v_past[:, None] * X_past)
    ridge = 1e-6 * torch.eye(X.shape[1], dtype=torch.float64)
    torch.logdet(information + ridge).backward()
    return w.grad.numpy()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("hidden_layer_sizes", [(), (8,), (8, 6)])
@pytest.mark.parametrize("rule", PAPER_RULES)
def test_the_papers_rules_pick_what_the_authors_autograd_picks(
    rule, hidden_layer_sizes, seed
):
    pool, asked, model = fitted(seed, hidden_layer_sizes)
    X, v = last_layer(model, pool)
    if rule == "xtx":
        v = np.ones(len(v))
    past = last_layer(model, asked) if rule == "past_aware_d_optimal" else None
    gradient = authors_gradient(X, v, past)
    for known in (asked, None):  # None: the information the model itself kept
        picks, utilities = query(rule, pool, 30, estimator=model, past=known)
        assert set(picks) == set(np.argsort(-gradient)[:30])
        np.testing.assert_allclose(utilities, gradient[picks], rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_past_changes_the_past_aware_rule_and_only_that(seed):
    pool, asked, model = fitted(seed, n_past=400)
    for rule, changes in [
        ("xtx", False),
        ("d_optimal", False),
        ("past_aware_d_optimal", True),
    ]:
        with_past = query(rule, pool, 120, estimator=model, past=asked)[1]
        with_less = query(rule, pool, 120, estimator=model, past=asked[:10])[1]
        assert changes == (not np.allclose(with_past, with_less))
        if changes:  # more information, less leverage
            assert with_past.sum() < with_less.sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_past_aware_equals_d_optimal_without_past(seed):
    pool, *_ = fitted(seed)
    for one, other in zip(
        query("past_aware_d_optimal", pool, 30),
        query("d_optimal", pool, 30),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_xtx_knows_the_features_only(seed):
    pool, _, model = fitted(seed)
    cold, warm = query("xtx", pool, 30), query("xtx", pool, 30, estimator=model)
    np.testing.assert_array_equal(cold[0], warm[0])
    np.testing.assert_allclose(cold[1], warm[1])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rule", ["xtx", "d_optimal"])
def test_leverages_of_the_whole_pool_sum_to_the_dimension(rule, seed):
    pool, _, model = fitted(seed)
    _, utilities = query(rule, pool, len(pool), estimator=model)
    assert utilities.sum() == pytest.approx(4, rel=1e-5)
    assert 0 <= utilities.min() <= utilities.max() <= 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rule", ["xtx", "d_optimal"])
def test_d_utilities_are_unchanged_by_an_invertible_map_of_the_embedding(rule, seed):
    pool, _, model = fitted(seed)
    rng = np.random.default_rng(seed)
    map_ = rng.standard_normal((4, 4)) + 2 * np.eye(4)
    utilities = []
    for embedding in (pool.items, pool.items @ map_):
        design = Design(
            pool.pairs,
            lambda phi=embedding: phi,
            reward=lambda: model.predict(pool.items),
        )
        strategy = {"xtx": xtx, "d_optimal": d_optimal}[rule]
        picks = strategy(design, len(pool), rng=np.random.RandomState(0))
        utilities.append(picks.utilities[np.argsort(picks.positions)])
    np.testing.assert_allclose(*utilities, rtol=1e-4)  # the 1e-6 I is not invariant


def test_fewer_pairs_than_features_are_all_of_leverage_one():
    rng = np.random.default_rng(0)
    pool = Comparisons.from_array(1e3 * rng.standard_normal((5, 2, 20)))
    _, utilities = query("xtx", pool, 5)
    np.testing.assert_allclose(utilities, 1, atol=1e-6)


@pytest.mark.parametrize("rule", PAPER_RULES)
def test_the_papers_rules_take_outlying_pairs(rule):
    rng = np.random.default_rng(0)
    items = np.vstack([rng.standard_normal((40, 4)), 50 * rng.standard_normal((3, 4))])
    pool = Comparisons.all_pairs(items)
    picks, _ = query(rule, pool, 4)
    assert (pool.pairs[picks] >= 40).any(axis=1).all()


def test_the_papers_ridge_is_the_papers():
    assert PAPER_RIDGE == 1e-6
