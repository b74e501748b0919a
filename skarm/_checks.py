"""What users pass as X and y, checked and brought to one form."""

import numpy as np
from scipy import sparse
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skarm._enumeration import PairEnumeration
from skarm._items import as_numpy
from skarm.comparisons import Comparisons

__all__ = [
    # scikit-learn's constraint types are private: this is the one place that knows.
    "HasMethods",
    "Interval",
    "StrOptions",
    "check_comparisons",
    "check_numeric",
    "check_outcomes",
    "check_some_pairs",
    "implied_comparisons",
    "is_comparisons",
]

MAX_IMPLIED_PAIRS = 20_000_000


def is_comparisons(X):
    """Whether `X` names pairs (Comparisons, or three axes) rather than items."""
    return isinstance(X, Comparisons) or getattr(X, "ndim", None) == 3


def check_some_pairs(X):
    """Return `X` as non-empty :class:`Comparisons`.

    Parameters
    ----------
    X : Comparisons or array-like of shape (n_pairs, 2, n_features)
        What a user passed.

    Returns
    -------
    comparisons : Comparisons
        The same.

    Raises
    ------
    ValueError
        If there is no pair in it.
    """
    comparisons = check_comparisons(X)
    if len(comparisons) == 0:
        raise ValueError(
            "X must hold at least one pair. Got an empty pool. Pass candidate pairs, "
            "for example Comparisons.all_pairs(items)."
        )
    return comparisons


def check_numeric(items, caller):
    """Refuse texts where numbers are needed; everything else is left to scikit-learn.

    Parameters
    ----------
    items : array-like
        Items of any kind.
    caller : str
        Who needs numbers.

    Raises
    ------
    ValueError
        If the items are texts.
    """
    if sparse.issparse(items):
        return
    if hasattr(items, "iloc"):
        probe = items.iloc[0] if len(items) else ()
    elif isinstance(items, (list, tuple)):
        probe = items
    else:
        probe = getattr(items, "flat", ())
    for value in probe:
        if isinstance(value, str):
            raise ValueError(
                f"{caller} needs numbers, items of shape (n_items, n_features). Got "
                f"texts, such as {value[:40]!r}. Put an embedder in front: "
                "make_reward_pipeline(SentenceEmbedder(model), StandardScaler(), "
                "BradleyTerryRegressor())."
            )
        break


def check_comparisons(X):
    """Return `X` as :class:`Comparisons`.

    Parameters
    ----------
    X : Comparisons or array-like of shape (n_pairs, 2, n_features)
        What a user passed.

    Returns
    -------
    comparisons : Comparisons
        The same.

    Raises
    ------
    ValueError
        If `X` is neither.
    """
    if isinstance(X, Comparisons):
        return X
    return Comparisons.from_array(X)


def check_outcomes(y, n_pairs):
    """Return `y` as float64 outcomes in [0, 1], NaN where not asked.

    Parameters
    ----------
    y : array-like of shape (n_pairs,)
        Outcomes as a user passed them.
    n_pairs : int
        How many there must be.

    Returns
    -------
    y : ndarray of shape (n_pairs,), float64
        Checked.

    Raises
    ------
    ValueError
        If the length disagrees or a value lies outside [0, 1].
    """
    if y is None:
        raise ValueError(
            "requires y to be passed, but the target y is None: one outcome per "
            "comparison, 1 where the first item was preferred."
        )
    y = np.asarray(as_numpy(y), dtype=np.float64)
    if y.shape != (n_pairs,):
        raise ValueError(
            "y must hold one outcome per comparison, and lengths agree. "
            f"Got shape {y.shape} for {n_pairs} comparisons."
        )
    outside = ~np.isnan(y) & ((y < 0) | (y > 1))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        hint = "Pass the share of annotators who preferred the first item"
        if np.isin(y[~np.isnan(y)], [-1.0, 0.0, 1.0]).all():
            hint = "For outcomes -1 and 1 pass (y + 1) / 2"
        raise ValueError(
            "y must lie in [0, 1]: 1 where the first item was preferred, 0 where the "
            f"second was, 0.5 for a tie, NaN where not asked. y[{row}] is {y[row]!r}. "
            f"{hint}."
        )
    return y


def implied_comparisons(ratings, groups=None, sample_weight=None):
    """Comparisons implied by ratings: every pair with different ratings, best first.

    Parameters
    ----------
    ratings : ndarray of shape (n_items,)
        A real number per item; only its order within a group is used.
    groups : array-like of shape (n_items,), default=None
        Only items of one group are compared; None compares all.
    sample_weight : ndarray of shape (n_items,), default=None
        The weight of an implied comparison is the product of its items' weights.

    Returns
    -------
    pairs : ndarray of shape (n_pairs, 2)
        The higher rated item first.
    weights : ndarray of shape (n_pairs,)
        Weight of each.

    Raises
    ------
    ValueError
        If more than 20 million comparisons would be implied.
    """
    scope = "all" if groups is None else "within"
    enumeration = PairEnumeration(len(ratings), groups, scope)
    if len(enumeration) > MAX_IMPLIED_PAIRS:
        raise ValueError(
            f"ratings of {len(ratings)} items imply up to {len(enumeration)} "
            f"comparisons, and more than {MAX_IMPLIED_PAIRS} are refused. Pass groups "
            "(the prompt of each item), or Comparisons.random_pairs with outcomes."
        )
    pairs = enumeration[:]
    gap = ratings[pairs[:, 0]] - ratings[pairs[:, 1]]
    pairs = np.where((gap < 0)[:, None], pairs[:, ::-1], pairs)[gap != 0]
    weights = np.ones(len(pairs))
    if sample_weight is not None:
        weights = sample_weight[pairs].prod(axis=1)
    return pairs, weights
