"""Cross-validation without leakage: comparisons share items, and prompts.

``KFold`` splits comparisons, so an item is judged in training and in test, and a model
that memorises items looks good. What to use instead:

- Pairs within prompts, and the model will meet new prompts: whole prompts at a time,
  ``GroupKFold(5).split(X, y, X.pair_groups())``; in a search, ``cv=GroupKFold(5)`` and
  ``search.fit(X, y, groups=X.pair_groups())``.
- Pairs that cross prompts: ``ItemKFold(by="group")``, which drops what lies across.
- The model will meet new items, whatever their prompts: ``ItemKFold()``.

>>> from sklearn.model_selection import GroupKFold
>>> from skarm.datasets import make_comparisons
>>> data = make_comparisons(200, n_groups=10, random_state=0)
>>> X, y = data.comparisons, data.y
>>> prompts = X.pair_groups()
>>> train, test = next(GroupKFold(5).split(X, y, prompts))
>>> set(prompts[train]) & set(prompts[test])
set()

Scorers by name, for ``scoring=``, are in :mod:`skarm.metrics`.
"""

from numbers import Integral

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from skarm._data.checks import check_some_pairs
from skarm._data.items import first_appearance

__all__ = ["ItemKFold"]


class ItemKFold(BaseCrossValidator):
    """K folds of items: no item is compared both in training and in test.

    A comparison is tested where both of its items lie in the fold, and learned where
    neither does. One with an item on either side is dropped from that split.

    Parameters
    ----------
    n_splits : int, default=5
        How many folds, at least 2.
    by : {"item", "group"}, default="item"
        What is kept together: an item, or all items of a group (prompt). Needs
        Comparisons with groups for the latter.
    random_state : int, RandomState or None, default=None
        Shuffles the items.

    Raises
    ------
    ValueError
        If `n_splits` or `by` is not what it must be.

    See Also
    --------
    sklearn.model_selection.GroupKFold : For pairs within prompts; drops nothing.

    Notes
    -----
    Of pairs drawn at random among items, a split tests a share of 1/n_splits², learns
    (1 - 1/n_splits)² and drops the rest. Of pairs within groups, ``by="group"`` drops
    none. Folds hold equally many items, or groups, that are compared.

    Examples
    --------
    >>> from skarm import Comparisons
    >>> from skarm.model_selection import ItemKFold
    >>> X = Comparisons.all_pairs([[0.0], [1.0], [2.0], [3.0]])
    >>> for train, test in ItemKFold(2, random_state=0).split(X):
    ...     print(X.pairs[train].tolist(), X.pairs[test].tolist())
    [[1, 2]] [[0, 3]]
    [[0, 3]] [[1, 2]]
    """

    def __init__(self, n_splits=5, *, by="item", random_state=None):
        if not isinstance(n_splits, Integral) or n_splits < 2:
            raise ValueError(
                f"n_splits must be an integer of at least 2. Got {n_splits!r}."
            )
        if by not in ("item", "group"):
            raise ValueError(f"by must be 'item' or 'group'. Got {by!r}.")
        self.n_splits = n_splits
        self.by = by
        self.random_state = random_state

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups
            Ignored.

        Returns
        -------
        n_splits : int
            As given.
        """
        return self.n_splits

    def split(self, X, y=None, groups=None):
        """Indices of training and test comparisons, split by split.

        Parameters
        ----------
        X : Comparisons or array of shape (n, 2, n_features)
            The comparisons. In an array, equal rows are one item.
        y, groups
            Ignored; groups of items belong to Comparisons.

        Yields
        ------
        train, test : ndarray of int
            Indices into `X`.

        Raises
        ------
        ValueError
            If there are fewer items (groups) than folds, groups are needed and not
            there, or a split has nothing to learn or to test.
        """
        units = self._units(check_some_pairs(X))
        names, units = np.unique(units, return_inverse=True)
        units = units.reshape(-1, 2)
        if len(names) < self.n_splits:
            raise ValueError(
                f"n_splits must be at most the number of {self.by}s compared, "
                f"{len(names)}. Got {self.n_splits}."
            )
        fold_of = np.arange(len(names)) % self.n_splits
        folds = check_random_state(self.random_state).permutation(fold_of)[units]
        for fold in range(self.n_splits):
            n_inside = (folds == fold).sum(axis=1)
            train, test = np.flatnonzero(n_inside == 0), np.flatnonzero(n_inside == 2)
            if not len(train) or not len(test):
                raise ValueError(
                    f"every fold must hold comparisons between its own {self.by}s, and "
                    f"leave some outside. Fold {fold} of {self.n_splits} has "
                    f"{len(test)} inside and {len(train)} outside. Use fewer "
                    "folds, or more comparisons."
                )
            yield train, test

    def _units(self, comparisons):
        """What is kept together, for the items of each pair, (n_pairs, 2)."""
        if self.by == "group":
            if comparisons.groups is None:
                raise ValueError(
                    "by='group' needs the groups of the items. Got comparisons without "
                    "groups. Pass Comparisons(items, pairs, groups=prompt_ids)."
                )
            return comparisons.groups[comparisons.pairs]
        compact = comparisons.compact()
        return first_appearance(compact.items)[1][compact.pairs]
