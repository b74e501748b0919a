"""The data convention of skarm, written once.

===========  ==================================================================
item         a thing that can be compared: a row of `items`
pair         two different item indices, *first* and *second*; `pairs` has shape
             ``(n_pairs, 2)``. As a question it has no order; as storage it has
comparison   a pair and its outcome
`y`          one number per comparison in [0, 1]: 1 = first preferred, 0 = second
             preferred, 0.5 = tie, any fraction = share of annotators or a soft
             label, NaN = not asked yet
reward       the model's value of an item, in log-odds (nats):
             P(first preferred) = sigmoid(reward_first - reward_second)
group        the prompt an item answers; a pair is *within* a group or *across*
===========  ==================================================================

`X` of ``fit``, ``score`` and ``query`` is a :class:`Comparisons`, or the same thing
materialised as an array of shape ``(n_pairs, 2, n_features)``, or, for ``fit`` and
``score``, items ``(n_items, n_features)`` with a real-valued rating each, every pair
with different ratings being an implied comparison.
"""

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing, check_random_state

from skarm._data.enumeration import SCOPES, PairEnumeration
from skarm._data.items import (
    as_numpy,
    check_item_groups,
    check_items,
    first_appearance,
    same_items,
    stack_items,
    to_dense,
)
from skarm._data.reprs import comparisons_html, comparisons_text

__all__ = ["Comparisons"]


class Comparisons:
    """Pairs of items, and the items they name.

    Behaves as an array along its first axis, one row per pair: it has ``len`` and
    ``shape``, slices share the items, and every scikit-learn splitter and search
    works on it without copying an item. Immutable.

    Parameters
    ----------
    items : array-like
        What is compared, one row per item: an array or memmap ``(n_items,
        n_features)``, a CSR matrix, a DataFrame, a torch tensor (converted to numpy),
        or a list, array or Series of texts. Not copied.
    pairs : array-like of shape (n_pairs, 2)
        Indices of the first and second item of each pair; two different items a row.
    groups : array-like of shape (n_items,), default=None
        Group (prompt) of each **item**; kept along.

    Attributes
    ----------
    items : array, sparse matrix, DataFrame or ndarray of object
        The items.
    pairs : ndarray of shape (n_pairs, 2), intp
        The pairs. A lazy pool enumerates them when this is read.
    groups : ndarray of shape (n_items,) or None
        Group of each item.

    Raises
    ------
    ValueError
        If a pair names one item twice, or an item that does not exist, or if the
        lengths of `items` and `groups` disagree.

    See Also
    --------
    Comparisons.all_pairs : A pool of every pair that takes no memory.

    Examples
    --------
    >>> from skarm import Comparisons
    >>> answers = ["Yes.", "No idea.", "Yes, at noon."]
    >>> asked = Comparisons(answers, [[0, 1], [2, 1]])
    >>> len(asked), asked.shape
    (2, (2, 2))
    >>> asked[1:].pairs
    array([[2, 1]])
    >>> len(Comparisons.all_pairs(answers))
    3
    """

    def __init__(self, items, pairs, *, groups=None):
        items = check_items(items)
        n_items = items.shape[0]
        pairs = np.asarray(pairs)
        if pairs.size == 0:
            pairs = np.empty((0, 2), dtype=np.intp)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise ValueError(
                "pairs must be an integer array of shape (n_pairs, 2), the indices of "
                f"the first and second item. Got shape {pairs.shape} of dtype "
                f"{pairs.dtype}. For features of shape (n_pairs, 2, n_features) use "
                "Comparisons.from_array."
            )
        outside = (pairs < 0) | (pairs >= n_items)
        if outside.any():
            row = int(np.flatnonzero(outside.any(axis=1))[0])
            raise ValueError(
                f"pairs must hold item indices from 0 to {n_items - 1}, because items "
                f"has {n_items} rows. Row {row} is {tuple(pairs[row].tolist())}. "
                "Correct the index, or pass the items it refers to."
            )
        equal = pairs[:, 0] == pairs[:, 1]
        if equal.any():
            row = int(np.flatnonzero(equal)[0])
            raise ValueError(
                "pairs must hold two different items per row. "
                f"Row {row} is {tuple(pairs[row].tolist())}. Drop it or re-pair it."
            )
        self.items = items
        self._pairs = np.array(pairs, dtype=np.intp, order="C")
        self.groups = check_item_groups(groups, n_items)

    @classmethod
    def _make(cls, items, pairs, groups):
        """Build from parts that are known to fit together."""
        self = object.__new__(cls)
        self.items, self._pairs, self.groups = items, pairs, groups
        return self

    # ---------------------------------------------------------------- constructors

    @classmethod
    def all_pairs(cls, items, *, groups=None, scope="all"):
        """Return the pool of every pair of a scope, without enumerating it.

        Parameters
        ----------
        items : array-like
            As for :class:`Comparisons`.
        groups : array-like of shape (n_items,), default=None
            Group of each item; needed by the scopes ``"within"`` and ``"across"``.
        scope : {"all", "within", "across"}, default="all"
            All pairs, those inside one group, or those between two groups.

        Returns
        -------
        pool : Comparisons
            Its length and any index, slice or array of indices are arithmetic; memory
            is O(n_items), also for 10¹² pairs. Each pair appears once, the item with
            the smaller index first.

        Raises
        ------
        ValueError
            If `scope` is unknown or needs `groups` that were not given.
        """
        items = check_items(items)
        groups = check_item_groups(groups, items.shape[0])
        if scope not in SCOPES:
            raise ValueError(f"scope must be one of {SCOPES}. Got {scope!r}.")
        if scope != "all" and groups is None:
            raise ValueError(
                f"scope={scope!r} needs groups, one per item. Got groups=None. Pass "
                "the prompt id of each item, or use scope='all'."
            )
        return cls._make(items, PairEnumeration(items.shape[0], groups, scope), groups)

    @classmethod
    def random_pairs(
        cls, items, n_pairs, *, groups=None, scope="all", random_state=None
    ):
        """Draw distinct pairs of a scope, uniformly.

        Parameters
        ----------
        items, groups, scope
            As for :meth:`all_pairs`.
        n_pairs : int
            How many pairs to draw.
        random_state : int, RandomState or None, default=None
            Seed.

        Returns
        -------
        comparisons : Comparisons
            `n_pairs` different pairs.

        Raises
        ------
        ValueError
            If the scope has fewer pairs, or `n_pairs` is negative.
        """
        pool = cls.all_pairs(items, groups=groups, scope=scope)
        if not 0 <= n_pairs <= len(pool):
            raise ValueError(
                f"n_pairs must be at most the number of pairs of scope {scope!r}, "
                f"{len(pool)}, and not negative. Got {n_pairs}."
            )
        return pool[pool._pairs.sample(n_pairs, check_random_state(random_state))]

    @classmethod
    def from_array(cls, X):
        """Read an array of shape (n_pairs, 2, n_features), two items per row.

        Parameters
        ----------
        X : array-like of shape (n_pairs, 2, n_features)
            Features of the first and second item.

        Returns
        -------
        comparisons : Comparisons
            Pair k names the items 2k and 2k + 1; no item is merged or copied.

        Raises
        ------
        ValueError
            If `X` has another shape.
        """
        X = as_numpy(X)
        if X.ndim != 3 or X.shape[1] != 2:
            raise ValueError(
                "pass Comparisons, such as Comparisons.all_pairs(items) or what query "
                "returned, or an array of comparisons of shape (n_pairs, 2, n_features)"
                f". Got shape {X.shape}. To score blocks of responses, pass items: "
                "predict(E.reshape(-1, n_features)).reshape(n_prompts, n_responses)."
            )
        pairs = np.arange(2 * len(X), dtype=np.intp).reshape(-1, 2)
        return cls._make(X.reshape(2 * len(X), X.shape[2]), pairs, None)

    @classmethod
    def from_pairs(cls, first, second):
        """Pair two aligned columns of items, storing equal items once.

        Parameters
        ----------
        first, second : array-like
            Texts, or feature rows, of equal length; for example the columns chosen
            and rejected.

        Returns
        -------
        comparisons : Comparisons
            Items in the order of their first appearance, column `first` before
            `second`.

        Raises
        ------
        ValueError
            If the lengths or columns disagree, or a row compares equal items.
        """
        first, second = check_items(first), check_items(second)
        n = first.shape[0]
        if n != second.shape[0]:
            raise ValueError(
                "first and second must have the same length. "
                f"Got {n} and {second.shape[0]}."
            )
        items = stack_items([first, second])
        keep, code = first_appearance(items)
        return cls(_safe_indexing(items, keep), np.stack([code[:n], code[n:]], axis=1))

    # ------------------------------------------------------------- array behaviour

    @property
    def pairs(self):
        """Indices of the first and second item, (n_pairs, 2)."""
        return self._pairs[:] if self.is_lazy else self._pairs

    @property
    def is_lazy(self):
        """Whether the pairs are computed on demand (a pool of all pairs)."""
        return isinstance(self._pairs, PairEnumeration)

    @property
    def n_items(self):
        """Number of items in the store, named by a pair or not."""
        return self.items.shape[0]

    def __len__(self):
        return len(self._pairs)

    @property
    def shape(self):
        """(n_pairs, 2, n_features), or (n_pairs, 2) for texts."""
        return (len(self), 2, *self.items.shape[1:])

    @property
    def ndim(self):
        """Number of axes: 3, or 2 for texts."""
        return len(self.shape)

    @property
    def size(self):
        """Number of elements this would have as an array."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def dtype(self):
        """Type of the item features."""
        if hasattr(self.items, "iloc"):  # what __array__ gives
            return self.items.iloc[:0].to_numpy().dtype
        return self.items.dtype

    def __getitem__(self, key):
        if isinstance(key, tuple):  # scikit-learn indexes X[key, ...]
            if any(k is not ... and not _is_full_slice(k) for k in key[1:]):
                raise IndexError(
                    f"Comparisons can be indexed along pairs only. Got {key!r}."
                )
            key = key[0] if key else Ellipsis
        if key is Ellipsis or _is_full_slice(key):
            return self
        if not isinstance(key, slice):
            key = np.asarray(key)
            if key.size == 0:
                key = key.astype(np.intp)
        # Contiguous, because joblib hashes strides and pickling does not keep them.
        pairs = np.ascontiguousarray(self._pairs[key].reshape(-1, 2))
        return self._make(self.items, pairs, self.groups)

    def take(self, indices, axis=0, out=None, mode="raise"):
        """Pairs at `indices`; the other arguments exist for array libraries.

        Parameters
        ----------
        indices : array-like of int
            Which pairs.
        axis : int, default=0
            Must be 0.
        out, mode
            Ignored.

        Returns
        -------
        comparisons : Comparisons
            Sharing the items.

        Raises
        ------
        ValueError
            If `axis` is not 0.
        """
        if axis != 0:
            raise ValueError(f"Comparisons have pairs along axis 0 only. Got {axis!r}.")
        return self[np.asarray(indices)]

    def __array__(self, dtype=None, copy=None):
        """Materialise the features, (n_pairs, 2, n_features); never the indices."""
        return np.asarray(to_dense(self.items), dtype=dtype)[self.pairs]

    # scikit-learn asks for these two when array-API dispatch is on.
    device = "cpu"

    def __array_namespace__(self, api_version=None):
        try:
            from sklearn.externals.array_api_compat import numpy as namespace
        except ImportError:  # scikit-learn < 1.8
            namespace = np
        return namespace

    def __repr__(self):
        return comparisons_text(self)

    def _repr_html_(self):
        return comparisons_html(self)

    # ------------------------------------------------------------------ operations

    def compact(self):
        """Keep only the items that a pair names.

        Returns
        -------
        comparisons : Comparisons
            The same comparisons over a smaller store. A lazy pool is returned as it
            is: its scope is defined by all of its items.
        """
        if self.is_lazy:
            return self
        is_used = np.zeros(self.n_items, dtype=bool)
        is_used[self._pairs] = True
        if is_used.all():
            return self
        groups = None if self.groups is None else self.groups[is_used]
        place = np.cumsum(is_used) - 1
        items = _safe_indexing(self.items, np.flatnonzero(is_used))
        return self._make(items, place[self._pairs], groups)

    def with_items(self, items):
        """Return the same pairs over other items, row for row.

        Parameters
        ----------
        items : array-like
            As many rows as the present items.

        Returns
        -------
        comparisons : Comparisons
            With the new items.

        Raises
        ------
        ValueError
            If the number of rows differs.
        """
        items = check_items(items)
        if items.shape[0] != self.n_items:
            raise ValueError(
                f"the new items must have {self.n_items} rows, one for each of the "
                f"present items. Got {items.shape[0]}."
            )
        return self._make(items, self._pairs, self.groups)

    def differences(self):
        """Features of the first minus features of the second item.

        Returns
        -------
        differences : ndarray or CSR matrix of shape (n_pairs, n_features)
            Materialised: needs n_pairs x n_features numbers. Integers give float64.
        """
        pairs = self.pairs
        items = self.items if sparse.issparse(self.items) else np.asarray(self.items)
        if items.dtype.kind in "bui":  # differences of small integers wrap around
            items = items.astype(np.float64)
        return items[pairs[:, 0]] - items[pairs[:, 1]]

    def swap(self):
        """Return the same questions with first and second exchanged.

        Returns
        -------
        comparisons : Comparisons
            Their outcomes are ``1 - y``.
        """
        return self._make(self.items, self.pairs[:, ::-1].copy(), self.groups)

    def pair_groups(self):
        """Group of each pair, for ``GroupKFold`` and the like.

        Returns
        -------
        groups : ndarray of shape (n_pairs,)
            The group both items share.

        Raises
        ------
        ValueError
            If there are no groups, or a pair lies across two of them.
        """
        if self.groups is None:
            raise ValueError("these comparisons have no groups. Pass groups= on making")
        first, second = self.groups[self.pairs].T
        if (first != second).any():
            row = int(np.flatnonzero(first != second)[0])
            raise ValueError(
                "every pair must lie within one group to have a group. Pair "
                f"{row} joins {first[row]!r} and {second[row]!r}."
            )
        return first

    @classmethod
    def concatenate(cls, comparisons):
        """Join comparisons, one after the other.

        Parameters
        ----------
        comparisons : sequence of Comparisons
            Over equal item stores, of which one is then shared, with the groups that
            any of them knows; or over different ones, which are stacked.

        Returns
        -------
        comparisons : Comparisons
            All of them, in order.

        Raises
        ------
        ValueError
            If the sequence is empty, or the stores are of different kinds or columns.
        """
        parts = list(comparisons)
        if not parts:
            raise ValueError("concatenate needs at least one Comparisons. Got none.")
        known = [part.groups for part in parts if part.groups is not None]
        same = all(same_items(part.items, parts[0].items) for part in parts)
        if same and all(same_items(groups, known[0]) for groups in known):
            pairs = np.concatenate([part.pairs for part in parts])
            return cls._make(parts[0].items, pairs, known[0] if known else None)
        offsets = np.cumsum([0, *(part.n_items for part in parts[:-1])])
        pairs = [part.pairs + start for part, start in zip(parts, offsets, strict=True)]
        groups = np.concatenate(known) if len(known) == len(parts) else None
        items = stack_items([part.items for part in parts])
        return cls._make(items, np.concatenate(pairs), groups)


def _is_full_slice(key):
    return isinstance(key, slice) and key == slice(None)
