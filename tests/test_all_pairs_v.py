"""Greedy V over all pairs against brute force over a list of them."""

import numpy as np
import pytest
import torch
from pair_problems import (
    SCOPES,
    assert_same,
    brute_force,
    in_reach,
    problem,
    scope_pairs,
)

from skarm._information import all_pairs_v, fisher, pair_scan
from skarm._information.all_pairs_v import greedy_v_all_pairs


def target_of(embedding, seed=0):
    """A second moment that differs from that of the pool, and may lack a direction."""
    d = embedding.shape[1]
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((max(d - seed % 2, 1), d)) * rng.uniform(0.1, 3.0, d)
    return torch.as_tensor(x.T @ x)


@pytest.fixture(params=["one list", "many scans", "tiny tiles", "no allowance"])
def sizes(request, monkeypatch):
    """Sizes at which small problems take every path of the code."""
    if request.param != "one list":
        monkeypatch.setattr(all_pairs_v, "MIN_SHORTLIST", 12)
        monkeypatch.setattr(all_pairs_v, "MAX_SHORTLIST", 12)
        monkeypatch.setattr(pair_scan, "SAMPLE_SIZE", 500)
    if request.param == "tiny tiles":
        monkeypatch.setattr(pair_scan, "BLOCK_SIZE", 7)
        monkeypatch.setattr(pair_scan, "CHUNK_SIZE", 13)
        monkeypatch.setattr(all_pairs_v, "MAX_PICKS", 5)
    if request.param == "no allowance":
        monkeypatch.setattr(all_pairs_v, "FIRST_SHARE", 0.0)


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("scope", SCOPES)
def test_picks_are_brute_force(scope, scale, sizes):
    for seed in range(8):
        embedding, rewards, matrix, groups = problem(seed, scale=scale)
        target = target_of(embedding, seed)
        pairs = scope_pairs(len(embedding), groups, scope)
        n_pairs = min(len(pairs), 20)
        inputs = embedding, rewards, matrix
        expected = brute_force(*inputs, n_pairs, pairs, target=target)
        rules = {"groups": groups, "scope": scope}
        assert_same(greedy_v_all_pairs(*inputs, target, n_pairs, **rules), expected)


@pytest.mark.parametrize("scope", SCOPES)
def test_excluded_pairs_reach_and_caps_are_kept(scope, sizes):
    for seed in range(6):
        *inputs, groups = problem(seed, scale=2.0)
        embedding, d = inputs[0], inputs[0].shape[1]
        target = target_of(embedding, seed)
        rng = np.random.default_rng(seed)
        pairs = scope_pairs(len(embedding), groups, scope)
        excluded = rng.permutation(pairs)[: len(pairs) // 3, ::-1].tolist()
        allowed = scope_pairs(len(embedding), groups, scope, excluded)
        if not len(allowed):
            continue
        lower = torch.linalg.cholesky(torch.cov(embedding.T).reshape(d, d))
        first, second = torch.as_tensor(allowed).T
        lengths = fisher.squared_lengths(embedding, first, second, lower)
        limit, median = lengths.quantile(0.6).item() * 1.001, lengths.median().item()
        caps = [{}, {"max_per_item": 2}, {"max_per_group": 3, "max_per_item": 3}]
        reaches = (lower, np.inf, median), (lower, limit, median / 2), (lower, limit)
        for kw, reach in zip(caps, reaches, strict=True):
            n_pairs = min(len(allowed), 20)
            listed = in_reach(embedding, allowed, reach)
            kw |= {"groups": groups, "reach": reach}
            expected = brute_force(*inputs, n_pairs, listed, target=target, **kw)
            rules = {"scope": scope, "excluded": excluded, **kw}
            found = greedy_v_all_pairs(*inputs, target, n_pairs, **rules)
            assert_same(found, expected)


@pytest.mark.parametrize("scope", SCOPES)
def test_no_pair_of_wider_rewards_is_picked(scope, sizes):
    for seed in range(6):
        *inputs, groups = problem(seed, scale=2.0)
        target = target_of(inputs[0], seed)
        pairs = scope_pairs(len(inputs[0]), groups, scope)
        gaps = np.abs(np.diff(inputs[1].numpy()[pairs], axis=1)[:, 0])
        widest = np.quantile(gaps, 0.5) if len(gaps) else 0.0
        listed = pairs[gaps <= widest]
        n_pairs = min(len(listed), 20)
        rules = {"scope": scope, "groups": groups, "widest": widest}
        found = greedy_v_all_pairs(*inputs, target, n_pairs, **rules)
        assert_same(found, brute_force(*inputs, n_pairs, listed, target=target))


@pytest.mark.parametrize("scope", SCOPES)
def test_equal_gains_go_by_the_order_of_ties(scope, sizes):
    for seed in range(4):
        *inputs, groups = problem(seed, n_items=6, copies=4, n_groups=3)
        target = target_of(inputs[0], seed)
        pairs = scope_pairs(24, groups, scope)
        n_pairs = min(len(pairs), 30)
        for order in (None, np.random.default_rng(seed).permutation(24)):
            rules = {"groups": groups, "scope": scope, "tie_order": order}
            found = greedy_v_all_pairs(*inputs, target, n_pairs, **rules)
            expected = brute_force(
                *(*inputs, n_pairs, pairs), target=target, tie_order=order
            )
            assert_same(found, expected)


def test_gains_may_rise_and_picks_are_still_the_best(sizes):
    # One direction matters, and is seen only beside another that nobody knows yet: a
    # pair that settles the other one makes the next worth more.
    rng = np.random.default_rng(5)
    embedding = torch.as_tensor(rng.standard_normal((40, 3)))
    embedding[:, 0] = 0.3 * embedding[:, 0] + embedding[:, 1]
    inputs = embedding, torch.zeros(40).double(), 1e-2 * torch.eye(3).double()
    target = torch.diag(torch.tensor([1.0, 0.0, 0.0]).double())
    expected = brute_force(*inputs, 30, scope_pairs(40), target=target)
    assert_same(greedy_v_all_pairs(*inputs, target, 30), expected)
    assert (np.diff(expected[1]) > 0).any()


def test_a_target_that_is_zero_leaves_the_order_of_ties(sizes):
    embedding, rewards, matrix, _ = problem(0, n_items=9, d=3)
    pairs, gains = greedy_v_all_pairs(
        embedding, rewards, matrix, torch.zeros_like(matrix), 36
    )
    np.testing.assert_array_equal(pairs.numpy(), scope_pairs(9))
    assert gains == [0.0] * 36


@pytest.mark.parametrize("ridge", [1e-6, 1e-3])
def test_a_nearly_flat_prior_costs_no_digits(ridge, sizes):
    embedding, rewards, _, _ = problem(0, n_items=30, d=6)
    target = target_of(embedding)
    matrix = ridge * torch.eye(6, dtype=torch.float64)
    inputs = embedding, rewards, matrix
    expected = brute_force(*inputs, 60, scope_pairs(30), target=target)
    pairs, gains = greedy_v_all_pairs(*inputs, target, 60)
    np.testing.assert_array_equal(pairs.numpy(), expected[0])
    np.testing.assert_allclose(gains, expected[1], rtol=1e-6)


# --------------------------------------------------------------------- larger problems


def larger(seed, n_items=900, d=12, n_past=400):
    """A pool of which more is known than a prior."""
    embedding, rewards, _, _ = problem(seed, n_items=n_items, d=d, scale=1.5)
    rng = np.random.default_rng(seed)
    past = torch.as_tensor(rng.permutation(scope_pairs(n_items))[:n_past]).T
    weights = torch.full((n_past,), 0.2, dtype=torch.float64)
    matrix = torch.eye(d) + fisher.information(embedding, *past, weights)
    target = 2 * torch.cov(embedding.T)
    return embedding, rewards, matrix, target


def explicit(embedding, rewards, matrix, target, n_pairs):
    """The list-based rule of fisher on every pair."""
    first, second = torch.as_tensor(scope_pairs(len(embedding))).T
    p = torch.sigmoid(rewards[first] - rewards[second])
    inputs = embedding, first, second, p * (1 - p), matrix, target
    picks, gains = fisher.greedy_v(*inputs, n_pairs)
    return torch.stack([first[picks], second[picks]], dim=1).numpy(), gains


def test_one_scan_serves_many_picks_exactly(monkeypatch):
    inputs = larger(1)
    scans, scan = [], pair_scan.scan
    monkeypatch.setattr(pair_scan, "scan", lambda *args: scans.append(1) or scan(*args))
    assert_same(greedy_v_all_pairs(*inputs, 60), explicit(*inputs, 60))
    assert len(scans) <= 15


def test_a_long_batch_is_exact_over_many_scans(monkeypatch):
    monkeypatch.setattr(all_pairs_v, "MIN_SHORTLIST", 500)
    monkeypatch.setattr(all_pairs_v, "MAX_SHORTLIST", 500)
    monkeypatch.setattr(pair_scan, "BLOCK_SIZE", 64)
    inputs = larger(2, n_items=300, d=8, n_past=20)
    assert_same(greedy_v_all_pairs(*inputs, 300), explicit(*inputs, 300))


@pytest.mark.parametrize("seed", range(5))
def test_no_pair_off_the_list_gains_more_than_the_threshold(seed):
    rng = np.random.default_rng(seed)
    d, threshold = 5, 0.3
    beta = torch.as_tensor(rng.uniform(0, 2, d))
    allowed = all_pairs_v._Allowance(beta, threshold, 0.5)
    x = torch.as_tensor(rng.standard_normal((20_000, d)))
    v = torch.as_tensor(rng.uniform(0, 0.25, 20_000))
    score = v * (x**2 @ (beta + 0.5)) / (1 + v * (x**2).sum(dim=1))
    x, v = x[score <= threshold], v[score <= threshold]
    largest = []
    for _ in range(100):
        inverse = allowed.inverse.clone()
        picked = torch.as_tensor(0.1 * rng.standard_normal(d))
        c = inverse @ picked / (1 + picked @ inverse @ picked).sqrt()
        if not allowed.covers(c, inverse @ (beta * c), float(beta @ c.square())):
            break
        torch.testing.assert_close(allowed.inverse, inverse - torch.outer(c, c))
        image = x @ allowed.inverse
        gain = v * (image**2 @ beta) / (1 + v * (image * x).sum(dim=1))
        assert gain.max() <= threshold * (1 + 1e-12)
        expected = allowed.inverse @ torch.diag(beta) @ allowed.inverse
        expected += threshold * (torch.eye(d) - allowed.inverse) - torch.diag(beta)
        torch.testing.assert_close(allowed.excess, expected)
        assert torch.linalg.eigvalsh(expected)[-1] <= allowed.used + 1e-9
        largest.append(float(gain.max()))
    assert max(largest) > 0.7 * threshold


# ------------------------------------------------------------------------------ edges


def test_asking_for_more_pairs_than_there_are_raises():
    *inputs, _ = problem(0, n_items=8, d=3)
    with pytest.raises(ValueError, match="Got 29, but scope 'all' of 8 items holds 28"):
        greedy_v_all_pairs(*inputs, torch.eye(3).double(), 29)


def test_a_singular_matrix_raises():
    embedding, rewards, matrix, _ = problem(0, d=3)
    with pytest.raises(ValueError, match="positive definite"):
        greedy_v_all_pairs(embedding, rewards, 0 * matrix, matrix, 1)


def test_reach_and_caps_may_leave_fewer_pairs_than_asked_for(sizes):
    *inputs, _ = problem(0, n_items=20, d=3)
    target = torch.eye(3, dtype=torch.float64)
    pairs, _ = greedy_v_all_pairs(*inputs, target, 30, max_per_item=1)
    assert 1 <= len(pairs) <= 10
    reach = target, -1.0
    pairs, gains = greedy_v_all_pairs(*inputs, target, 5, reach=reach)
    assert pairs.shape == (0, 2) and gains == []


def test_no_input_is_changed_and_progress_is_told_the_end(sizes):
    *inputs, groups = problem(0, n_items=20, d=3)
    target, calls = target_of(inputs[0]), []
    everything = [*inputs, target, torch.as_tensor(groups)]
    before = [tensor.clone() for tensor in everything]
    rules = {"groups": groups, "max_per_group": 15}
    rules["progress"] = lambda *args: calls.append(args)
    pairs, _ = greedy_v_all_pairs(*inputs, target, 20, **rules)
    for old, new in zip(before, everything, strict=True):
        assert torch.equal(old, new)
    assert calls == sorted(calls) and calls[-1] == (len(pairs), 20)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_agrees_with_the_cpu():
    inputs = larger(3)
    expected = greedy_v_all_pairs(*inputs, 60)
    found = greedy_v_all_pairs(*(tensor.cuda() for tensor in inputs), 60)
    assert_same(found, (expected[0].numpy(), expected[1]))
