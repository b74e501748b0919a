"""Which pairs of a pool may be chosen: candidates, exclusions, repeated questions."""

import numpy as np

from skarm._data.enumeration import PairEnumeration, sample_indices
from skarm._data.items import same_items
from skarm.exceptions import PoolExhaustedError

__all__ = ["MAX_CANDIDATES", "as_indices", "candidate_indices", "excluded_indices"]

#: Pools with more candidates than this are thinned to a random subset of this size.
MAX_CANDIDATES = 200_000
#: Odd, and 2⁶⁴ over the golden ratio: its products spread whole numbers evenly over
#: their upper bits (Knuth, "The art of computer programming" 3, section 6.4).
SPREAD = np.uint64(0x9E3779B97F4A7C15)


def candidate_indices(pool, candidates, exclude, n_pairs, rng):
    """Indices into the pool that may be chosen, at most `MAX_CANDIDATES` of a pool.

    Parameters
    ----------
    pool : Comparisons
        All pairs.
    candidates, exclude
        As users give them to :meth:`skarm.ActiveComparisonSampler.query`.
    n_pairs : int
        How many will be chosen.
    rng : RandomState
        Thins large pools, and decides which of several copies of a question stays.

    Returns
    -------
    index : ndarray of intp
        Ascending. Of several copies of a question (the same two items in either order)
        one is kept, unless all are needed.

    Raises
    ------
    PoolExhaustedError
        If fewer than `n_pairs` are left.
    ValueError
        If `candidates` or `exclude` are not indices into the pool.
    """
    n_pool = len(pool)
    n_most = max(MAX_CANDIDATES, n_pairs)
    banned = np.empty(0, dtype=np.int64)
    if exclude is not None:
        banned = excluded_indices(pool, exclude)
    if candidates is not None:
        index = np.unique(as_indices(candidates, n_pool, "candidates"))
    elif n_pool > n_most:
        # Enough that what is left after the exclusions is still a full draw.
        size = min(n_pool, n_most + len(banned))
        index = np.sort(sample_indices(n_pool, size, rng))
    else:
        index = np.arange(n_pool)
    if len(banned):
        index = index[~np.isin(index, banned)]
    if len(index) > n_most and candidates is None:
        index = np.sort(rng.permutation(index)[:n_most])
    if n_pairs > len(index):
        raise PoolExhaustedError(
            f"n_pairs must be at most the number of candidates left, {len(index)} of "
            f"{n_pool} in the pool. Got n_pairs={n_pairs}. Ask for fewer, or offer a "
            "larger pool."
        )
    return index if pool.is_lazy else _distinct_questions(pool, index, n_pairs, rng)


def _distinct_questions(pool, index, n_pairs, rng):
    """One random copy of each question, if that leaves enough."""
    pairs = pool.pairs if len(index) == len(pool) else pool.pairs[index]
    first, second = pairs.astype(np.int64, copy=False).T
    lesser, greater = np.minimum(first, second), np.maximum(first, second)
    code = (greater * (greater + 1) >> 1) + lesser
    if _are_distinct(code):
        return index
    order = rng.permutation(len(code))
    distinct = np.sort(order[np.unique(code[order], return_index=True)[1]])
    return index[distinct] if len(distinct) >= n_pairs else index


def _are_distinct(codes):
    """Whether no code is there twice: in linear time, and in little of the cache.

    One of those that hash to a slot holds it; equal codes hash to the same. So of two
    equal ones either one holds the slot, or neither does and both are left over.
    """
    if not len(codes):
        return True
    n_bits = (2 * len(codes)).bit_length()
    slots = (codes.view(np.uint64) * SPREAD >> np.uint64(64 - n_bits)).view(np.int64)
    places = np.arange(len(codes), dtype=np.int32)
    held_by = np.empty(2**n_bits, dtype=np.int32)
    held_by[slots] = places
    holders = held_by.take(slots)
    without = np.flatnonzero(holders != places)
    left = codes.take(without)
    if (codes.take(holders.take(without)) == left).any():
        return False
    left.sort()
    return bool((left[1:] != left[:-1]).all())


def as_indices(index, n_pool, name):
    """Indices or a mask, as indices.

    Parameters
    ----------
    index : array-like of int or bool
        What a user passed.
    n_pool : int
        Number of pairs.
    name : str
        What it is called in an error.

    Returns
    -------
    index : ndarray of int64
        As given.

    Raises
    ------
    ValueError
        If it is neither, or points outside the pool.
    """
    index = np.asarray(index)
    if index.dtype == bool:
        if index.shape != (n_pool,):
            raise ValueError(
                f"a boolean {name} must have one entry per pair of the pool, {n_pool}. "
                f"Got shape {index.shape}."
            )
        return np.flatnonzero(index)
    if index.size == 0:
        return np.empty(0, dtype=np.int64)
    if index.dtype.kind not in "iu" or index.ndim != 1:
        raise ValueError(
            f"{name} must be indices into the pool. "
            f"Got dtype {index.dtype} and shape {index.shape}."
        )
    outside = (index < 0) | (index >= n_pool)
    if outside.any():
        raise ValueError(
            f"{name} must be indices from 0 to {n_pool - 1}. Got {index[outside][0]}."
        )
    return index.astype(np.int64)


def excluded_indices(pool, exclude):
    """Indices of what must not be chosen.

    Parameters
    ----------
    pool : Comparisons
        All pairs.
    exclude : Comparisons, or array-like of int or bool
        Pairs of the same items, or indices.

    Returns
    -------
    index : ndarray of int64
        Into the pool.

    Raises
    ------
    ValueError
        If the items are other items, or the indices are not valid.
    """
    if not hasattr(exclude, "pairs"):
        return as_indices(exclude, len(pool), "exclude")
    if not same_items(exclude.items, pool.items):
        raise ValueError(
            "exclude must be comparisons of the pool's own items, because pairs are "
            f"matched by item index. Got other items ({exclude!r} against {pool!r}). "
            "Pass indices into the pool instead."
        )
    if pool.is_lazy:
        index = pool._pairs.index_of(exclude.pairs)
        return index[index >= 0]
    everything = PairEnumeration(pool.n_items)
    banned = everything.index_of(exclude.pairs)
    return np.flatnonzero(np.isin(everything.index_of(pool.pairs), banned))
