"""Uncertainty of the answer: the smallest, or the largest, reward difference."""

import numpy as np
from scipy.special import expit, xlogy

from skarm.strategies._registry import register
from skarm.strategies._selection import Picks, top_n

__all__ = ["entropy", "max_difference"]


@register(
    needs_model=True,
    needs_posterior=False,
    batch_aware=False,
    cost="O(n log n)",
    source="Muldrew et al. 2024, arXiv 2402.08114",
)
def entropy(design, n_pairs, *, rng):
    """Pairs whose answer is least certain: largest entropy of P(first preferred).

    Binary entropy falls monotonically with |reward difference|, so this is the level
    set rule, the smallest |r_i - r_j|, and is ranked by that: entropy itself
    saturates in floating point.

    Parameters
    ----------
    design : Design
        The candidates; reward differences are read.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties; decides everything in a cold start.

    Returns
    -------
    picks : Picks
        Utilities are entropies in nats, at most log 2.

    Notes
    -----
    Cost O(n_candidates log n_candidates). Blind to the features, and drawn to pairs
    that are ties for the annotators too: use it as a baseline.

    References
    ----------
    .. [1] Muldrew et al., "Active preference learning for large language models",
       ICML 2024. Baseline of Shen, Sun and Ton, arXiv 2502.04354.
    """
    closeness = -np.abs(design.reward_differences)
    p = expit(closeness)  # the entropy of p and of 1 - p is the same
    entropies = -xlogy(p, p) - xlogy(1 - p, 1 - p)
    if design.costs is not None:
        return top_n(design, entropies, n_pairs, rng)
    picks = top_n(design, closeness, n_pairs, rng)
    return Picks(picks.positions, entropies[picks.positions])


@register(
    needs_model=True,
    needs_posterior=False,
    batch_aware=False,
    cost="O(n log n)",
    source="Shen et al. 2025, arXiv 2502.04354 (baseline)",
)
def max_difference(design, n_pairs, *, rng):
    """Pairs with the largest |reward difference|.

    Asks about the extremes of the present model: exploitation, not uncertainty.

    Parameters
    ----------
    design : Design
        The candidates; reward differences are read.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties; decides everything in a cold start.

    Returns
    -------
    picks : Picks
        Utilities are |r_i - r_j| in nats.

    Notes
    -----
    Cost O(n_candidates log n_candidates).

    References
    ----------
    .. [1] Baseline of Shen, Sun and Ton, arXiv 2502.04354.
    """
    return top_n(design, np.abs(design.reward_differences), n_pairs, rng)
