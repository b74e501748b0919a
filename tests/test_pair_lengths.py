"""Lengths of differences, whichever way they are computed."""

import numpy as np
import pytest
import torch

from skarm._information import pair_lengths


def problem(seed, n_items=40, d=6, n_pairs=500):
    rng = np.random.default_rng(seed)
    u = torch.as_tensor(rng.standard_normal((n_items, d)))
    first = torch.as_tensor(rng.integers(0, n_items, n_pairs))
    return u, first, torch.as_tensor(rng.integers(0, n_items, n_pairs))


@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("n_pairs", [0, 1, 500, 40**2, 40**2 + 1, 5000])
def test_squared_distances_are_those_of_the_differences(n_pairs, index_dtype):
    u, first, second = problem(0, n_pairs=n_pairs)
    first, second = first.to(index_dtype), second.to(index_dtype)
    expected = (u[first] - u[second]).square().sum(dim=1)
    found = pair_lengths.squared_distances(u, first, second)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("gap", [1e-1, 1e-4, 1e-7])
def test_items_much_nearer_than_the_rest_lose_no_digits(gap):
    u, first, second = problem(1)
    u[20:] = u[:20] + gap * u[20:]
    first[:20], second[:20] = torch.arange(20), torch.arange(20, 40)
    expected = (u[first] - u[second]).square().sum(dim=1)
    found = pair_lengths.squared_distances(u, first, second)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_equal_rows_have_distance_zero_and_repeated_pairs_equal_ones():
    u, first, second = problem(2)
    u[7] = u[3]
    first[:4] = torch.tensor([3, 7, 5, 9])
    second[:4] = torch.tensor([7, 3, 9, 5])
    found = pair_lengths.squared_distances(u, first, second)
    assert (found[:2] == 0).all()
    assert found[2] == found[3] > 0


@pytest.mark.filterwarnings("error")
def test_nobody_is_warned_of_how_it_is_done():
    assert (pair_lengths.squared_distances(*problem(3)) >= 0).all()
