"""Network or linear head: what held-out comparisons can and cannot tell."""

import numpy as np
import pytest
from scipy.special import expit

from skarm._model.choice import network_pays

RIGHT, USELESS = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def problem(n_pairs=400, seed=0):
    """Two features, of which the first alone is the reward."""
    rng = np.random.default_rng(seed)
    items = 2 * rng.standard_normal((100, 2))
    first = rng.integers(0, 100, n_pairs)
    pairs = np.column_stack([first, (first + rng.integers(1, 100, n_pairs)) % 100])
    p = expit(np.subtract(*items[pairs.T, 0]))
    return items, pairs, (rng.random(n_pairs) < p) * 1.0, np.ones(n_pairs)


def pays(head, network, data, mask):
    items, *comparisons = data
    fits = [(items, lambda *_, coef=coef: coef) for coef in (head, network)]
    return network_pays(fits, *comparisons, mask)


def test_the_better_of_two_is_kept_and_the_simpler_of_equals():
    data, mask = problem(), np.arange(400) < 200
    assert pays(USELESS, RIGHT, data, mask)
    assert not pays(RIGHT, USELESS, data, mask)
    assert not pays(RIGHT, RIGHT, data, mask)


def test_a_gain_within_its_standard_error_is_luck():
    chosen = [
        pays(USELESS, -USELESS, problem(100, seed), np.arange(100) < 50)
        for seed in range(200)
    ]  # neither is any good
    assert 0.05 < np.mean(chosen) < 0.25  # one normal in six exceeds one s.e.


def test_a_last_layer_sees_training_comparisons_only():
    items, pairs, y, weights = problem()
    mask = np.arange(400) % 3 == 0
    seen = []

    def solve(features, *rows):
        seen.append(rows)
        return RIGHT

    network_pays([(items, solve)] * 2, pairs, y, weights, mask)
    for rows in seen:
        for found, given in zip(rows, (pairs, y, weights), strict=True):
            np.testing.assert_array_equal(found, given[~mask])


def test_weights_are_repetitions():
    items, pairs, y, weights = problem(60)
    times = np.random.default_rng(1).integers(1, 5, 60)
    mask, fits = np.arange(60) < 30, [(items, lambda *_: RIGHT)] * 2
    fits[0] = items, lambda *_: USELESS
    found = network_pays(fits, pairs, y, weights * times, mask)
    scaled = network_pays(fits, pairs, y, 7.0 * times, mask)
    assert found == scaled


@pytest.mark.parametrize("network", [RIGHT, USELESS])
def test_with_nothing_held_out_the_network_stays(network):
    assert pays(RIGHT, network, problem(), np.zeros(400, dtype=bool))
