"""Before the first answer: designs that read nothing but the features."""

import numpy as np

from skarm._information import fisher
from skarm.strategies._greedy import greedy_picks
from skarm.strategies._registry import register
from skarm.strategies._selection import Picks

__all__ = ["reward_agnostic"]


@register(
    needs_model=False,
    needs_posterior=False,
    batch_aware=True,
    cost="O(k (m d + n) + n d + m d² + d³)",
    source="Zhan et al. 2024, arXiv 2305.18505",
)
def reward_agnostic(design, n_pairs, *, rng, ridge=None):
    """Each pick is the pair with the largest ‖x‖ in Σ⁻¹, and adds x xᵀ to Σ.

    Σ starts at ridge I + Σ_past x xᵀ. No answer and no reward is read, so the whole
    design can be made before anyone is asked.

    Parameters
    ----------
    design : Design
        The candidates, and the differences of the pairs already asked.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.
    ridge : float, default=None
        λ. None starts at four times the prior precision: before the first answer every
        p (1 - p) is 1/4, and Σ / 4 the posterior precision.

    Returns
    -------
    picks : Picks
        Utilities are √(xᵀ Σ⁻¹ x), non-increasing.

    Notes
    -----
    Greedy D-optimal with v = 1, so ``greedy_d_optimal`` with ``eligible=1.0`` and
    ``variance="plug_in"`` makes the same picks in a cold start: with a constant v the
    design family is reward-agnostic in round 0 by itself. Nobody is left out. Cost
    O(n_items d + n_candidates) per pick, after O(n_candidates d + n_items d² + d³).

    References
    ----------
    .. [1] Zhan et al., "Provable reward-agnostic preference-based reinforcement
       learning", ICLR 2024, algorithm 1, on a finite set of pairs.
    """
    past = design.past_differences
    start = 4 * design.prior if ridge is None else ridge * np.eye(past.shape[1])
    matrix = past.T @ past + start
    ones = design.tensor("embedding").new_ones(design.n_pairs)

    def choose(*candidates, **limits):
        return fisher.greedy_d(*candidates, n_pairs, **limits)

    picks = greedy_picks(
        *(design, n_pairs, rng, choose),
        weights=ones,
        matrix=design.tensor("embedding").new_tensor(matrix),
    )
    # log det gained is log(1 + xᵀ Σ⁻¹ x)
    return Picks(picks.positions, np.sqrt(np.expm1(picks.utilities)))
