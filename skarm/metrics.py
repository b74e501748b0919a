"""How good a reward model is: on pairs, on rankings, on the best of n.

A metric is a function of arrays and knows no estimator, but for
:func:`design_efficiency`, of a batch of questions. There are two kinds:

- of comparisons: ``y_true`` holds answers in [0, 1] (1 = first preferred, 0.5 = tie,
  NaN = not asked, left out) and ``y_pred`` holds P(first preferred), as returned by
  ``predict(comparisons)``. Swapping the sides of any pair, with ``y -> 1 - y`` and
  ``p -> 1 - p``, changes none of them. With nothing to score they return NaN and warn
  ``UndefinedMetricWarning``.
- of items: ``reward_true`` (NaN = not rated, left out) and ``reward_pred`` hold one
  reward per item; ``groups`` says which prompt an item answers.

:func:`label_savings` compares two learning curves.

:data:`SCORERS`, :func:`get_scorer` and :func:`make_reward_scorer` turn them into
``scoring=`` arguments for ``GridSearchCV`` and ``cross_validate``.
"""

import copy
import warnings
from functools import partial

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import make_scorer
from sklearn.utils import check_consistent_length

from skarm._curves import LabelSavings, label_savings
from skarm._efficiency import design_efficiency

__all__ = [
    "SCORERS",
    "LabelSavings",
    "best_of_n",
    "brier_score",
    "design_efficiency",
    "get_scorer",
    "grouped_spearman",
    "label_savings",
    "log_loss",
    "make_reward_scorer",
    "pairwise_accuracy",
]


def pairwise_accuracy(y_true, y_pred, *, sample_weight=None):
    """Share of answered comparisons whose preferred item is predicted.

    Parameters
    ----------
    y_true : array-like of shape (n_comparisons,)
        Answers in [0, 1]; above 0.5 means first preferred. Ties (0.5) and NaN have no
        preferred item and are left out.
    y_pred : array-like of shape (n_comparisons,)
        P(first preferred), in [0, 1]. Exactly 0.5 counts as half right.
    sample_weight : array-like of shape (n_comparisons,), default=None
        Non-negative weight of each comparison.

    Returns
    -------
    accuracy : float
        In [0, 1], or NaN if no preferred item is left.

    Raises
    ------
    ValueError
        If the lengths differ, or a value is outside its range.

    Examples
    --------
    >>> from skarm.metrics import pairwise_accuracy
    >>> pairwise_accuracy([1, 0, 0.5, float("nan"), 1], [0.9, 0.8, 0.1, 0.1, 0.5])
    0.5
    """
    y, p, weight = _check_answers(y_true, y_pred, sample_weight)
    agreement = np.sign(y - 0.5) * np.sign(p - 0.5)  # 1 right, -1 wrong, 0 undecided
    weight = np.where(y == 0.5, 0.0, weight)
    return _weighted_mean((1.0 + agreement) / 2.0, weight, "pairwise_accuracy")


def log_loss(y_true, y_pred, *, sample_weight=None):
    r"""Mean cross-entropy of the answers, in nats.

    A comparison costs :math:`-y \log p - (1 - y) \log (1 - p)`; for ties and soft
    labels the least possible cost is the entropy of ``y``, not 0.

    Parameters
    ----------
    y_true, y_pred, sample_weight : array-like of shape (n_comparisons,)
        As in :func:`pairwise_accuracy`, but ties count too. ``y_pred`` is clipped to
        [eps, 1 - eps], eps being that of its dtype.

    Returns
    -------
    loss : float
        In nats, at least 0 (lower is better), or NaN without answers.

    Raises
    ------
    ValueError
        If the lengths differ, or a value is outside its range.

    Examples
    --------
    >>> from skarm.metrics import log_loss
    >>> round(log_loss([1, 0, 0.5], [0.8, 0.2, 0.5]), 4)
    0.3798
    """
    y, p, weight = _check_answers(y_true, y_pred, sample_weight)
    eps = float(np.finfo(p.dtype).eps)
    p = np.clip(p.astype(np.float64), eps, 1.0 - eps)
    return _weighted_mean(-y * np.log(p) - (1 - y) * np.log1p(-p), weight, "log_loss")


def brier_score(y_true, y_pred, *, sample_weight=None):
    """Mean squared difference between the answers and P(first preferred).

    Parameters
    ----------
    y_true, y_pred, sample_weight : array-like of shape (n_comparisons,)
        As in :func:`pairwise_accuracy`, but ties count too.

    Returns
    -------
    score : float
        In [0, 1] (lower is better), or NaN without answers.

    Raises
    ------
    ValueError
        If the lengths differ, or a value is outside its range.

    Examples
    --------
    >>> from skarm.metrics import brier_score
    >>> round(brier_score([1, 0, 0.5], [0.8, 0.2, 0.5]), 4)
    0.0267
    """
    y, p, weight = _check_answers(y_true, y_pred, sample_weight)
    return _weighted_mean((y - p) ** 2, weight, "brier_score")


def grouped_spearman(reward_true, reward_pred, *, groups=None, aggregate=True):
    """Spearman rank correlation of rewards within each group, averaged over groups.

    Ties get their average rank. A group whose true rewards are all equal, or that has
    fewer than two, has no ranking to find and is left out; a group whose predictions
    are all equal scores 0. O(n log n), however many groups there are.

    Parameters
    ----------
    reward_true, reward_pred : array-like of shape (n_items,)
        True rewards or ratings (NaN = not rated, left out) and predicted rewards, each
        in any unit.
    groups : array-like of shape (n_items,), default=None
        The prompt of each item. None means that all items are one group.
    aggregate : bool, default=True
        Whether to average over the groups, each counting once.

    Returns
    -------
    correlation : float or ndarray of shape (n_groups,)
        In [-1, 1], or NaN with an ``UndefinedMetricWarning`` if every group is left
        out. With ``aggregate=False``, aligned with ``np.unique(groups)``, NaN for the
        groups left out.

    Raises
    ------
    ValueError
        If the lengths differ, or a value is not finite (true rewards may be NaN).

    Examples
    --------
    >>> from skarm.metrics import grouped_spearman
    >>> grouped_spearman([1, 2, 3, 1, 2, 3], [1, 2, 3, 3, 2, 1], groups=list("aaabbb"))
    0.0
    """
    true, pred, codes, n_groups = _check_rewards(reward_true, reward_pred, groups)
    total = partial(np.bincount, codes, minlength=n_groups)
    centered = []
    for values in (true, pred):
        # Positions in the sort over all groups, less their group's mean, are ranks
        # less the mean rank; and exact, being halves of integers.
        order, run = _sort_within_groups(values, codes)
        position = np.empty(len(values))
        position[order] = _run_means(np.arange(len(values)), run)
        centered.append(position - (total(position) / np.maximum(total(), 1))[codes])
    a, b = centered
    norm = np.sqrt(total(a * a) * total(b * b))
    per_group = np.where(total(a * a) > 0, 0.0, np.nan)
    np.divide(total(a * b), norm, out=per_group, where=norm > 0)
    per_group = np.clip(per_group, -1.0, 1.0)
    if not aggregate:
        return per_group
    ranked = per_group[~np.isnan(per_group)]
    return _weighted_mean(ranked, np.ones(len(ranked)), "grouped_spearman")


def best_of_n(
    reward_true, reward_pred, *, groups=None, n_values=(1, 2, 4, 8, 16), normalize=False
):
    r"""Compute the expected true reward of the predicted best of n items of a group.

    Exact, not simulated: when n of a group's m items are drawn without replacement,
    the item of predicted rank k (1 = best) is the best one drawn with probability
    :math:`\binom{m-k}{n-1} / \binom{m}{n}`. Tied predictions are equally likely taken.

    Parameters
    ----------
    reward_true, reward_pred : array-like of shape (n_items,)
        True rewards (NaN = not rated, left out) and predicted rewards, each in any
        unit; of the latter only the order within a group matters.
    groups : array-like of shape (n_items,), default=None
        The prompt of each item. None means that all items are one group.
    n_values : int or array-like of int, default=(1, 2, 4, 8, 16)
        How many items are drawn, each at least 1.
    normalize : bool, default=False
        Whether to rescale each group so that 0 is its mean true reward and 1 its
        best. Groups whose true rewards are all equal are then left out.

    Returns
    -------
    rewards : ndarray of shape (len(n_values),)
        Mean over the groups that have at least n items; NaN where there is none.

    Raises
    ------
    ValueError
        If the lengths differ, a value is not finite (true rewards may be NaN), or an
        n is not a positive integer.

    Examples
    --------
    >>> from skarm.metrics import best_of_n
    >>> best_of_n([0, 1, 2], [0.1, 0.2, 0.3], n_values=[1, 3, 4])
    array([ 1.,  2., nan])
    """
    true, pred, codes, n_groups = _check_rewards(reward_true, reward_pred, groups)
    n = np.atleast_1d(np.asarray(n_values))
    if n.dtype.kind not in "iu" or n.ndim != 1 or np.any(n < 1):
        raise ValueError(
            f"n_values must hold integers of at least 1. Got {n_values!r}. "
            "Pass for instance n_values=[1, 4, 16]."
        )
    n = n.astype(np.int64)[:, None]
    order, run = _sort_within_groups(-pred, codes)
    true, expected = true[order], _run_means(true[order], run)
    sizes = np.bincount(codes, minlength=n_groups)
    starts = np.cumsum(sizes) - sizes
    per_group = np.full((n_groups, len(n)), np.nan)
    for m in np.unique(sizes[sizes > 0]):  # at most sqrt(2 n_items) different sizes
        rows = starts[sizes == m][:, None] + np.arange(m)
        # From one rank to the next, the probability shrinks by (m-k-n+1) / (m-k).
        k = np.arange(1, m)
        shrink = np.maximum(m - k - n + 1, 0) / (m - k)
        chance = np.cumprod(np.hstack([n / m, shrink]), axis=1)  # (len(n_values), m)
        values = expected[rows] @ chance.T
        if normalize:
            mean, best = true[rows].mean(axis=1), true[rows].max(axis=1)
            spread = np.where(np.ptp(true[rows], axis=1) > 0, best - mean, np.nan)
            values = (values - mean[:, None]) / spread[:, None]
        per_group[sizes == m] = np.where(n.T <= m, values, np.nan)
    counts = np.sum(~np.isnan(per_group), axis=0)
    return np.nansum(per_group, axis=0) / np.where(counts > 0, counts, np.nan)


SCORERS = {
    name: make_scorer(f, response_method="predict", greater_is_better="neg" not in name)
    for name, f in {
        "pairwise_accuracy": pairwise_accuracy,
        "neg_log_loss": log_loss,
        "neg_brier_score": brier_score,
        "spearman": grouped_spearman,
    }.items()
}
"""Scorers by name: three of comparisons; "spearman" of items (2-D X) with ratings."""


def get_scorer(name):
    """Scorer for the ``scoring=`` of scikit-learn's model selection.

    Parameters
    ----------
    name : {"pairwise_accuracy", "neg_log_loss", "neg_brier_score", "spearman"}
        A key of :data:`SCORERS`.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y) -> float``, greater is better. It is a copy, so a
        metadata request set on it changes no other.

    Raises
    ------
    ValueError
        If there is no scorer of that name.
    """
    if name not in SCORERS:
        raise ValueError(f"name must be one of {list(SCORERS)}. Got {name!r}.")
    return copy.deepcopy(SCORERS[name])


def make_reward_scorer(items, reward_true, *, groups=None, metric="spearman", n=16):
    """Scorer that judges ``estimator.predict(items)`` on items set aside.

    It ignores the fold that scikit-learn hands it, so that every candidate of a search
    is judged on the same items, for instance the responses to held-out prompts.

    Parameters
    ----------
    items : array-like, sparse matrix or list of length n_items
        What ``estimator.predict`` turns into rewards.
    reward_true : array-like of shape (n_items,)
        Their true rewards, in any unit; NaN = not rated.
    groups : array-like of shape (n_items,), default=None
        The prompt of each item. None means that all items are one group.
    metric : {"spearman", "best_of_n"}, default="spearman"
        :func:`grouped_spearman` or :func:`best_of_n`.
    n : int, default=16
        How many items :func:`best_of_n` draws.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y) -> float``, greater is better; it pickles.

    Raises
    ------
    ValueError
        If the lengths differ, ``metric`` is unknown, or no group can be scored.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skarm.metrics import make_reward_scorer
    >>> items, reward = [[0.0], [1.0], [2.0]], [0.0, 1.0, 3.0]
    >>> make_reward_scorer(items, reward)(Ridge().fit(items, reward), None, None)
    1.0
    """
    measures = {
        "spearman": partial(grouped_spearman, groups=groups),
        "best_of_n": partial(best_of_n, groups=groups, n_values=n),
    }
    if metric not in measures:
        raise ValueError(f"metric must be one of {list(measures)}. Got {metric!r}.")
    (true,) = _vectors(reward_true=reward_true)
    check_consistent_length(items, true)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        attainable = measures[metric](true, np.nan_to_num(true))
    if np.isnan(attainable).any():
        needs = "two different rewards" if metric == "spearman" else f"{n} rewards"
        raise ValueError(
            f"metric={metric!r} needs a group with at least {needs} in reward_true. "
            "Got none. Pass more items per group, or coarser groups."
        )
    return _RewardScorer(items, true, measures[metric], metric)


class _RewardScorer:
    def __init__(self, items, reward_true, measure, metric):
        self.items, self.reward_true = items, reward_true
        self.measure, self.metric = measure, metric

    def __call__(self, estimator, X, y=None):
        pred = estimator.predict(self.items)
        return float(np.mean(self.measure(self.reward_true, pred)))

    def __repr__(self):
        return f"make_reward_scorer(<{len(self.reward_true)} items>, {self.metric!r})"

    def __deepcopy__(self, memo):  # cloning a search must not copy the items
        return self


_RULES = {  # name: (least, greatest, what must hold, what to do); NaN passes in *_true
    "y_true": (0, 1, "in [0, 1] or NaN", "Map answers in {-1, 1} with (y + 1) / 2"),
    "y_pred": (0, 1, "P(first preferred), in [0, 1]", "Pass predict(comparisons)"),
    "sample_weight": (0, np.inf, "finite and not negative", "To leave out, give 0"),
    "reward_true": (-np.inf, np.inf, "finite or NaN", "Replace or drop that item"),
    "reward_pred": (-np.inf, np.inf, "finite", "Look for NaN or inf in the items"),
}


def _vectors(**columns):
    """Columns as one-dimensional float arrays of one length that obey the rules."""
    for name, values in columns.items():
        least, greatest, must_be, advice = _RULES[name]
        array = np.asarray(values)
        if array.dtype.kind != "f":  # None and pandas' NA become NaN here
            array = np.asarray(values, dtype=np.float64)
        if array.ndim != 1:
            raise ValueError(
                f"{name} must be one-dimensional. Got shape {array.shape}. Ravel it."
            )
        valid = np.isfinite(array) & (array >= least) & (array <= greatest)
        valid |= np.isnan(array) & name.endswith("_true")
        if not valid.all():
            at = int(np.argmin(valid))
            got = f"Got {float(array[at])} at position {at}"
            raise ValueError(f"{name} must be {must_be}. {got}. {advice}.")
        columns[name] = array
    check_consistent_length(*columns.values())
    return columns.values()


def _check_answers(y_true, y_pred, sample_weight):
    """Answers, predictions and weights of the comparisons that were answered."""
    weight = np.ones(np.shape(y_true)) if sample_weight is None else sample_weight
    y, p, weight = _vectors(y_true=y_true, y_pred=y_pred, sample_weight=weight)
    asked = ~np.isnan(y)
    return y[asked].astype(np.float64), p[asked], weight[asked]


def _check_rewards(reward_true, reward_pred, groups):
    """Rewards and group codes of the rated items, and the number of groups."""
    true, pred = _vectors(reward_true=reward_true, reward_pred=reward_pred)
    groups = np.zeros(len(true)) if groups is None else np.asarray(groups)
    check_consistent_length(true, groups)
    names, codes = np.unique(groups, return_inverse=True)
    rated = ~np.isnan(true)
    true, pred = true[rated].astype(np.float64), pred[rated].astype(np.float64)
    return true, pred, codes[rated], len(names)


def _sort_within_groups(values, codes):
    """Order by group, then value; and the number of each position's run of ties."""
    order = np.lexsort((values, codes))
    values, codes = values[order], codes[order]
    new = (values[1:] != values[:-1]) | (codes[1:] != codes[:-1])
    return order, np.cumsum(np.r_[False, new])[: len(values)]


def _run_means(values, run):
    return (np.bincount(run, values) / np.bincount(run))[run]


def _weighted_mean(values, weight, metric):
    if weight.sum() == 0:
        warnings.warn(
            f"{metric} is undefined, and set to NaN: nothing is left to score once "
            "missing values, ties and weights of 0 are left out.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return float("nan")
    return float(np.average(values, weights=weight))
