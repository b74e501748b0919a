"""Exchange passes against all swaps, and against all batches of a tiny pool."""

import itertools

import numpy as np
import pytest
import torch
from test_fisher import differences, log_det, minus_trace, problem, second_moment

from skarm._information import fisher
from skarm._information.exchange import exchange_d, exchange_v

SEEDS = range(6)


def value_of(criterion, candidates, matrix, target):
    """What the criterion says of a batch."""
    X, weights = differences(*candidates[:3]).numpy(), candidates[3].numpy()
    value = log_det if criterion == "d" else minus_trace(target)

    def of(picks):
        x = X[list(picks)]
        return float(value(matrix.numpy() + x.T @ (weights[list(picks), None] * x)))

    return of


def setting(criterion, seed, **sizes):
    """A problem, its value function, greedy and exchange with the same arguments."""
    *candidates, matrix = problem(seed, **sizes)
    target = second_moment(differences(*candidates[:3]))
    more = [] if criterion == "d" else [target]
    greedy = fisher.greedy_d if criterion == "d" else fisher.greedy_v
    rule = exchange_d if criterion == "d" else exchange_v
    return (
        value_of(criterion, candidates, matrix, target),
        lambda n, **kw: greedy(*candidates, matrix, *more, n, **kw),
        lambda picks, n, **kw: rule(*candidates, matrix, *more, picks, n, **kw),
        candidates,
    )


@pytest.mark.parametrize("criterion", ["d", "v"])
@pytest.mark.parametrize("seed", SEEDS)
def test_passes_never_lower_the_criterion_and_end_where_no_swap_helps(criterion, seed):
    value, _, exchange, _ = setting(criterion, seed)
    batch = list(np.random.default_rng(seed).permutation(40)[:8])
    before = start = value(batch)
    for _ in range(20):
        swapped, gains = exchange(batch, 1)
        assert value(swapped) >= before - 1e-10
        assert sum(gains) == pytest.approx(value(swapped) - value([]))
        if set(swapped) == set(batch):
            break
        batch, before = swapped, value(swapped)
    else:
        pytest.fail("no local optimum")
    assert len(set(batch)) == 8
    assert before > start
    swaps = (
        [*(set(batch) - {out}), new]
        for out in batch
        for new in set(range(40)) - set(batch)
    )
    assert max(map(value, swaps)) <= before + 1e-9 * abs(before)


@pytest.mark.parametrize("criterion", ["d", "v"])
def test_greedy_and_exchange_come_close_to_the_best_batch_of_a_tiny_pool(criterion):
    n_found = 0
    for seed in range(10):
        sizes = {"n_items": 6, "d": 2, "n_pairs": 11}
        value, greedy, exchange, _ = setting(criterion, seed, **sizes)
        best = max(map(value, itertools.combinations(range(11), 4)))
        picks, _ = greedy(4)
        swapped, _ = exchange(picks, 10)
        assert value(picks) - 1e-10 <= value(swapped) <= best + 1e-10
        n_found += value(swapped) >= best - 1e-9
    assert n_found >= 8


@pytest.mark.parametrize("criterion", ["d", "v"])
def test_the_best_swap_of_a_pick_is_the_one_that_is_made(criterion):
    value, _, exchange, _ = setting(criterion, 0)
    (swapped,), _ = exchange([3], 1)
    assert value([swapped]) == max(value([i]) for i in range(40))


@pytest.mark.parametrize("criterion", ["d", "v"])
@pytest.mark.parametrize("seed", SEEDS)
def test_caps_are_kept(criterion, seed):
    value, _, exchange, candidates = setting(criterion, seed)
    codes = torch.stack(candidates[1:3], dim=1)
    batch = []  # any that keeps to the caps
    for pick in range(40):
        if not (codes[[*batch, pick]].flatten().bincount() > 2).any():
            batch.append(pick)
    batch = batch[:8]
    swapped, _ = exchange(batch, 5, caps=[(codes, 2)])
    assert codes[swapped].flatten().bincount().max() <= 2
    assert len(set(swapped)) == 8
    assert value(swapped) > value(batch)
    assert value(swapped) <= value(exchange(batch, 5)[0]) + 1e-9


@pytest.mark.parametrize("criterion", ["d", "v"])
def test_a_pick_that_carries_a_direction_alone_can_be_swapped(criterion):
    # without it M is singular but for a prior of 1e-10
    candidates = problem(1)[:4]
    tiny = 1e-10 * torch.eye(3, dtype=torch.float64)
    target = torch.eye(3, dtype=torch.float64)
    more = [] if criterion == "d" else [target]
    rule = exchange_d if criterion == "d" else exchange_v
    value = value_of(criterion, candidates, tiny, target)
    swapped, _ = rule(*candidates, tiny, *more, [0, 1, 2], 20)
    best = max(map(value, itertools.combinations(range(40), 3)))
    assert value([0, 1, 2]) < value(swapped) <= best + 1e-6


def test_no_input_is_changed_and_progress_is_told():
    _, _, exchange, candidates = setting("d", 0)
    picks, calls = list(range(5)), []
    before = [tensor.clone() for tensor in candidates]
    exchange(picks, 1, progress=lambda *args: calls.append(args))
    assert picks == list(range(5))
    assert calls == [(i, 5) for i in range(1, 6)]
    for old, new in zip(before, candidates, strict=True):
        assert torch.equal(old, new)
