"""Greedy D over all pairs against brute force over a list of them."""

import subprocess
import sys
import textwrap
from pathlib import Path

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

from skarm._information import all_pairs, fisher, pair_batch, pair_scan
from skarm._information.all_pairs import greedy_d_all_pairs


@pytest.fixture(params=["one list", "many scans", "tiny tiles", "all tiny"])
def sizes(request, monkeypatch):
    """Sizes at which small problems take every path of the code."""
    if request.param in ("many scans", "all tiny"):
        monkeypatch.setattr(all_pairs, "MIN_SHORTLIST", 12)
        monkeypatch.setattr(all_pairs, "MAX_SHORTLIST", 12)
        monkeypatch.setattr(all_pairs, "MIN_HEAD", 3)
        monkeypatch.setattr(all_pairs, "MAX_HEAD", 3)
        monkeypatch.setattr(pair_scan, "SAMPLE_SIZE", 500)
    if request.param in ("tiny tiles", "all tiny"):
        monkeypatch.setattr(pair_scan, "BLOCK_SIZE", 7)
        monkeypatch.setattr(pair_scan, "CHUNK_SIZE", 13)
    if request.param == "all tiny":
        monkeypatch.setattr(all_pairs, "MAX_PICKS", 5)


# -------------------------------------------------------------------- exact, any size


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("scope", SCOPES)
def test_picks_are_brute_force(scope, scale, sizes):
    for seed in range(8):
        *inputs, groups = problem(seed, scale=scale)
        pairs = scope_pairs(len(inputs[0]), groups, scope)
        n_pairs = min(len(pairs), 25)
        expected = brute_force(*inputs, n_pairs, pairs)
        assert_same(
            greedy_d_all_pairs(*inputs, n_pairs, groups=groups, scope=scope), expected
        )


@pytest.mark.parametrize("scope", SCOPES)
def test_excluded_pairs_reach_and_caps_are_kept(scope, sizes):
    for seed in range(8):
        *inputs, groups = problem(seed, scale=2.0)
        embedding, d = inputs[0], inputs[0].shape[1]
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
        reaches = (lower, limit), (lower, np.inf, median), (lower, limit, median / 2)
        for kw, reach in zip(caps, reaches, strict=True):
            n_pairs = min(len(allowed), 20)
            listed = in_reach(embedding, allowed, reach)
            kw |= {"groups": groups}
            expected = brute_force(*inputs, n_pairs, listed, reach=reach, **kw)
            rules = {"scope": scope, "excluded": excluded, "reach": reach, **kw}
            found = greedy_d_all_pairs(*inputs, n_pairs, **rules)
            assert_same(found, expected)


@pytest.mark.parametrize("scope", SCOPES)
def test_no_pair_of_wider_rewards_is_picked(scope, sizes):
    for seed in range(8):
        *inputs, groups = problem(seed, scale=2.0)
        pairs = scope_pairs(len(inputs[0]), groups, scope)
        gaps = np.abs(np.diff(inputs[1].numpy()[pairs], axis=1)[:, 0])
        for share in (0.1, 0.5) if len(pairs) else ():
            widest = np.quantile(gaps, share)
            listed = pairs[gaps <= widest]
            n_pairs = min(len(listed), 20)
            rules = {"scope": scope, "groups": groups, "widest": widest}
            found = greedy_d_all_pairs(*inputs, n_pairs, **rules)
            assert_same(found, brute_force(*inputs, n_pairs, listed))


@pytest.mark.parametrize("scope", SCOPES)
def test_equal_gains_go_by_the_order_of_ties(scope, sizes):
    for seed in range(6):
        *inputs, groups = problem(seed, n_items=6, copies=4, n_groups=3)
        pairs = scope_pairs(24, groups, scope)
        n_pairs = min(len(pairs), 30)
        for order in (None, np.random.default_rng(seed).permutation(24)):
            rules = {"groups": groups, "scope": scope, "tie_order": order}
            found = greedy_d_all_pairs(*inputs, n_pairs, **rules)
            assert_same(found, brute_force(*inputs, n_pairs, pairs, tie_order=order))


def test_a_whole_scope_can_be_picked(sizes):
    for seed in range(4):
        *inputs, groups = problem(seed, n_items=11)
        for scope in SCOPES:
            pairs = scope_pairs(11, groups, scope)
            rules = {"groups": groups, "scope": scope}
            found = greedy_d_all_pairs(*inputs, len(pairs), **rules)
            assert_same(found, brute_force(*inputs, len(pairs), pairs))


def test_constant_items_are_picked_in_the_order_of_ties(sizes):
    embedding = torch.ones(9, 3, dtype=torch.float64)
    matrix = torch.eye(3, dtype=torch.float64)
    pairs, gains = greedy_d_all_pairs(embedding, torch.arange(9.0).double(), matrix, 36)
    np.testing.assert_array_equal(pairs.numpy(), scope_pairs(9))
    assert gains == [0.0] * 36


def test_one_hot_items_are_matched_before_any_is_asked_twice(sizes):
    eye = torch.eye(20, dtype=torch.float64)
    pairs, _ = greedy_d_all_pairs(eye, torch.zeros(20).double(), eye, 10)
    np.testing.assert_array_equal(pairs.numpy(), np.arange(20).reshape(10, 2))


@pytest.mark.parametrize("ridge", [1e-8, 1e-3])
def test_a_nearly_flat_prior_costs_no_digits(ridge, sizes):
    embedding, rewards, _, _ = problem(0, n_items=30, d=6)
    matrix = ridge * torch.eye(6, dtype=torch.float64)
    expected = brute_force(embedding, rewards, matrix, 60, scope_pairs(30))
    pairs, gains = greedy_d_all_pairs(embedding, rewards, matrix, 60)
    np.testing.assert_array_equal(pairs.numpy(), expected[0])
    np.testing.assert_allclose(gains, expected[1], rtol=1e-6)


def test_distant_and_far_apart_groups_are_told_apart(sizes):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 8)
    embedding = 1e5 * rng.standard_normal((6, 4))[groups] + rng.standard_normal((48, 4))
    inputs = torch.as_tensor(embedding), torch.as_tensor(rng.standard_normal(48))
    matrix = torch.eye(4, dtype=torch.float64)
    pairs = scope_pairs(48, groups, "within")
    found = greedy_d_all_pairs(*inputs, matrix, 40, groups=groups, scope="within")
    assert_same(found, brute_force(*inputs, matrix, 40, pairs))


# --------------------------------------------------------------------- larger problems


def explicit(embedding, rewards, matrix, n_pairs, pairs=None):
    """The list-based rule of fisher on every pair, or on the given ones."""
    pairs = scope_pairs(len(embedding)) if pairs is None else pairs
    first, second = torch.as_tensor(pairs).T
    p = torch.sigmoid(rewards[first] - rewards[second])
    inputs = embedding, first, second, p * (1 - p), matrix
    picks, gains = fisher.greedy_d(*inputs, n_pairs)
    return torch.stack([first[picks], second[picks]], dim=1).numpy(), gains


def test_picks_are_those_of_the_explicit_list_at_scale():
    *inputs, _ = problem(1, n_items=1500, d=16, scale=1.5)
    assert_same(greedy_d_all_pairs(*inputs, 60), explicit(*inputs, 60))


def test_a_long_batch_is_exact_over_many_scans(monkeypatch):
    monkeypatch.setattr(all_pairs, "MIN_SHORTLIST", 500)
    monkeypatch.setattr(all_pairs, "MAX_SHORTLIST", 500)
    monkeypatch.setattr(pair_scan, "BLOCK_SIZE", 64)
    *inputs, _ = problem(2, n_items=300, d=8, scale=2.0)
    found = greedy_d_all_pairs(*inputs, 400)
    assert_same(found, explicit(*inputs, 400))
    assert (np.diff(found[1]) <= 1e-12).all()


def test_gains_add_up_to_the_rise_of_log_det():
    embedding, rewards, matrix, _ = problem(3, n_items=200, d=8, scale=1.0)
    pairs, gains = greedy_d_all_pairs(embedding, rewards, matrix, 300)
    assert len(torch.unique(pairs, dim=0)) == 300
    first, second = pairs.T
    assert (first < second).all()
    p = torch.sigmoid(rewards[first] - rewards[second])
    total = matrix + fisher.information(embedding, first, second, p * (1 - p))
    rise = (torch.logdet(total) - torch.logdet(matrix)).item()
    assert sum(gains) == pytest.approx(rise)
    assert (np.diff(gains) <= 1e-12).all()


def test_tiles_are_skipped_yet_nothing_is_missed(monkeypatch):
    monkeypatch.setattr(pair_scan, "BLOCK_SIZE", 32)
    monkeypatch.setattr(all_pairs, "MAX_SHORTLIST", 2000)
    monkeypatch.setattr(all_pairs, "MIN_SHORTLIST", 500)
    computed = []
    of = pair_scan._Products.of
    monkeypatch.setattr(
        *(pair_scan._Products, "of"),
        lambda self, tile, tau: computed.append(tile) or of(self, tile, tau),
    )
    *inputs, _ = problem(4, n_items=700, d=6, scale=4.0)
    n_scans = []
    scan = pair_scan.scan
    monkeypatch.setattr(
        pair_scan, "scan", lambda *args: n_scans.append(1) or scan(*args)
    )
    assert_same(greedy_d_all_pairs(*inputs, 100), explicit(*inputs, 100))
    n_tiles = 22 * 23 // 2
    assert len(n_scans) > 1
    assert len(computed) < 0.7 * n_tiles * len(n_scans)


def test_reach_holds_at_scale_over_many_scans(monkeypatch):
    monkeypatch.setattr(all_pairs, "MIN_SHORTLIST", 300)
    monkeypatch.setattr(all_pairs, "MAX_SHORTLIST", 300)
    monkeypatch.setattr(pair_scan, "BLOCK_SIZE", 32)
    *inputs, _ = problem(8, n_items=300, d=5, scale=2.0)
    lower = torch.linalg.cholesky(torch.cov(inputs[0].T))
    pairs = scope_pairs(300)
    first, second = torch.as_tensor(pairs).T
    lengths = fisher.squared_lengths(inputs[0], first, second, lower)
    reach = lower, lengths.quantile(0.5).item()
    pairs = in_reach(inputs[0], pairs, reach)
    found = greedy_d_all_pairs(*inputs, 150, reach=reach)
    assert_same(found, explicit(*inputs, 150, pairs))


@pytest.mark.parametrize("scale", [10.0, 60.0])
def test_extreme_rewards_do_not_overflow(scale, monkeypatch):
    monkeypatch.setattr(all_pairs, "MIN_SHORTLIST", 500)
    monkeypatch.setattr(all_pairs, "MAX_SHORTLIST", 500)
    *inputs, _ = problem(5, n_items=400, d=5, scale=scale)
    assert_same(greedy_d_all_pairs(*inputs, 100), explicit(*inputs, 100))


def test_low_matmul_precision_changes_no_pick(monkeypatch):
    monkeypatch.setattr(all_pairs, "MAX_SHORTLIST", 4096)
    *inputs, _ = problem(6, n_items=400, d=8)
    expected = explicit(*inputs, 60)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert_same(greedy_d_all_pairs(*inputs, 60), expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_many_small_groups_cost_no_square_of_the_items(monkeypatch):
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(600), 5))
    inputs = [torch.as_tensor(rng.standard_normal(s)) for s in ((3000, 6), 3000)]
    matrix = torch.eye(6, dtype=torch.float64)
    tiles = []
    make = pair_scan.make_tiles
    monkeypatch.setattr(
        pair_scan, "make_tiles", lambda pool: tiles.extend(make(pool)) or tiles
    )
    monkeypatch.setattr(all_pairs, "MAX_SHORTLIST", 1000)
    monkeypatch.setattr(all_pairs, "MIN_SHORTLIST", 1000)
    found = greedy_d_all_pairs(*inputs, matrix, 30, groups=groups, scope="within")
    pairs = scope_pairs(3000, groups, "within")
    assert_same(found, brute_force(*inputs, matrix, 30, pairs))
    area = sum(
        (t.rows.stop - t.rows.start) * (t.columns.stop - t.columns.start) for t in tiles
    )
    assert area <= 3000 * pair_scan.BLOCK_SIZE


# ------------------------------------------------------------------- limits and faces


def test_more_pairs_than_there_are_raise():
    *inputs, groups = problem(0, n_items=8)
    n_within = len(scope_pairs(8, groups, "within"))
    with pytest.raises(
        ValueError, match=r"Got 29, but scope 'all' of 8 items holds 28"
    ):
        greedy_d_all_pairs(*inputs, 29)
    with pytest.raises(ValueError, match=r"holds 26 that are not excluded. Ask for"):
        greedy_d_all_pairs(*inputs, 27, excluded=[(0, 1), (1, 0), (5, 2), (3, 3)])
    with pytest.raises(ValueError, match=f"'within' of 8 items holds {n_within}"):
        greedy_d_all_pairs(*inputs, n_within + 1, groups=groups, scope="within")


def test_reach_and_caps_may_leave_fewer_pairs_than_asked_for(sizes):
    embedding, rewards, matrix, _ = problem(0, n_items=20, d=3)
    pairs, _ = greedy_d_all_pairs(embedding, rewards, matrix, 30, max_per_item=1)
    assert pairs.numpy().ravel().tolist() == list(dict.fromkeys(pairs.ravel().tolist()))
    assert 1 <= len(pairs) <= 10
    reach = torch.eye(3, dtype=torch.float64), -1.0
    pairs, gains = greedy_d_all_pairs(embedding, rewards, matrix, 5, reach=reach)
    assert pairs.shape == (0, 2)
    assert gains == []


def test_no_pairs_can_be_asked_for():
    *inputs, _ = problem(0)
    pairs, gains = greedy_d_all_pairs(*inputs, 0)
    assert pairs.shape == (0, 2)
    assert gains == []


def test_a_singular_matrix_raises():
    embedding, rewards, matrix, _ = problem(0, d=3)
    with pytest.raises(ValueError, match="positive definite"):
        greedy_d_all_pairs(embedding, rewards, torch.zeros_like(matrix), 1)


def test_no_input_is_changed(sizes):
    *inputs, groups = problem(0, n_items=20, d=3)
    reach = torch.eye(3, dtype=torch.float64), 1e9
    excluded = torch.tensor([[1, 0], [2, 5]])
    everything = [*inputs, torch.as_tensor(groups), reach[0], excluded]
    before = [tensor.clone() for tensor in everything]
    greedy_d_all_pairs(
        *(*inputs, 20), groups=groups, reach=reach, excluded=excluded, max_per_item=9
    )
    for old, new in zip(before, everything, strict=True):
        assert torch.equal(old, new)


def test_progress_is_told_the_end_and_can_interrupt(monkeypatch):
    *inputs, _ = problem(0, n_items=20, d=3)
    calls = []
    greedy_d_all_pairs(*inputs, 20, progress=lambda *args: calls.append(args))
    assert calls[-1] == (20, 20)
    assert calls == sorted(calls)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pair_batch, "PROGRESS_EVERY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        greedy_d_all_pairs(*inputs, 20, progress=interrupt)


def test_memory_does_not_grow_with_the_number_of_pairs():
    script = """
        import torch
        from pathlib import Path
        from skarm._information.all_pairs import greedy_d_all_pairs
        torch.set_num_threads(1)
        inputs = torch.randn(5000, 64).double(), torch.randn(5000).double()
        matrix = torch.eye(64).double()
        torch.mm(torch.ones(64, 64), torch.ones(64, 64))
        greedy_d_all_pairs(inputs[0][:50], inputs[1][:50], matrix, 3)
        def peak():  # not ru_maxrss, which a child inherits from its parent
            status = Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0])
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
        before = peak()
        greedy_d_all_pairs(*inputs, matrix, 100)
        print((peak() - before) / 1024)
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak is read from /proc")
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        **{"capture_output": True, "text": True, "check": True},
    )
    assert 10 < float(out.stdout) < 300


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("scope", SCOPES)
def test_the_gpu_agrees_with_the_cpu(scope, monkeypatch):
    monkeypatch.setattr(pair_scan, "GPU_BLOCK_SIZE", 100)
    monkeypatch.setattr(all_pairs, "MAX_SHORTLIST", 4096)
    *inputs, groups = problem(7, n_items=400, d=8)
    reach = torch.eye(8, dtype=torch.float64), 30.0
    rules = {"groups": groups, "scope": scope, "max_per_item": 5}
    rules["excluded"] = [(0, 1), (5, 3)]
    expected = greedy_d_all_pairs(*inputs, 150, reach=reach, **rules)
    on_gpu = [tensor.cuda() for tensor in inputs]
    reach = reach[0].cuda(), 30.0
    pairs, gains = greedy_d_all_pairs(*on_gpu, 150, reach=reach, **rules)
    assert torch.equal(pairs.cpu(), expected[0])
    np.testing.assert_allclose(gains, expected[1], rtol=1e-8)
