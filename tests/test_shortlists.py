"""Looking at few candidates finds the picks that looking at all of them finds."""

import numpy as np
import pytest
import torch

from skarm._information import fisher, shortlists


def problem(seed, n_items=60, d=5, n_pairs=900, ridge=0.5):
    rng = np.random.default_rng(seed)
    phi = torch.as_tensor(rng.standard_normal((n_items, d)))
    first = rng.integers(0, n_items, n_pairs)
    second = (first + rng.integers(1, n_items, n_pairs)) % n_items
    weights = torch.as_tensor(rng.uniform(0.01, 0.25, n_pairs))
    matrix = ridge * torch.eye(d, dtype=torch.float64)
    return phi, torch.as_tensor(first), torch.as_tensor(second), weights, matrix


def both_ways(problem, n_pairs, costs=None, close=None):
    """Greedy D by lists, and with everyone's gains after every pick."""
    yield fisher.greedy_d(*problem, n_pairs, costs=costs, close=close)
    yield fisher.greedy(fisher.DGains(*problem), n_pairs, costs, close, None)


@pytest.fixture(params=[(20, 100), (60, 400), (400, 10_000)])
def short(request, monkeypatch):
    """Lists of 4 to 80 candidates, which may double a few times."""
    length, most = request.param
    monkeypatch.setattr(shortlists, "LEAST", 4)
    monkeypatch.setattr(shortlists, "LIST_NUMBERS", length)
    monkeypatch.setattr(shortlists, "MOST_LIST_NUMBERS", most)


@pytest.mark.parametrize("with_costs", [False, True])
@pytest.mark.parametrize("ridge", [1e-3, 0.5, 50.0])
@pytest.mark.parametrize("seed", range(3))
def test_lists_change_no_pick(seed, ridge, with_costs, short):
    inputs, costs = problem(seed, ridge=ridge), None
    if with_costs:
        costs = torch.as_tensor(np.random.default_rng(9).uniform(1, 5, 900))
    (picks, gains), (expected, all_gains) = both_ways(inputs, 250, costs)
    assert picks == expected
    np.testing.assert_allclose(gains, all_gains, rtol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_lists_leave_alone_who_is_closed(seed, short):
    inputs = problem(seed)
    first = inputs[1].numpy()

    def close(position):  # each first item at most once
        return np.flatnonzero(first == first[position])

    (picks, _), (expected, _) = both_ways(inputs, 100, close=close)
    assert picks == expected
    assert len(picks) == len(np.unique(first)) < 100


def test_where_everyone_ties_the_earlier_win(short):
    phi = torch.eye(2, dtype=torch.float64).repeat(50, 1)
    pairs = torch.arange(100).reshape(-1, 2)  # all with the same difference
    weights, matrix = torch.full((50,), 0.25).double(), torch.eye(2).double()
    picks, _ = fisher.greedy_d(phi, *pairs.T, weights, matrix, 50)
    assert picks == list(range(50))


def test_most_picks_look_at_few(monkeypatch):
    looks, look = [], shortlists._Everyone.look

    def count(self, *state):
        looks.append(len(self.positions))
        return look(self, *state)

    monkeypatch.setattr(shortlists._Everyone, "look", count)
    n_pairs = 20_000
    fisher.greedy_d(*problem(0, 500, 16, n_pairs, ridge=100.0), 100)
    assert sum(looks) < 100 * n_pairs / 10
