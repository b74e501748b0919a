"""Every pair by arithmetic, against listing them with itertools."""

import pickle
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

from skarm._data.enumeration import MAX_LISTED_PAIRS, PairEnumeration, sample_indices

SCOPES = ["all", "within", "across"]
SEEDS = range(12)


def random_groups(seed):
    """Up to 12 items in up to 5 groups; the first seeds have none, one and two."""
    rng = np.random.default_rng(seed)
    n_items = [0, 1, 2][seed] if seed < 3 else rng.integers(3, 13)
    return rng.choice(list("vwxyz")[: rng.integers(1, 6)], n_items)


def brute_force(groups, scope):
    """The set of pairs of a scope, the smaller index first."""
    return {
        (i, j)
        for i, j in combinations(range(len(groups)), 2)
        if scope == "all" or (groups[i] == groups[j]) == (scope == "within")
    }


def enumerate_pairs(seed, scope):
    groups = random_groups(seed)
    return PairEnumeration(len(groups), groups, scope), groups


# -------------------------------------------------------------------- brute force


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_lists_each_pair_of_the_scope_once_smaller_index_first(seed, scope):
    enumeration, groups = enumerate_pairs(seed, scope)
    expected = brute_force(groups, scope)
    listed = enumeration[:]
    assert listed.dtype == np.intp
    assert listed.shape == enumeration.shape == (len(expected), 2)
    assert len(enumeration) == len(expected)
    assert set(map(tuple, listed.tolist())) == expected


def test_without_groups_pairs_come_row_by_row():
    np.testing.assert_array_equal(
        PairEnumeration(6)[:], np.stack(np.triu_indices(6, 1), axis=1)
    )


def test_groups_come_one_after_the_other_items_in_their_own_order():
    groups = np.arange(200) % 2
    within = PairEnumeration(200, groups, "within")[:]
    rows = np.stack(np.triu_indices(100, 1), axis=1)
    np.testing.assert_array_equal(within, np.concatenate([2 * rows, 2 * rows + 1]))
    across = PairEnumeration(200, groups, "across")[:]
    evens, odds = np.meshgrid(*(np.arange(200)[groups == g] for g in (0, 1)))
    expected = np.sort(np.stack([evens.T, odds.T], axis=-1).reshape(-1, 2), axis=1)
    np.testing.assert_array_equal(across, expected)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_index_of_inverts_the_listing_in_either_order(seed, scope):
    enumeration, _ = enumerate_pairs(seed, scope)
    listed = enumeration[:]
    for pairs in (listed, listed[:, ::-1]):
        np.testing.assert_array_equal(
            enumeration.index_of(pairs), np.arange(len(listed))
        )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_index_of_is_minus_one_exactly_outside_the_scope(seed, scope):
    enumeration, groups = enumerate_pairs(seed, scope)
    n = len(groups)
    inside = brute_force(groups, scope)
    # All pairs, itself with itself, and items that do not exist.
    probe = [(i, j) for i in range(-2, n + 2) for j in range(-2, n + 2)]
    index = enumeration.index_of(probe)
    for pair, number in zip(probe, index.tolist(), strict=True):
        assert (number >= 0) == (tuple(sorted(pair)) in inside), pair


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_indexing_equals_indexing_the_listed_array(seed, scope):
    enumeration, _ = enumerate_pairs(seed, scope)
    listed, n = enumeration[:], len(enumeration)
    rng = np.random.default_rng(seed)
    keys = [
        slice(2, 7),
        slice(None, None, -1),
        slice(-4, None, 3),
        slice(1000, 2000),
        rng.random(n) < 0.5,
        np.zeros(n, dtype=bool),
        [],
        np.array([], dtype=np.int32),
    ]
    if n:
        keys += [rng.integers(-n, n, 20), rng.integers(0, n, 9).astype(np.uint8)]
    for key in keys:
        np.testing.assert_array_equal(enumeration[key], listed[key])
    for i in range(-n, n):
        np.testing.assert_array_equal(enumeration[i], listed[[i]])


# ------------------------------------------------------------------------- errors


@pytest.mark.parametrize("index", [10, -11, [0, 10], [-11, 3], 2**40])
def test_an_index_outside_raises(index):
    with pytest.raises(IndexError, match="is outside a pool of 10 pairs"):
        PairEnumeration(5)[index]


def test_a_pool_without_pairs_has_no_index_zero():
    for n_items in (0, 1):
        with pytest.raises(IndexError, match="outside a pool of 0 pairs"):
            PairEnumeration(n_items)[0]


@pytest.mark.parametrize("length", [9, 11])
def test_a_mask_of_another_length_raises(length):
    with pytest.raises(IndexError, match=r"one entry per pair \(10\). Got shape"):
        PairEnumeration(5)[np.ones(length, dtype=bool)]


@pytest.mark.parametrize("key", [1.0, [0.5, 2.0], "a", None])
def test_an_index_that_is_not_an_integer_raises(key):
    with pytest.raises(IndexError, match=r"integers, slices or booleans. Got an index"):
        PairEnumeration(5)[key]


@pytest.mark.parametrize("key", [slice(None), slice(1, None), slice(None, None, 1000)])
def test_listing_more_than_memory_should_hold_is_refused(key):
    enumeration = PairEnumeration(1_500_000)
    with pytest.raises(MemoryError, match="listing more than 200000000 is refused"):
        enumeration[key]
    every = len(enumeration) // MAX_LISTED_PAIRS * 1000
    assert len(enumeration[::every]) < MAX_LISTED_PAIRS


# ------------------------------------------------------------------ 10¹² pairs


@pytest.fixture(scope="module")
def big():
    """1.5 million items as 1,000 groups of unequal size, drawn at random."""
    rng = np.random.default_rng(0)
    groups = (1000 * rng.random(1_500_000) ** 2).astype(np.int16)
    return {scope: PairEnumeration(len(groups), groups, scope) for scope in SCOPES}


def test_the_scopes_split_over_10_to_the_12_pairs_exactly(big):
    n = 1_500_000
    assert len(big["all"]) == n * (n - 1) // 2 == 1_124_999_250_000
    assert len(big["within"]) + len(big["across"]) == len(big["all"])
    assert len(big["across"]) > 10**12


@pytest.mark.parametrize("scope", SCOPES)
def test_random_indices_of_10_to_the_12_pairs_are_exact(big, scope):
    enumeration = big[scope]
    n = len(enumeration)
    index = np.random.default_rng(1).integers(0, n, 100_000)
    index = np.concatenate([index, np.arange(100), n - 1 - np.arange(100)])
    pairs = enumeration[index]
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.min() >= 0 and pairs.max() < enumeration.n_items
    np.testing.assert_array_equal(enumeration.index_of(pairs[:, ::-1]), index)


@pytest.mark.parametrize("n", [1_500_000, 2**28])  # 10¹² and 3.6 · 10¹⁶ pairs
def test_row_boundaries_are_exact(n):
    enumeration = PairEnumeration(n)
    rng = np.random.default_rng(2)
    rows = np.unique([*rng.integers(0, n - 1, 20_000), *range(50), *range(n - 50, n)])
    rows = rows[rows < n - 1]
    starts = np.array([row * (2 * n - row - 1) // 2 for row in rows.tolist()])
    np.testing.assert_array_equal(
        enumeration[starts], np.stack([rows, rows + 1], axis=1)
    )
    # The pair before a row's first is the last of the row above.
    above = rows > 0
    np.testing.assert_array_equal(
        enumeration[starts[above] - 1],
        np.stack([rows[above] - 1, np.full(above.sum(), n - 1)], axis=1),
    )


def test_memory_is_linear_in_the_items():
    assert len(pickle.dumps(PairEnumeration(1_500_000))) < 1000
    n = 200_000  # 2 · 10¹⁰ pairs
    groups = np.arange(n) % 50
    tracemalloc.start()
    for scope in SCOPES:
        enumeration = PairEnumeration(n, groups, scope)
        enumeration.index_of(enumeration[[0, len(enumeration) - 1]])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * n


# ------------------------------------------------------------------------ sampling


@pytest.mark.parametrize(
    ("population", "n_samples"),
    [(0, 0), (7, 0), (7, 7), (100, 30), (40, 2), (10**12, 5000), (10**6, 49_000)],
)
def test_samples_are_distinct_in_range_and_seeded(population, n_samples):
    first, again, other = (
        sample_indices(population, n_samples, np.random.RandomState(seed))
        for seed in (3, 3, 4)
    )
    assert len(first) == len(np.unique(first)) == n_samples
    assert first.dtype == np.int64
    assert ((first >= 0) & (first < population)).all()
    np.testing.assert_array_equal(first, again)
    assert n_samples == 0 or not np.array_equal(first, other)


@pytest.mark.parametrize("population", [8, 40])  # by permutation, and by rejection
def test_every_ordered_sample_is_equally_likely(population):
    rng = np.random.RandomState(0)
    draws = np.array([sample_indices(population, 2, rng) for _ in range(15_000)])
    counts = np.bincount(draws @ [population, 1], minlength=population**2)
    counts = counts.reshape(population, population)
    assert (np.diag(counts) == 0).all()
    assert chisquare(counts[~np.eye(population, dtype=bool)]).pvalue > 1e-3


def test_a_fractional_number_of_samples_raises():
    with pytest.raises(TypeError, match="integer"):
        sample_indices(10, 2.5, np.random.RandomState(0))
