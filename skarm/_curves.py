"""Learning curves over paired seeds: labels saved, area, and their intervals."""

from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid
from sklearn.utils import check_random_state

__all__ = ["LabelSavings", "label_savings"]


class LabelSavings(NamedTuple):
    """What :func:`label_savings` found.

    Attributes
    ----------
    labels : float
        Labels after which the mean curve first has the baseline's final quality; NaN if
        it never does.
    labels_interval : tuple of float
        Bootstrap interval of `labels`; infinity where it was never reached.
    saved : float
        1 - labels / the baseline's last number of labels; negative if never reached.
    area : float
        Mean quality of the curve over the labels.
    area_difference : float
        Mean over seeds of area minus the baseline's area.
    area_interval : tuple of float
        Bootstrap interval of `area_difference`.
    n_seeds : int
        Paired seeds.
    """

    labels: float
    labels_interval: tuple
    saved: float
    area: float
    area_difference: float
    area_interval: tuple
    n_seeds: int


def label_savings(
    curve, baseline, *, n_labels=None, level=0.95, n_resamples=2000, random_state=0
):
    """Compare two learning curves over the same seeds: labels saved, area gained.

    The area is the integral of the quality over the labels by the trapezium rule,
    divided by their range, so that it is in the unit of the quality. The labels needed
    are read off the mean curve, by linear interpolation between its rounds, where it
    first reaches the final mean quality of the baseline.

    Parameters
    ----------
    curve, baseline : array-like of shape (n_seeds, n_rounds)
        Quality (greater is better) after each round; row k of both is the same seed:
        the same items, annotator and first comparisons.
    n_labels : array-like of shape (n_rounds,), default=None
        Labels at each round, increasing; None is 1, 2, ..., n_rounds.
    level : float, default=0.95
        Of the intervals, which are percentiles of a bootstrap over seeds, pairs of
        curves kept together.
    n_resamples : int, default=2000
        Bootstrap samples.
    random_state : int, RandomState or None, default=0
        Draws them.

    Returns
    -------
    savings : LabelSavings
        Labels, area, and intervals.

    Raises
    ------
    ValueError
        If the shapes differ, a quality is not finite, there are fewer than two rounds,
        `n_labels` does not increase, or `level` does not lie in (0, 1).

    Notes
    -----
    O(n_resamples n_seeds n_rounds) time. The bootstrap knows only the seeds it is
    given: it says nothing about other prompts, models or people.

    Examples
    --------
    >>> from skarm.metrics import label_savings
    >>> random = [[0.2, 0.4, 0.6], [0.2, 0.4, 0.6]]
    >>> active = [[0.2, 0.6, 0.7], [0.2, 0.6, 0.8]]
    >>> found = label_savings(active, random, n_labels=[100, 200, 400])
    >>> found.labels, found.saved
    (200.0, 0.5)
    """
    curve, baseline, n_labels = _check_curves(curve, baseline, n_labels)
    if not 0 < level < 1:
        raise ValueError(
            f"level must lie strictly between 0 and 1. Got {level!r}. Pass 0.95."
        )
    n_seeds = len(curve)
    rng = check_random_state(random_state)
    tails = [(1 - level) / 2, (1 + level) / 2]
    draws = rng.randint(n_seeds, size=(n_resamples, n_seeds))
    gained = _area(curve, n_labels) - _area(baseline, n_labels)
    needed = _labels_needed(curve.mean(axis=0), baseline[:, -1].mean(), n_labels)
    resampled = [
        _labels_needed(curve[k].mean(axis=0), baseline[k, -1].mean(), n_labels)
        for k in draws
    ]
    # Percentiles that are values of the sample: between a number and infinity is none.
    bounds = np.quantile(resampled, tails, method="nearest")
    return LabelSavings(
        labels=float(needed) if np.isfinite(needed) else float("nan"),
        labels_interval=tuple(bounds.tolist()),
        saved=float(1 - needed / n_labels[-1]),
        area=float(_area(curve, n_labels).mean()),
        area_difference=float(gained.mean()),
        area_interval=tuple(np.quantile(gained[draws].mean(axis=1), tails).tolist()),
        n_seeds=n_seeds,
    )


def _area(curves, n_labels):
    """Mean quality over the labels, of each curve."""
    return trapezoid(curves, n_labels, axis=-1) / (n_labels[-1] - n_labels[0])


def _labels_needed(mean, target, n_labels):
    """Where a curve first reaches the target; infinity if it does not."""
    # A curve reaches its own end: equal means may differ in their last digits.
    reached = np.flatnonzero(mean >= target - 1e-12)
    if not len(reached):
        return np.inf
    k = reached[0]
    if k == 0:
        return n_labels[0]
    share = min((target - mean[k - 1]) / (mean[k] - mean[k - 1]), 1.0)
    return n_labels[k - 1] + share * (n_labels[k] - n_labels[k - 1])


def _check_curves(curve, baseline, n_labels):
    curve, baseline = (np.asarray(c, dtype=np.float64) for c in (curve, baseline))
    if curve.ndim != 2 or curve.shape != baseline.shape or curve.shape[1] < 2:
        raise ValueError(
            "curve and baseline must have one shape (n_seeds, n_rounds), with at least "
            f"two rounds. Got {curve.shape} and {baseline.shape}. Keep only the seeds "
            "and rounds that both have."
        )
    if not (np.isfinite(curve).all() and np.isfinite(baseline).all()):
        raise ValueError(
            "curve and baseline must be finite. Got NaN or infinity. Leave those seeds "
            "out of both."
        )
    n_rounds = curve.shape[1]
    n_labels = np.arange(1, n_rounds + 1) if n_labels is None else np.asarray(n_labels)
    n_labels = n_labels.astype(np.float64)
    if n_labels.shape != (n_rounds,) or (np.diff(n_labels) <= 0).any():
        raise ValueError(
            f"n_labels must be {n_rounds} increasing numbers, one per round. "
            f"Got {n_labels.tolist()}."
        )
    return curve, baseline, n_labels
