"""The paper's three rules: the top of the leverage v xᵀ M⁻¹ x against the whole pool.

With information M = Σ_pool v x xᵀ + 1e-6 I, the gradient of log det M in the number of
times a pair is asked is its leverage. Pairs are scored once, and nobody is left out.
"""

import numpy as np
import torch

from skarm._information import fisher
from skarm.strategies._registry import register
from skarm.strategies._selection import top_n

__all__ = ["d_optimal", "past_aware_d_optimal", "xtx"]

#: The paper adds this to the diagonal of its information matrix (ARM-FI's code).
PAPER_RIDGE = 1e-6


@register(
    family="optimal_design",
    needs_model=False,
    needs_posterior=False,
    batch_aware=False,
    cost="O(n d + m d² + d³)",
    source="Shen et al. 2025, arXiv 2502.04354",
)
def xtx(design, n_pairs, *, rng):
    """The paper's linear design (XtX): top leverage xᵀ (Σ_pool x xᵀ + 1e-6 I)⁻¹ x.

    Parameters
    ----------
    design : Design
        The candidates; the embedding is read, not the rewards.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are leverages, in [0, 1].

    Notes
    -----
    Cost O(n_candidates d + n_items d² + d³), memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] Shen, Sun and Ton, "Active reward modeling", ICML 2025, arXiv 2502.04354:
       gradient of log det(Σ_i c_i x_i x_iᵀ) at c = 1.
    """
    return _top_leverage(design, n_pairs, rng, np.ones(design.n_pairs))


@register(
    family="optimal_design",
    needs_model=False,
    needs_posterior=False,
    batch_aware=False,
    cost="O(n d + m d² + d³)",
    source="Shen et al. 2025, arXiv 2502.04354",
)
def d_optimal(design, n_pairs, *, rng):
    """The paper's D-optimal rule: top leverage v xᵀ (Σ_pool v x xᵀ + 1e-6 I)⁻¹ x.

    Parameters
    ----------
    design : Design
        The candidates.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are leverages, in [0, 1].

    Notes
    -----
    Exactly the authors' rule, whose autograd through log det has this closed form. It
    scores pairs once, so near-duplicates of a good pair are all taken. Cost as `xtx`.

    References
    ----------
    .. [1] Shen, Sun and Ton, "Active reward modeling", ICML 2025, arXiv 2502.04354.
    """
    return _top_leverage(design, n_pairs, rng, design.variances)


@register(
    family="optimal_design",
    needs_model=False,
    needs_posterior=True,
    batch_aware=False,
    cost="O(n d + m d² + d³)",
    source="Shen et al. 2025, arXiv 2502.04354",
)
def past_aware_d_optimal(design, n_pairs, *, rng):
    """The paper's PA D-optimal: as `d_optimal`, with Σ_past v x xᵀ added to the matrix.

    Parameters
    ----------
    design : Design
        The candidates and the past information.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are leverages, in [0, 1].

    Notes
    -----
    The pool outweighs the past, so it rarely differs much from `d_optimal`. Without a
    past it equals it. Cost as `xtx`.

    References
    ----------
    .. [1] Shen, Sun and Ton, "Active reward modeling", ICML 2025, arXiv 2502.04354.
    """
    past = design.past_information
    return _top_leverage(design, n_pairs, rng, design.variances, past)


def _top_leverage(design, n_pairs, rng, weights, past=None):
    """Top of w xᵀ (Σ_pool w x xᵀ + past + 1e-6 I)⁻¹ x."""
    embedding = design.tensor("embedding")
    first, second = design.tensor("pairs").T
    weights = torch.as_tensor(weights).to(design.device)
    matrix = fisher.information(embedding, first, second, weights, design.graph)
    if past is not None:
        matrix += torch.as_tensor(past).to(design.device)
    matrix.diagonal().add_(PAPER_RIDGE)
    leverage = fisher.leverage(embedding, first, second, weights, matrix, design.graph)
    return top_n(design, leverage.cpu().numpy(), n_pairs, rng)
