"""The bound on log det M against every batch of small pools; what greedy reaches."""

import itertools
import math

import numpy as np
import pytest
import torch
from pair_problems import SCOPES, problem, scope_pairs

from skarm._information import certificate, fisher, pair_pool
from skarm._information.all_pairs import greedy_d_all_pairs
from skarm._information.certificate import (
    d_efficiency,
    rows_of,
    top_of_list,
    top_of_pool,
)
from skarm._information.exchange import exchange_d


def listed(embedding, rewards, pairs):
    """Pairs as the arguments of the list-based rules."""
    first, second = torch.as_tensor(pairs).T.contiguous()
    p = torch.sigmoid(-(rewards[first] - rewards[second]).abs())
    return embedding, first, second, p * (1 - p)


def efficiency(candidates, matrix, picks, **kw):
    """The certificate of a batch from a list."""
    embedding, first, second, weights = candidates
    picks = torch.as_tensor(picks)
    rows = rows_of(embedding, first[picks], second[picks], weights[picks])
    top = top_of_list(*candidates, len(picks))
    return d_efficiency(matrix, rows, picks, top, **kw)


def log_det_of(candidates, matrix, picks):
    embedding, first, second, weights = candidates
    picks = torch.as_tensor(picks)
    chosen = first[picks], second[picks], weights[picks]
    return torch.logdet(matrix + fisher.information(embedding, *chosen)).item()


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(6))
def test_no_batch_is_better_than_the_certificate_of_any_allows(seed, k):
    embedding, rewards, matrix, _ = problem(seed, n_items=6, d=3)
    candidates = listed(embedding, rewards, scope_pairs(6))
    reached = {
        batch: log_det_of(candidates, matrix, batch)
        for batch in itertools.combinations(range(15), k)
    }
    best = max(reached.values())
    rng = np.random.default_rng(seed)
    chosen = [list(reached)[i] for i in rng.integers(len(reached), size=4)]
    for batch in [*chosen, max(reached, key=reached.get)]:
        for n_rounds in (1, 2, 20):
            bound = efficiency(candidates, matrix, batch, n_rounds=n_rounds)
            true = math.exp((reached[batch] - best) / 3)
            assert 0 < bound <= true + 1e-12
    assert bound > 0.7  # of the best batch, whose relaxation may be better still


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_is_tight_where_weights_need_not_be_fractions(seed):
    # Asking every candidate is the only batch of that size.
    embedding, rewards, matrix, _ = problem(seed, n_items=6, d=3)
    candidates = listed(embedding, rewards, scope_pairs(6))
    assert efficiency(candidates, matrix, range(15)) == pytest.approx(1, abs=1e-6)


def test_more_rounds_never_lower_the_certificate():
    embedding, rewards, matrix, _ = problem(2, n_items=30, d=5, scale=1.0)
    candidates = listed(embedding, rewards, scope_pairs(30))
    picks, _ = fisher.greedy_d(*candidates, matrix, 12)
    bounds = [efficiency(candidates, matrix, picks, n_rounds=n) for n in range(1, 8)]
    assert (np.diff(bounds) >= 0).all()
    assert bounds[-1] > bounds[0]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_pool_of_every_pair_has_the_certificate_of_its_list(scope, monkeypatch):
    embedding, rewards, matrix, groups = problem(3, n_items=40, d=6, scale=1.5)
    rules = {"groups": groups, "scope": scope}
    pairs, _ = greedy_d_all_pairs(embedding, rewards, matrix, 20, **rules)
    listing = scope_pairs(40, groups, scope)
    position = {tuple(pair): i for i, pair in enumerate(listing.tolist())}
    picks = [position[tuple(pair)] for pair in pairs.tolist()]
    candidates = listed(embedding, rewards, listing)
    pool = pair_pool.make_pool(embedding, rewards, groups, scope, None)
    place = pool.item.argsort()
    first, second = place[pairs].T
    _, *chosen = listed(embedding, rewards, pairs.numpy())
    for n_rounds in (1, 20):
        found = d_efficiency(
            *(matrix, rows_of(embedding, *chosen), pool.code(first, second)),
            *(top_of_pool(pool, 20), n_rounds),
        )
        expected = efficiency(candidates, matrix, picks, n_rounds=n_rounds)
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("n_items", "d", "n_past", "k"), [(40, 24, 100, 50), (100, 64, 300, 200)]
)
def test_copies_of_every_item_cost_greedy_nothing_and_top_leverage_much(
    n_items, d, n_past, k
):
    rng = np.random.default_rng(0)
    embedding = torch.as_tensor(np.tile(rng.standard_normal((n_items, d)), (4, 1)))
    rewards = embedding @ torch.as_tensor(rng.standard_normal(d)) / d**0.5
    candidates = listed(embedding, rewards, scope_pairs(4 * n_items))
    asked = torch.as_tensor(rng.permutation(len(candidates[1]))[:n_past])
    past = fisher.information(embedding, *(row[asked] for row in candidates[1:]))
    matrix = past + torch.eye(d)
    picks, _ = fisher.greedy_d(*candidates, matrix, k)
    swapped, _ = exchange_d(*candidates, matrix, picks, 2)
    top = fisher.leverage(*candidates, matrix).topk(k).indices
    assert efficiency(candidates, matrix, swapped) >= 0.95
    assert efficiency(candidates, matrix, picks) >= 0.95
    assert efficiency(candidates, matrix, top) <= 0.85


def test_the_certificate_of_nothing_is_one():
    embedding, _, matrix, _ = problem(0, n_items=6, d=3)
    none = embedding[:0], torch.empty(0, dtype=torch.int64)
    assert d_efficiency(matrix, *none, None) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_capped_weights_sum_to_the_batch_and_keep_their_proportions(seed):
    rng = np.random.default_rng(seed)
    weights = torch.as_tensor(rng.gamma(0.3, size=50))
    for k in (1, 10, 49, 50, 60):
        capped = certificate._capped(weights, k)
        assert capped.sum().item() == pytest.approx(min(k, 50))
        assert capped.min() >= 0 and capped.max() <= 1
        free = capped < 1
        ratio = capped[free] / weights[free]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
