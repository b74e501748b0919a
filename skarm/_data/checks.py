"""What users pass as X and y, checked and brought to one form."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from skarm._data.enumeration import PairEnumeration
from skarm._data.items import as_numpy
from skarm.comparisons import Comparisons

__all__ = [
    # scikit-learn's constraint types are private: this is the one place that knows.
    "HasMethods",
    "Interval",
    "StrOptions",
    "check_comparisons",
    "check_item_features",
    "check_n_pairs",
    "check_numeric",
    "check_outcomes",
    "check_some_pairs",
    "implied_comparisons",
    "is_comparisons",
    "read_comparisons",
    "read_ratings",
]

MAX_IMPLIED_PAIRS = 20_000_000
FLOATS = [np.float64, np.float32]


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
    """Refuse texts, NaN and infinity; everything else is left to scikit-learn.

    Parameters
    ----------
    items : array-like
        Items of any kind.
    caller : str
        Who needs numbers.

    Returns
    -------
    are_finite : bool
        Whether they are known to be; False for what is not an array of floats.

    Raises
    ------
    ValueError
        If the items are texts, or are not finite.
    """
    _check_no_texts(items, caller)
    values = items
    if sparse.issparse(items):
        values = items.tocsr().data
    if getattr(getattr(values, "dtype", None), "kind", None) != "f":
        return False
    with np.errstate(all="ignore"):
        # A sum says so quickly, and einsum's is the quickest; it may overflow, though.
        if np.isfinite(np.einsum(values, range(values.ndim), [])):
            return True
    finite = np.isfinite(values)
    if not finite.all():
        what = "NaN" if np.isnan(values).any() else "infinity"
        raise ValueError(
            f"{caller} needs finite numbers in items. Input X contains {what} "
            f"({np.size(finite) - np.sum(finite)} of {np.size(finite)} values). Drop "
            "those items, or put SimpleImputer() first in make_reward_pipeline(...)."
        )
    return True


def _check_no_texts(items, caller):
    """Refuse texts, naming the remedy."""
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


def check_n_pairs(n_pairs):
    """A number of pairs to choose as int; ValueError unless it is 1 or more."""
    if not isinstance(n_pairs, Integral) or n_pairs < 1:
        raise ValueError(f"n_pairs must be a positive integer. Got {n_pairs!r}.")
    return int(n_pairs)


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
        If it does not hold numbers, the length disagrees, or a value lies outside
        [0, 1].
    """
    if y is None:
        raise ValueError(
            "requires y to be passed, but the target y is None: one outcome per "
            "comparison, 1 where the first item was preferred."
        )
    try:
        y = np.asarray(as_numpy(y), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "y must hold numbers: 1 where the first item was preferred, 0 where the "
            f"second was, 0.5 for a tie, NaN where not asked. Got others ({error}). "
            "Pass (winner == 'first').astype(float), or read them with skarm.io."
        ) from error
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
            f"second was, 0.5 for a tie, NaN where not asked. y[{row}] is {y[row]:g}. "
            f"{hint}."
        )
    return y


def implied_comparisons(ratings, groups=None, sample_weight=None):
    """Comparisons implied by ratings: every pair with different ratings, best first.

    Parameters
    ----------
    ratings : array-like of shape (n_items,)
        A real number per item; only its order within a group is used. NaN = not rated.
    groups : array-like of shape (n_items,), default=None
        Only items of one group are compared; None compares all.
    sample_weight : array-like of shape (n_items,), default=None
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
    ratings = np.asarray(ratings, dtype=np.float64)
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
    pairs = np.where((gap < 0)[:, None], pairs[:, ::-1], pairs)[np.abs(gap) > 0]
    weights = np.ones(len(pairs))
    if sample_weight is not None:
        weights = np.asarray(sample_weight, dtype=np.float64)[pairs].prod(axis=1)
    return pairs, weights


def check_item_features(estimator, items, reset=False, later=False):
    """Items as finite numbers, float32 or float64, dense or CSR.

    Parameters
    ----------
    estimator : estimator
        Whose number and names of features must be met.
    items : array-like or sparse matrix of shape (n_items, n_features)
        What a user passed.
    reset : bool, default=False
        Whether the estimator takes number and names from these items, as in ``fit``.
    later : bool, default=False
        Whether the caller will see to it that the numbers of an array are finite.

    Returns
    -------
    items : ndarray or CSR of shape (n_items, n_features)
        Checked; not copied where that can be avoided.

    Raises
    ------
    ValueError
        If the items are texts, not finite, or of another number of features.
    """
    are_finite = bool(later) and getattr(items, "dtype", None) in FLOATS
    if are_finite and not reset and _is_plain(estimator, items):
        return items  # validate_data would find no more, but look for long
    if not are_finite:
        are_finite = check_numeric(items, type(estimator).__name__)
    return validate_data(
        *(estimator, items),
        accept_sparse="csr",
        dtype=FLOATS,
        ensure_all_finite=not are_finite,
        reset=reset,
    )


def _is_plain(estimator, items):
    """Whether items are an array, without names, of the shape that was fitted."""
    is_array = type(items) is np.ndarray and items.ndim == 2 and len(items) > 0
    is_named = hasattr(estimator, "feature_names_in_")
    return is_array and not is_named and items.shape[1] == estimator.n_features_in_


def read_comparisons(estimator, X, y, sample_weight, groups):
    """The answered comparisons among those a user passed to ``fit``.

    Parameters
    ----------
    estimator : estimator
        Takes number and names of the item features.
    X, y, sample_weight, groups
        As for :meth:`skarm.BradleyTerryRegressor.fit`, `X` naming pairs.

    Returns
    -------
    items : ndarray or CSR of shape (n_items, n_features)
        Only the items that are named.
    pairs : ndarray of shape (n_pairs, 2)
        First and second item of each comparison.
    y, weights : ndarray of shape (n_pairs,), float64
        Outcomes in [0, 1], and positive weights.
    item_groups : ndarray of shape (n_items,) or None
        Group of each item.

    Raises
    ------
    ValueError
        If there is no outcome, or anything passed is not what it must be.
    """
    comparisons = check_comparisons(X)
    n_pairs = len(comparisons)
    y = check_outcomes(y, n_pairs)
    weights = np.ones(n_pairs)
    if sample_weight is not None:
        weights = _check_sample_weight(
            sample_weight, comparisons, dtype=np.float64, ensure_non_negative=True
        )
    asked = ~np.isnan(y) & (weights > 0)
    if not asked.any():
        raise ValueError(
            "y must hold at least one outcome. "
            f"Got {n_pairs} comparisons, all NaN (not asked) or of weight 0. Ask a "
            "first batch: ActiveComparisonSampler().query(pool, n_pairs=...)."
        )
    if not asked.all():
        comparisons, y, weights = comparisons[asked], y[asked], weights[asked]
    comparisons = comparisons.compact()
    items = check_item_features(estimator, comparisons.items, reset=True)
    item_groups = comparisons.groups
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (n_pairs,):
            raise ValueError(
                "groups must hold one group per comparison. "
                f"Got shape {groups.shape} for {n_pairs} comparisons."
            )
        # An item's group is that of a comparison that names it.
        item_groups = np.empty(comparisons.n_items, dtype=groups.dtype)
        item_groups[comparisons.pairs] = groups[asked][:, None]
    return items, comparisons.pairs, y, weights, item_groups


def read_ratings(estimator, X, y, sample_weight, groups):
    """The comparisons implied by the ratings that a user passed to ``fit``.

    Parameters
    ----------
    estimator : estimator
        Takes number and names of the item features.
    X, y, sample_weight, groups
        As for :meth:`skarm.BradleyTerryRegressor.fit`, `X` being items.

    Returns
    -------
    items, pairs, y, weights, item_groups
        As for :func:`read_comparisons`; the higher rated item is first and y is 1.

    Raises
    ------
    ValueError
        If no comparison is implied, or anything passed is not what it must be.
    """
    check_numeric(X, type(estimator).__name__)
    items, ratings = validate_data(
        *(estimator, X, y),
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        y_numeric=True,
    )
    n_items = items.shape[0]
    if groups is not None and len(groups) != n_items:
        raise ValueError(
            "groups must hold one group per item. "
            f"Got {len(groups)} for {n_items} items."
        )
    if sample_weight is not None:
        sample_weight = _check_sample_weight(
            sample_weight, items, dtype=np.float64, ensure_non_negative=True
        )
    pairs, weights = implied_comparisons(ratings, groups, sample_weight)
    pairs, weights = pairs[weights > 0], weights[weights > 0]
    if len(pairs) == 0:
        raise ValueError(
            "y must hold two different ratings within a group, to imply a "
            f"comparison. Got none, with n_samples={n_items}."
        )
    item_groups = None if groups is None else np.asarray(groups)
    return items, pairs, np.ones(len(pairs)), weights, item_groups
