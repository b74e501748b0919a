"""Geometry through the items agrees with the differences themselves."""

import numpy as np
import pytest

from skarm.strategies import Design
from skarm.strategies._differences import Differences, spread_out, squared_distances

SEEDS = range(3)


def problem(seed, offset=0.0):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((30, 4)) + offset
    first = rng.integers(0, 30, 70)
    pairs = np.column_stack([first, (first + rng.integers(1, 30, 70)) % 30])
    return Design(pairs, lambda: items), items[pairs[:, 0]] - items[pairs[:, 1]]


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("seed", SEEDS)
def test_products_lengths_and_sums_are_those_of_the_differences(seed, offset):
    design, x = problem(seed, offset)
    rng = np.random.default_rng(seed)
    order = rng.permutation(70)
    differences, x = Differences(design, order), x[order]
    assert len(differences) == 70
    np.testing.assert_allclose(differences[:], x, atol=1e-12)
    np.testing.assert_allclose(differences.squared_lengths, (x**2).sum(axis=1))
    directions = rng.standard_normal((3, 4))
    np.testing.assert_allclose(differences.along(directions), x @ directions.T)
    np.testing.assert_allclose(differences.along(directions[0]), x @ directions[0])
    labels, signs = rng.integers(0, 5, 70), rng.choice([-1.0, 1.0], 70)
    expected = [(signs[labels == k] @ x[labels == k]) for k in range(5)]
    np.testing.assert_allclose(differences.sums(labels, signs, 5), expected, atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_nearest_of_others_is_looked_for_on_both_sides(seed):
    design, x = problem(seed)
    others = np.vstack([np.random.default_rng(seed).standard_normal((9, 4)), -x[:3]])
    gaps = [((x[:, None] + s * others) ** 2).sum(axis=2).min(axis=1) for s in (-1, 1)]
    expected = np.minimum(*gaps)
    found = Differences(design).nearest(others)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert (found[:3] == 0).all() and expected[3:].min() > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_distances_are_exact_and_zero_between_equals(seed):
    x = np.random.default_rng(seed).standard_normal((20, 5)) * 1e4
    squares = (x**2).sum(axis=1)
    found = squared_distances(squares[:, None], squares, x @ x.T)
    expected = ((x[:, None] - x) ** 2).sum(axis=2)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (np.diag(found) == 0).all()


def test_draws_are_in_proportion_and_only_open_ones():
    weights = np.array([0.0, 1.0, 5.0, 2.0, 0.0, 2.0])
    is_open = np.array([True, True, False, True, True, True])
    rng = np.random.RandomState(0)
    drawn = [spread_out(weights, is_open, rng) for _ in range(5000)]
    share = np.bincount(drawn, minlength=6) / 5000
    np.testing.assert_allclose(share, [0, 0.2, 0, 0.4, 0, 0.4], atol=0.03)
    assert share[[0, 2, 4]].tolist() == [0, 0, 0]


def test_without_any_weight_the_open_ones_are_alike():
    is_open = np.array([True, False, True, True])
    rng = np.random.RandomState(0)
    drawn = [spread_out(np.zeros(4), is_open, rng) for _ in range(3000)]
    share = np.bincount(drawn, minlength=4) / 3000
    np.testing.assert_allclose(share, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.04)
