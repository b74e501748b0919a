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

from skarm import ActiveComparisonSampler, Comparisons

SEEDS = range(5)
GREEDY_RULES = ["greedy_d_optimal", "v_optimal", "a_optimal", "g_optimal"]


def criterion(rule, X):
    """What a rule raises, of matrices (..., d, d) against the one before."""

    def fall_of_the_worst(new, old):
        variances = np.einsum("ki,ij,kj->k", X, np.linalg.inv(old), X)
        x = X[variances.argmax()]
        return variances.max() - x @ np.linalg.inv(new) @ x

    return {
        "greedy_d_optimal": rise_of_log_det,
        "v_optimal": fall_of_trace(X.T @ X / len(X)),
        "a_optimal": fall_of_trace(np.eye(X.shape[1])),
        "g_optimal": fall_of_the_worst,
    }[rule]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("variance", ["plug_in", "posterior"])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("rule", GREEDY_RULES)
def test_greedy_rules_are_brute_force(rule, warm, variance, seed):
    pool, past, model = fitted(seed)
    model = model if warm else None
    X, v, matrix = known(pool, model, variance)
    expected, gains = brute_force(X, v, matrix, 40, criterion(rule, X))
    picks, utilities = query(
        *(rule, pool, 40, {"eligible": 1.0, "variance": variance}),
        estimator=model,
        past=past if warm else None,
    )
    assert picks.tolist() == expected
    np.testing.assert_allclose(utilities, gains, rtol=1e-6)


@pytest.mark.parametrize("bound", [0.5, 1.0, 100.0])
def test_the_weight_of_a_long_difference_falls_as_one_over_its_length(bound):
    pool, past, model = fitted(0)
    X, v, matrix = known(pool, model, "posterior")
    lengths = np.einsum("ki,ij,kj->k", X, np.linalg.inv(X.T @ X / len(X)), X)
    v = v * np.minimum(1, bound * np.median(lengths) / lengths)
    expected, gains = brute_force(X, v, matrix, 40, criterion("v_optimal", X))
    params = {"eligible": 1.0, "bound": bound}
    picks, utilities = query("v_optimal", pool, 40, params, estimator=model, past=past)
    assert picks.tolist() == expected
    np.testing.assert_allclose(utilities, gains, rtol=1e-6)


def test_a_bound_is_positive():
    pool, *_ = fitted(0)
    for bound in (0, -1.0, "auto"):
        message = f"bound must be positive, .*Got {bound!r}"
        with pytest.raises(ValueError, match=message):
            query("v_optimal", pool, 1, {"bound": bound})


@pytest.mark.parametrize("rule", GREEDY_RULES)
def test_a_cold_start_with_a_past_counts_its_pairs_as_open_answers(rule):
    pool, past, _ = fitted(0)
    X, v, matrix = known(pool, None, "plug_in")
    x = past.differences()
    matrix += 0.25 * x.T @ x
    expected, gains = brute_force(X, v, matrix, 20, criterion(rule, X))
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


# -------------------------------------------------------------------------------- bait


def forward_and_backward(X, v, matrix, target, n_pairs):
    """BAIT with a fresh inverse for every trace."""
    n_forward = min(2 * n_pairs, len(X))
    picks, gains = brute_force(X, v, matrix, n_forward, fall_of_trace(target))

    def trace(batch):
        x = X[[picks[k] for k in batch]]
        w = v[[picks[k] for k in batch]]
        return np.trace(target @ np.linalg.inv(matrix + x.T @ (w[:, None] * x)))

    kept = list(range(n_forward))
    while len(kept) > n_pairs:
        left = [trace([k for k in kept if k != lost]) for lost in kept]
        del kept[int(np.argmin(left))]
    return [picks[k] for k in kept], [gains[k] for k in kept]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("variance", ["plug_in", "posterior"])
@pytest.mark.parametrize("warm", [False, True])
def test_bait_is_forward_2k_and_backward_k_by_direct_inverses(warm, variance, seed):
    pool, past, model = fitted(seed)
    model = model if warm else None
    X, v, matrix = known(pool, model, variance)
    _, plug_in, _ = known(pool, model, "plug_in")
    fisher = X.T @ (plug_in[:, None] * X) / len(X)
    expected, gains = forward_and_backward(X, v, matrix, fisher, 12)
    params = {"variance": variance}
    given = {"estimator": model, "past": past if warm else None}
    picks, utilities = query("bait", pool, 12, params, **given)
    assert picks.tolist() == expected
    np.testing.assert_allclose(utilities, gains, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_bait_with_the_papers_numbers_is_the_papers_criterion(seed):
    """λ = 1 and the mean of the past; its authors' code, all times k / (n + k)."""
    pool, past, model = fitted(seed)
    X, v, _ = known(pool, model, "plug_in")
    fisher, n, k = X.T @ (v[:, None] * X) / len(X), len(past), 10
    mean = model.information_ / n
    paper = forward_and_backward(X, v, np.eye(4) + mean, fisher, k)[0]
    given = {"estimator": model, "past": past}
    params = {"ridge": 1.0, "past_weight": 1 / n}
    assert query("bait", pool, k, params, **given)[0].tolist() == paper
    matrix = np.eye(4) + mean * n / (n + k)
    code = forward_and_backward(X, v * k / (n + k), matrix, fisher, k)[0]
    params = {"ridge": (n + k) / k, "past_weight": 1 / k}
    assert query("bait", pool, k, params, **given)[0].tolist() == code


def test_bait_keeps_all_where_there_are_no_2k():
    pool, _past, model = fitted(0, n_pool=15)
    X, v, matrix = known(pool, model, "plug_in")
    fisher = X.T @ (v[:, None] * X) / len(X)
    expected, _ = forward_and_backward(X, v, matrix, fisher, 10)
    assert query("bait", pool, 10, estimator=model)[0].tolist() == expected
    assert sorted(query("bait", pool, 15, estimator=model)[0]) == list(range(15))


# ------------------------------------------------------------- targets and nuisances


def test_bait_and_v_aim_at_the_target():
    """Its Fisher information for BAIT, its second moment for V."""
    pool, past, model = fitted(0)
    target = Comparisons.random_pairs(
        3 * pool.items[:9, [1, 0, 3, 2]], 30, random_state=0
    )
    X, v, matrix = known(pool, model, "plug_in")
    T, w, _ = known(target, model, "plug_in")
    given = {"estimator": model, "past": past, "target": target}
    expected, gains = forward_and_backward(
        X, v, matrix, T.T @ (w[:, None] * T) / len(T), 10
    )
    picks, utilities = query("bait", pool, 10, **given)
    assert picks.tolist() == expected
    np.testing.assert_allclose(utilities, gains, rtol=1e-6)
    fall = fall_of_trace(T.T @ T / len(T))
    params = {"eligible": 1.0, "variance": "plug_in"}
    picks, _ = query("v_optimal", pool, 10, params, **given)
    assert picks.tolist() == brute_force(X, v, matrix, 10, fall)[0]


def effective(matrices, nuisance):
    """Schur complements, (..., d - n, d - n)."""
    keep = np.setdiff1d(np.arange(matrices.shape[-1]), nuisance)
    cross = matrices[..., keep[:, None], nuisance]
    inner = np.linalg.inv(matrices[..., np.array(nuisance)[:, None], nuisance])
    return matrices[..., keep[:, None], keep] - cross @ inner @ cross.swapaxes(-1, -2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("nuisance", [[3], [0, 2]])
@pytest.mark.parametrize("rule", ["greedy_d_optimal", "v_optimal"])
def test_nuisances_leave_the_criterion_of_the_schur_complement(rule, nuisance, seed):
    pool, past, model = fitted(seed)
    X, v, matrix = known(pool, model, "posterior")
    keep = np.setdiff1d(np.arange(4), nuisance)
    inner = rise_of_log_det
    if rule == "v_optimal":
        inner = fall_of_trace(X[:, keep].T @ X[:, keep] / len(X))

    def rise(new, old):
        return inner(effective(new, nuisance), effective(old, nuisance))

    expected, gains = brute_force(X, v, matrix, 25, rise)
    params = {"eligible": 1.0, "nuisance": nuisance}
    picks, utilities = query(rule, pool, 25, params, estimator=model, past=past)
    assert picks.tolist() == expected
    np.testing.assert_allclose(utilities, gains, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("rule", ["greedy_d_optimal", "v_optimal"])
def test_a_nuisance_that_never_differs_changes_nothing(rule):
    """Of the pairs; a constant has no coefficient to be confused with."""
    pool, *_ = fitted(0)
    wide = pool.with_items(np.hstack([pool.items, np.full((pool.n_items, 2), 7.0)]))
    params = {"eligible": 1.0}
    expected = query(rule, pool, 25, params)
    found = query(rule, wide, 25, {**params, "nuisance": [-1, -2]})
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_nuisance_shared_with_a_feature_is_told_apart_from_it(seed):
    """Length goes with feature 0 but in a few pairs: D_s asks about those more."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((200, 3))
    length = items[:, 0] + 0.05 * rng.standard_normal(200)
    length[:20] = rng.standard_normal(20)
    items = np.column_stack([items, length])
    pool = Comparisons.random_pairs(items, 600, random_state=seed)
    x = pool.differences()
    apart = np.abs(x[:, 0] - x[:, 3])
    params = {"eligible": 1.0}
    plain, _ = query("greedy_d_optimal", pool, 15, params)
    aware, _ = query("greedy_d_optimal", pool, 15, {**params, "nuisance": [3]})

    def interest(picks):
        matrix = 0.1 * np.eye(4) + x[picks].T @ x[picks] / 4
        return np.linalg.slogdet(effective(matrix, [3]))[1]

    assert apart[aware].mean() > apart[plain].mean() > apart.mean()
    assert interest(aware) > interest(plain)


# ---------------------------------------------------------------------------- exchange


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rule", ["greedy_d_optimal", "v_optimal"])
def test_exchange_ends_where_no_single_swap_improves_the_batch(rule, seed):
    pool, past, model = fitted(seed)
    X, v, matrix = known(pool, model, "plug_in")
    plain = {"eligible": 1.0, "variance": "plug_in"}
    given = {"estimator": model, "past": past}
    before, _ = query(rule, pool, 12, plain, **given)
    after, gains = query(rule, pool, 12, {**plain, "exchange": 20}, **given)
    rise = criterion(rule, X)

    def worth(batch):
        x, w = X[batch], v[batch]
        return rise(matrix + x.T @ (w[:, None] * x), matrix)

    best = worth(after)
    assert best >= worth(before) - 1e-12
    assert gains.sum() == pytest.approx(best)
    questions = {tuple(sorted(pair)) for pair in pool.pairs[after].tolist()}
    for slot in range(12):
        for other in range(len(pool)):
            if tuple(sorted(pool.pairs[other].tolist())) not in questions:
                swapped = [*after[:slot], other, *after[slot + 1 :]]
                assert worth(swapped) <= best * (1 + 1e-7)


@pytest.mark.parametrize("rule", ["greedy_d_optimal", "v_optimal"])
def test_exchange_keeps_to_the_caps(rule):
    items = np.random.default_rng(0).standard_normal((40, 4))
    pool = Comparisons.all_pairs(items, groups=np.arange(40) % 8)
    caps = {"max_pairs_per_item": 1, "max_pairs_per_group": 4}
    params = {"exchange": 3, "eligible": 1.0}
    sampler = ActiveComparisonSampler(
        rule, strategy_params=params, random_state=0, **caps
    )
    pairs = pool[sampler.query(pool, n_pairs=14)].pairs
    assert len(np.unique(pairs)) == 28
    groups = [set(pair) for pair in (pairs % 8).tolist()]
    assert max(sum(g in pair for pair in groups) for g in range(8)) <= 4


@pytest.mark.parametrize("rule", ["greedy_d_optimal", "v_optimal"])
def test_exchange_is_a_number_of_passes_and_does_not_weigh_costs(rule):
    pool, *_ = fitted(0)
    for bad in (-1, 0.5, "all"):
        with pytest.raises(ValueError, match="exchange must be a number of passes, 0"):
            query(rule, pool, 3, {"exchange": bad})
    with pytest.raises(ValueError, match="exchange must be 0 where pairs have costs"):
        query(rule, pool, 3, {"exchange": 1}, cost=np.ones(len(pool)))


def test_d_s_has_no_exchange_but_v_with_nuisances_has():
    pool, *_ = fitted(0)
    params = {"exchange": 2, "nuisance": [3], "eligible": 1.0}
    with pytest.raises(ValueError, match="exchange must be 0 for D-optimality with"):
        query("greedy_d_optimal", pool, 3, params)
    _, gains = query("v_optimal", pool, 10, params)
    _, greedy = query("v_optimal", pool, 10, {**params, "exchange": 0})
    assert gains.sum() >= greedy.sum() - 1e-12
