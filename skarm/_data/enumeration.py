"""Every pair of items, numbered by arithmetic: length and indexing, no memory.

`PairEnumeration` behaves like the ``(n_pairs, 2)`` array of all pairs of a scope,
but holds only one integer per item. Pairs are numbered over the items sorted by
group (a stable sort, so with one group the order is the items' own):

- ``"all"`` and ``"within"`` list each block of ``m`` items row by row,
  ``(0, 1), (0, 2), ..., (0, m - 1), (1, 2), ...``; row ``i`` starts at
  ``i (2 m - i - 1) / 2``, and a square root finds the row of a number;
- ``"across"`` lists, item by item, all items of the later groups.
"""

import operator

import numpy as np

__all__ = ["SCOPES", "PairEnumeration", "sample_indices"]

SCOPES = ("all", "within", "across")

#: Listing more pairs than this at once is refused, not attempted.
MAX_LISTED_PAIRS = 200_000_000


class PairEnumeration:
    """The pairs of a scope as a read-only sequence computed on demand.

    Parameters
    ----------
    n_items : int
        Number of items.
    groups : array-like of shape (n_items,), default=None
        Group of each item; needed by ``"within"`` and ``"across"``.
    scope : {"all", "within", "across"}, default="all"
        Which pairs: all, those inside a group, or those between groups.

    Notes
    -----
    Memory is O(n_items); a lookup of k pairs costs O(k log n_groups). Exact for more
    than 10¹² pairs: the square root is only a first guess, corrected in integers.
    """

    def __init__(self, n_items, groups=None, scope="all"):
        self.n_items = int(n_items)
        self.scope = scope
        if scope == "all":
            self._order = None
            sizes = np.array([self.n_items], dtype=np.int64)
        else:
            codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
            self._order = np.argsort(codes, kind="stable").astype(np.int64)
            sizes = np.bincount(codes).astype(np.int64)
        self._sizes = sizes
        self._starts = np.concatenate([[0], np.cumsum(sizes)])  # first item of a group
        if scope == "across":
            counts = sizes * (self.n_items - self._starts[1:])
        else:
            counts = sizes * (sizes - 1) // 2
        self._offsets = np.concatenate([[0], np.cumsum(counts)])  # first pair of it

    def __len__(self):
        return int(self._offsets[-1])

    @property
    def shape(self):
        """Shape of the array this stands for."""
        return (len(self), 2)

    def __getitem__(self, key):
        """Pairs at one index, a slice, or an array of indices, as (k, 2) intp."""
        n_pairs = len(self)
        if isinstance(key, slice):
            listed = range(*key.indices(n_pairs))
            if len(listed) > MAX_LISTED_PAIRS:
                raise MemoryError(
                    f"this pool has {n_pairs} pairs; listing more than "
                    f"{MAX_LISTED_PAIRS} is refused. Index the part you need."
                )
            index = np.arange(listed.start, listed.stop, listed.step, dtype=np.int64)
        else:
            index = np.asarray(key)
            if index.dtype == bool:
                if index.shape != (n_pairs,):
                    raise IndexError(
                        f"a boolean mask must have one entry per pair ({n_pairs}). "
                        f"Got shape {index.shape}."
                    )
                index = np.flatnonzero(index)
            elif index.size == 0:
                index = index.astype(np.int64)
            elif index.dtype.kind not in "iu":
                raise IndexError(
                    "pairs are indexed by integers, slices or booleans. "
                    f"Got an index of dtype {index.dtype}."
                )
            index = index.astype(np.int64).reshape(-1)
            outside = (index < -n_pairs) | (index >= n_pairs)
            if outside.any():
                raise IndexError(
                    f"index {index[outside][0]} is outside a pool of {n_pairs} pairs."
                )
            index = np.where(index < 0, index + n_pairs, index)
        return self._pairs_at(index)

    def _pairs_at(self, index):
        group = np.searchsorted(self._offsets, index, side="right") - 1
        local = index - self._offsets[group]
        start, size = self._starts[group], self._sizes[group]
        if self.scope == "across":
            after = self.n_items - start - size  # items in later groups
            first = start + local // np.maximum(after, 1)
            second = start + size + local % np.maximum(after, 1)
        else:
            row = _row_of(local, size)
            first = start + row
            second = start + local - _row_start(row, size) + row + 1
        pairs = np.stack([first, second], axis=1)
        if self._order is not None:
            pairs = np.sort(self._order[pairs], axis=1)
        return pairs.astype(np.intp)

    def index_of(self, pairs):
        """Number of each pair, in either order; -1 for pairs outside the scope.

        Parameters
        ----------
        pairs : array-like of shape (k, 2)
            Item indices.

        Returns
        -------
        index : ndarray of shape (k,), int64
            Such that ``self[index]`` are these pairs, sorted within rows.
        """
        pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        if len(self) == 0:
            return np.full(len(pairs), -1)
        known = ((pairs >= 0) & (pairs < self.n_items)).all(axis=1)
        pairs = np.where(known[:, None], pairs, 0)  # (0, 0) is in no scope
        if self._order is None:
            place = pairs
        else:
            rank = np.empty(self.n_items, dtype=np.int64)
            rank[self._order] = np.arange(self.n_items)
            place = rank[pairs]
        first, second = place.min(axis=1), place.max(axis=1)
        group = np.searchsorted(self._starts, first, side="right") - 1
        start, size = self._starts[group], self._sizes[group]
        same = second < start + size
        if self.scope == "across":
            after = self.n_items - start - size
            local = (first - start) * after + (second - start - size)
            inside = ~same
        else:
            row = first - start
            local = _row_start(row, size) + (second - start) - row - 1
            inside = same & (first != second)
        return np.where(inside, self._offsets[group] + local, -1)

    def sample(self, n_pairs, random_state):
        """Draw distinct pair numbers without enumerating the pool.

        Parameters
        ----------
        n_pairs : int
            How many; at most ``len(self)``.
        random_state : RandomState
            Where the randomness comes from.

        Returns
        -------
        index : ndarray of shape (n_pairs,), int64
            Distinct, in random order.
        """
        return sample_indices(len(self), n_pairs, random_state)


def sample_indices(population, n_samples, random_state):
    """Distinct integers below `population`, in random order, in O(n_samples) memory.

    Parameters
    ----------
    population : int
        Exclusive upper bound.
    n_samples : int
        How many.
    random_state : RandomState
        Where the randomness comes from.

    Returns
    -------
    index : ndarray of shape (n_samples,), int64
        Distinct.
    """
    population, n_samples = operator.index(population), operator.index(n_samples)
    if n_samples * 20 > population:
        return random_state.permutation(population)[:n_samples].astype(np.int64)
    index = np.empty(0, dtype=np.int64)
    while len(index) < n_samples:  # few draws collide: n_samples is below 5 %
        draw = random_state.randint(0, population, size=n_samples, dtype=np.int64)
        index = np.concatenate([index, draw])
        _, keep = np.unique(index, return_index=True)
        index = index[np.sort(keep)]
    return index[:n_samples]


def _row_start(row, size):
    """Number of the first pair of a row of a block of `size` items."""
    return row * (2 * size - row - 1) // 2


def _row_of(local, size):
    """Row of the pair number `local` in a block of `size` items."""
    b = 2.0 * size - 1.0
    row = ((b - np.sqrt(np.maximum(b * b - 8.0 * local, 0.0))) / 2).astype(np.int64)
    row = np.clip(row, 0, np.maximum(size - 2, 0))
    row -= _row_start(row, size) > local  # the float guess is off by one at most
    row += _row_start(row + 1, size) <= local
    return row
