"""Random: what every other strategy must beat."""

import numpy as np

from skarm._data.enumeration import sample_indices
from skarm.strategies._registry import register
from skarm.strategies._selection import Picks, top_n

__all__ = ["random"]


@register(
    needs_model=False,
    needs_posterior=False,
    batch_aware=False,
    cost="O(k)",
    source="baseline",
)
def random(design, n_pairs, *, rng):
    """Pairs drawn uniformly, without replacement.

    Parameters
    ----------
    design : Design
        The candidates; only their number and the caps are read.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Randomness.

    Returns
    -------
    picks : Picks
        Utilities are zero.

    Notes
    -----
    Cost O(n_pairs); O(n_candidates) with caps. Costs of asking are not looked at.
    """
    if design.caps:
        return top_n(design, np.zeros(design.n_pairs), n_pairs, rng)
    positions = sample_indices(design.n_pairs, n_pairs, rng).astype(np.intp)
    return Picks(positions, np.zeros(n_pairs))
