"""Network or linear head: what held-out comparisons can and cannot tell."""

import numpy as np
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
    assert 0.05 < np.mean(chosen) < 0.25  # one normal in six exceeds one s.e.


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
