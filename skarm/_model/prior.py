"""What items say about the coefficients before any answer.

A ridge takes all directions for equally likely to matter. On features of texts those
matter more in which responses differ more, as if the reward were made of differences
that occur: w = Σ_k c_k x_k with independent c_k has the covariance of the x_k. So

    w ~ N(0, A / alpha),  A the mean of x xᵀ inside groups,

is offered beside N(0, I / alpha): the powered correlation prior of Krishna, Bondell and
Ghosh ("Bayesian variable selection using an adaptive powered correlation prior",
Journal of Statistical Planning and Inference 139, 2009), for the powers 0 and 1. Each
counts by its evidence, as in Bayesian model averaging (Hoeting, Madigan, Raftery and
Volinsky, Statistical Science 14, 1999).
"""

from functools import partial

import numpy as np
from scipy import sparse
from scipy.linalg import eigh

from skarm._data.items import to_dense

__all__ = ["as_matrix", "mean_variance", "moment_of", "roots", "within_moment"]

#: Of more items than this, whole groups at even distances are enough to know A.
MAX_ITEMS = 2**15
#: Every direction has at least this share of the mean variance.
FLOOR = 1e-4


def within_moment(items, groups, shrink=False):
    """Mean of x xᵀ over every pair of items inside a group, without listing them.

    A group of n items with deviations c from its mean adds n Σ c cᵀ over its
    n (n - 1) / 2 pairs. It has n - 1 independent differences; of N in all groups, a
    share d / (N + d) of what is off the diagonal is taken for noise.

    Parameters
    ----------
    items : ndarray, sparse matrix or DataFrame of shape (n_items, d)
        Features; an item that is not finite is left out.
    groups : ndarray of shape (n_items,)
        Group of each item.
    shrink : bool, default=False
        Whether to allow for that noise.

    Returns
    -------
    moment : ndarray of shape (d, d) or None
        None where no group has two items, or items are equal inside all of them, up to
        rounding, or it overflows.

    Notes
    -----
    For up to 32,768 items O(n_items d²) time, and some 25 n_items d bytes; of more,
    about so many are looked at.
    """
    groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
    keep = _some_in_company(groups)
    if len(keep) < len(groups):
        items, groups = _rows(items, keep), groups[keep]
    items = _as_floats(items)
    finite = np.isfinite(items).all(axis=1)
    if not finite.all():
        items, groups = items[finite], groups[finite]
    sizes = np.bincount(groups)
    n_pairs = (sizes * (sizes - 1) // 2).sum()
    if n_pairs == 0:
        return None
    member = sparse.csr_array(
        (np.ones(len(groups)), groups, np.arange(len(groups) + 1)),
        shape=(len(groups), len(sizes)),
    )
    with np.errstate(over="ignore", invalid="ignore"):
        means = (member.T @ items) / np.maximum(sizes, 1)[:, None]
        scaled = (items - means[groups]) * np.sqrt(sizes[groups, None] / n_pairs)
        moment = scaled.T @ scaled
        rounding = 1e-14 * items.var(axis=0).sum()
    if moment.trace() <= rounding or not np.isfinite(moment).all():
        return None
    if shrink:
        n_independent = (np.maximum(sizes, 1) - 1).sum()
        noise = len(moment) / (n_independent + len(moment))
        spread = moment.diagonal().copy()
        moment *= 1 - noise
        np.fill_diagonal(moment, spread)
    return moment


def moment_of(comparisons):
    """What finds the :func:`within_moment` of comparisons, shrunk.

    Parameters
    ----------
    comparisons : Comparisons, or anything else
        Items that no pair names count too.

    Returns
    -------
    moment : callable or None
        None where groups are not known.
    """
    if getattr(comparisons, "groups", None) is None:
        return None
    return partial(within_moment, comparisons.items, comparisons.groups, shrink=True)


def roots(moment):
    """The symmetric square root of a moment, made regular, and its inverse.

    Of a moment over its mean variance, so that features keep their scale.

    Parameters
    ----------
    moment : ndarray of shape (d, d)
        A, symmetric and positive semi-definite.

    Returns
    -------
    root, inverse : ndarray of shape (d, d)
        Coefficients `root` u of independent u have the covariance A d / tr A. Of all
        roots this is the one that changes the axes least, and so keeps sparse rewards
        sparse.
    """
    values, vectors = eigh(moment / moment.diagonal().mean())
    sd = np.sqrt(np.maximum(values, FLOOR))
    return (vectors * sd) @ vectors.T, (vectors / sd) @ vectors.T


def as_matrix(alpha, n_features):
    """A prior precision as a matrix.

    Parameters
    ----------
    alpha : float or ndarray of shape (), (d,) or (d, d)
        Of all coefficients, of each, or a matrix.
    n_features : int
        d.

    Returns
    -------
    precision : ndarray of shape (d, d)
        Inverse covariance of the coefficients.
    """
    return alpha if np.ndim(alpha) == 2 else alpha * np.eye(n_features)


def mean_variance(alpha):
    """Mean prior variance of the coefficients, given their precision.

    Parameters
    ----------
    alpha : float or ndarray of shape (d,) or (d, d)
        As for :func:`as_matrix`.

    Returns
    -------
    variance : float
        Of a coefficient.
    """
    inverse = np.linalg.inv(alpha).diagonal() if np.ndim(alpha) == 2 else 1 / alpha
    return float(np.mean(inverse))


def _some_in_company(groups):
    """Rows of groups of two and more, thinned to about `MAX_ITEMS` if there are more.

    First whole groups at even distances by size, then every so manieth item of each.
    """
    sizes = np.bincount(groups)
    rank = np.empty(len(sizes), dtype=np.intp)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    keep = np.flatnonzero(sizes[groups] > 1)
    if len(keep) > MAX_ITEMS:
        keep = keep[rank[groups[keep]] % -(-len(keep) // MAX_ITEMS) == 0]
    if len(keep) > 2 * MAX_ITEMS:  # a few are most of all
        keep = keep[np.argsort(groups[keep], kind="stable")]
        keep = np.sort(keep[:: -(-len(keep) // MAX_ITEMS)])
    return keep


def _rows(items, keep):
    return items.iloc[keep] if hasattr(items, "iloc") else items[keep]


def _as_floats(items):
    if hasattr(items, "iloc"):  # pandas alone knows its own missing values
        return items.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(to_dense(items), dtype=np.float64)
