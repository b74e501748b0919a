"""The greedy rules by brute force: D, V, A, G and BAIT, with targets and nuisances."""

from itertools import combinations

import numpy as np
import pytest
from problems import (
    brute_force,
    fall_of_trace,
    fitted,
    known,
    query,
    rise_of_log_det,
)

from skarm import Comparisons

SEEDS = range(5)
GREEDY_RULES = ["greedy_d_optimal", "v_optimal"]


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
