"""Network or linear head: what held-out comparisons can and cannot tell."""

import threading

import numpy as np
import pytest
import torch
from scipy.special import expit

from skarm._model.choice import linear_head, network_pays, side_by_side

RIGHT, USELESS = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def problem(n_pairs=400, seed=0):
    """Two features, of which the first alone is the reward."""
    rng = np.random.default_rng(seed)
    items = 2 * rng.standard_normal((100, 2))
    first = rng.integers(0, 100, n_pairs)
    pairs = np.column_stack([first, (first + rng.integers(1, 100, n_pairs)) % 100])
    p = expit(np.subtract(*items[pairs.T, 0]))
    return items, pairs, (rng.random(n_pairs) < p) * 1.0, np.ones(n_pairs)


def pays(head, network, data):
    items, pairs, y, weights = data
    logits = [np.subtract(*(items @ coef)[pairs.T]) for coef in (head, network)]
    return network_pays(*logits, y, weights)


def test_the_better_of_two_is_kept_and_the_simpler_of_equals():
    data = problem()
    assert pays(USELESS, RIGHT, data)
    assert not pays(RIGHT, USELESS, data)
    assert not pays(RIGHT, RIGHT, data)


def test_a_gain_within_its_standard_error_is_luck():
    chosen = [
        pays(USELESS, -USELESS, problem(50, seed)) for seed in range(200)
    ]  # neither is any good
    assert 0.005 < np.mean(chosen) < 0.1  # one normal in 35 exceeds 1.9 s.e.


def test_the_unit_of_the_weights_does_not_matter():
    chosen = []
    for seed in range(30):
        items, pairs, y, _ = problem(40, seed)
        times = np.random.default_rng(seed).integers(1, 5, 40)
        one, other = (
            pays(USELESS, -USELESS, (items, pairs, y, unit * times))
            for unit in (1.0, 7.0)
        )
        assert one == other
        chosen.append(one)
    assert any(chosen) and not all(chosen)


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("at_once", [False, True])
def test_training_and_solving_share_the_threads_there_are(
    n_threads, at_once, torch_threads
):
    torch_threads(n_threads)
    together = at_once and n_threads == 2
    caller, met = threading.get_ident(), threading.Barrier(2 if together else 1)

    def job():
        met.wait(timeout=60)  # where they run together, both must come here at once
        return threading.get_ident(), torch.get_num_threads()

    (trained_in, n_training), (solved_in, _) = side_by_side(job, job, at_once)
    assert trained_in == caller and n_training == (1 if together else n_threads)
    assert (solved_in == caller) == (not together)
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("failing", [0, 1])
def test_what_either_raises_is_raised_and_the_threads_are_given_back(
    failing, torch_threads
):
    torch_threads(2)

    def fail():
        raise FloatingPointError("of the job")

    jobs = [lambda: 1, lambda: 2]
    jobs[failing] = fail
    with pytest.raises(FloatingPointError, match="of the job"):
        side_by_side(*jobs, at_once=True)
    assert torch.get_num_threads() == 2


def test_nothing_is_fitted_where_nothing_is_held_out():
    data = problem()
    assert linear_head(None, data, np.zeros(400, dtype=bool), "normal", None) is None
