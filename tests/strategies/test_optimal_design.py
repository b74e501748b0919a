"""The paper's rules literally, by autograd; the greedy rules by brute force."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import expit

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm._posterior import mean_bernoulli_variance
from skarm.strategies import Design
from skarm.strategies._design import COLD_START_SD
from skarm.strategies.optimal_design import (
    PAPER_RIDGE,
    d_optimal,
    greedy_d_optimal,
    past_aware_d_optimal,
    v_optimal,
    xtx,
)

SEEDS = range(5)
PAPER_RULES = ["d_optimal", "past_aware_d_optimal", "xtx"]
GREEDY_RULES = ["greedy_d_optimal", "v_optimal"]


def fitted(seed, hidden_layer_sizes=(), n_past=40, n_pool=120, alpha=0.5):
    """A pool, the comparisons asked before, and a model of their answers."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((50, 4))
    past = Comparisons.random_pairs(items, n_past, random_state=seed)
    logits = past.differences() @ np.array([2.0, -1.0, 0.5, 0.0])
    y = (rng.random(n_past) < expit(logits)).astype(float)
    model = BradleyTerryRegressor(
        hidden_layer_sizes=hidden_layer_sizes,
        alpha=alpha,
        validation_fraction=0,
        max_iter=60,
        learning_rate=1e-2,
        random_state=0,
    )
    pool = Comparisons.random_pairs(items, n_pool, random_state=seed + 100)
    return pool, past, model.fit(past, y)


def query(strategy, pool, n_pairs, params=None, **arguments):
    sampler = ActiveComparisonSampler(strategy, strategy_params=params, random_state=0)
    return sampler.query(pool, n_pairs=n_pairs, return_utilities=True, **arguments)


def last_layer(model, comparisons):
    """Differences of the embedding, and p (1 - p), of each comparison."""
    z = model.embed(comparisons.items)
    r = model.predict(comparisons.items)
    first, second = comparisons.pairs.T
    p = expit(r[first] - r[second])
    return z[first] - z[second], p * (1 - p)


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


# ------------------------------------------------------------------- the paper's rules


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


# -------------------------------------------------------------------- the greedy rules


def known(pool, model, variance):
    """X, v and alpha I + past of a cold (None) or fitted linear model."""
    X = pool.differences()
    if model is None:
        alpha = np.mean((X**2).sum(axis=1)) / COLD_START_SD**2
        matrix, logits = alpha * np.eye(4), np.zeros(len(X))
    else:
        matrix = model.information_ + model.alpha_ * np.eye(4)
        logits = X @ model.coef_
    if variance == "plug_in":
        return X, expit(logits) * expit(-logits), matrix
    spread = np.einsum("ki,ij,kj->k", X, np.linalg.inv(matrix), X)
    return X, mean_bernoulli_variance(-np.abs(logits), spread), matrix


def brute_force(X, v, matrix, n_pairs, rise):
    """Greedy by recomputing the criterion of every candidate at every step."""
    terms = v[:, None, None] * X[:, :, None] * X[:, None, :]
    left = np.ones(len(X), dtype=bool)
    picks, gains = [], []
    for _ in range(n_pairs):
        gain = rise(matrix + terms, matrix)
        picks.append(int(np.argmax(np.where(left, gain, -np.inf))))
        gains.append(gain[picks[-1]])
        left[picks[-1]] = False
        matrix = matrix + terms[picks[-1]]
    return picks, gains


def rise_of_log_det(new, old):
    return np.linalg.slogdet(new)[1] - np.linalg.slogdet(old)[1]


def fall_of_trace(target):
    def fall(new, old):
        traces = [
            np.trace(np.linalg.inv(m) @ target, axis1=-2, axis2=-1) for m in (new, old)
        ]
        return traces[1] - traces[0]

    return fall


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("variance", ["plug_in", "posterior"])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("rule", GREEDY_RULES)
def test_greedy_rules_are_brute_force(rule, warm, variance, seed):
    pool, past, model = fitted(seed)
    model = model if warm else None
    X, v, matrix = known(pool, model, variance)
    rise = rise_of_log_det
    if rule == "v_optimal":
        rise = fall_of_trace(X.T @ X / len(X))
    expected, gains = brute_force(X, v, matrix, 40, rise)
    picks, utilities = query(
        *(rule, pool, 40, {"eligible": 1.0, "variance": variance}),
        estimator=model,
        past=past if warm else None,
    )
    assert picks.tolist() == expected
    np.testing.assert_allclose(utilities, gains, rtol=1e-6)


@pytest.mark.parametrize("rule", GREEDY_RULES)
def test_a_cold_start_with_a_past_counts_its_pairs_as_open_answers(rule):
    pool, past, _ = fitted(0)
    X, v, matrix = known(pool, None, "plug_in")
    x = past.differences()
    rise = rise_of_log_det
    if rule == "v_optimal":
        rise = fall_of_trace(X.T @ X / len(X))
    expected, gains = brute_force(X, v, matrix + 0.25 * x.T @ x, 20, rise)
    params = {"eligible": 1.0, "variance": "plug_in"}
    picks, utilities = query(rule, pool, 20, params, past=past)
    assert picks.tolist() == expected
    np.testing.assert_allclose(utilities, gains, rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_d_utilities_never_increase(seed):
    pool, _, model = fitted(seed)
    _, utilities = query("greedy_d_optimal", pool, 100, estimator=model)
    assert (np.diff(utilities) <= 1e-12).all()
    assert utilities.min() > 0


@pytest.mark.parametrize("seed", range(3))
def test_greedy_d_gains_at_least_1_minus_1_over_e_of_the_best_batch(seed):
    pool, *_ = fitted(seed)
    pool = pool[:12]
    X, v, matrix = known(pool, None, "plug_in")

    def gain(batch):
        x = X[list(batch)]
        return rise_of_log_det(matrix + x.T @ (v[list(batch), None] * x), matrix)

    best = max(gain(batch) for batch in combinations(range(12), 4))
    params = {"eligible": 1.0, "variance": "plug_in"}
    picks, utilities = query("greedy_d_optimal", pool, 4, params)
    assert utilities.sum() == pytest.approx(gain(picks))
    assert (1 - 1 / np.e) * best <= utilities.sum() <= best + 1e-12


def test_only_the_greedy_rules_notice_that_a_batch_repeats_itself():
    rng = np.random.default_rng(0)
    far = np.repeat(20 * np.eye(4), 3, axis=0)  # three copies of each of four items
    items = np.vstack([far, np.zeros(4), rng.standard_normal((40, 4))])
    copies = [[12, k] if k % 3 else [k, 12] for k in range(12)]
    others = [[i, i + 1] for i in range(13, 52)]
    pool = Comparisons(items, copies + others)
    picks, _ = query("d_optimal", pool, 12)
    assert sorted(picks) == list(range(12))
    for rule in GREEDY_RULES:
        picks, _ = query(rule, pool, 4, {"eligible": 1.0})
        assert set(picks // 3) == {0, 1, 2, 3}


@pytest.mark.parametrize("rule", GREEDY_RULES)
def test_greedy_rules_leave_outlying_pairs_alone_unless_told_not_to(rule):
    rng = np.random.default_rng(0)
    items = np.vstack([rng.standard_normal((40, 4)), 50 * rng.standard_normal((3, 4))])
    pool = Comparisons.all_pairs(items)
    outlying = (pool.pairs >= 40).any(axis=1)
    assert 0 < outlying.mean() < 0.3
    assert not outlying[query(rule, pool, 30)[0]].any()
    assert outlying[query(rule, pool, 4, {"eligible": 1.0})[0]].all()


@pytest.mark.parametrize("rule", PAPER_RULES)
def test_the_papers_rules_take_outlying_pairs(rule):
    rng = np.random.default_rng(0)
    items = np.vstack([rng.standard_normal((40, 4)), 50 * rng.standard_normal((3, 4))])
    pool = Comparisons.all_pairs(items)
    picks, _ = query(rule, pool, 4)
    assert (pool.pairs[picks] >= 40).any(axis=1).all()


@pytest.mark.parametrize("rule", GREEDY_RULES)
def test_an_unknown_variance_raises(rule):
    pool, *_ = fitted(0)
    message = r"variance must be 'posterior' or 'plug_in'. Got 'laplace'"
    with pytest.raises(ValueError, match=message):
        query(rule, pool, 1, {"variance": "laplace"})


@pytest.mark.parametrize("rule", GREEDY_RULES)
def test_a_share_outside_0_to_1_raises(rule):
    pool, *_ = fitted(0)
    with pytest.raises(ValueError, match=r"eligible must lie in \(0, 1\].*Got 1.5"):
        query(rule, pool, 1, {"eligible": 1.5})


def test_the_papers_ridge_is_the_papers():
    assert PAPER_RIDGE == 1e-6


@pytest.mark.parametrize(
    "strategy", [xtx, d_optimal, past_aware_d_optimal, greedy_d_optimal, v_optimal]
)
def test_strategies_are_plain_functions_of_a_design(strategy):
    pool, *_ = fitted(0)
    design = Design(pool.pairs, lambda: pool.items)
    picks = strategy(design, 7, rng=np.random.RandomState(0))
    assert picks.positions.dtype == np.intp
    assert len(set(picks.positions)) == 7
    assert picks.utilities.shape == (7,)
