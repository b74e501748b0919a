"""Random is uniform, and looks at nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from skarm.strategies.baseline import random


def draw(n_candidates, n_pairs, seed=0):
    # the number, and that there are no caps, is all it may read
    design = SimpleNamespace(n_pairs=n_candidates, caps=[])
    return random(design, n_pairs, rng=np.random.RandomState(seed))


@pytest.mark.parametrize("n_candidates, n_pairs", [(10, 10), (50, 7), (10**12, 1000)])
def test_random_draws_distinct_pairs_of_utility_zero(n_candidates, n_pairs):
    picks = draw(n_candidates, n_pairs)
    assert len(set(picks.positions)) == n_pairs
    assert picks.positions.dtype == np.intp
    assert 0 <= picks.positions.min() <= picks.positions.max() < n_candidates
    assert picks.utilities.tolist() == [0] * n_pairs


@pytest.mark.parametrize("n_candidates", [12, 120])  # dense and sparse draws
def test_random_is_uniform_without_regard_to_order(n_candidates):
    n_pairs, n_draws = 3, 4000
    rng = np.random.RandomState(0)
    design = SimpleNamespace(n_pairs=n_candidates, caps=[])
    draws = np.array(
        [random(design, n_pairs, rng=rng).positions for _ in range(n_draws)]
    )
    for place in range(n_pairs):
        counts = np.bincount(draws[:, place], minlength=n_candidates)
        expected = n_draws / n_candidates
        chi_square = ((counts - expected) ** 2 / expected).sum()
        freedom = n_candidates - 1
        assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_random_is_seeded():
    np.testing.assert_array_equal(draw(100, 9, 3).positions, draw(100, 9, 3).positions)
    assert set(draw(100, 9, 3).positions) != set(draw(100, 9, 4).positions)
