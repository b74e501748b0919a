"""Optimal design: the pairs that raise the Fisher information of the last layer most.

One answer about a pair with embedding difference x carries information v x xᵀ,
v = p (1 - p). With M the information so far, log det M measures all directions at once
(D-optimality), tr(A M⁻¹) the mean variance of the predictions one cares about (V).

The paper's three rules score each pair once, by its leverage v xᵀ M⁻¹ x against the
whole pool, and take the top; the greedy rules update M after every pick, so that a
batch does not repeat itself, and leave outlying pairs alone (see `eligible`).
"""

import numpy as np
import torch

from skarm import _fisher
from skarm._all_pairs import greedy_d_all_pairs
from skarm.strategies._registry import register
from skarm.strategies._selection import Picks, bulk, eligible_positions, top_n

__all__ = [
    "d_optimal",
    "greedy_d_every_pair",
    "greedy_d_optimal",
    "past_aware_d_optimal",
    "v_optimal",
    "xtx",
]

#: The paper adds this to the diagonal of its information matrix (ARM-FI's code).
PAPER_RIDGE = 1e-6


@register(
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


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost="O(k (m d + n) + n d + m d² + d³)",
    source="Guo et al. 2018; Kveton et al. 2025, arXiv 2503.01076",
)
def greedy_d_optimal(design, n_pairs, *, rng, eligible="auto", variance="posterior"):
    """Greedy D-optimal batch: each pick raises log det(alpha I + past + batch) most.

    Parameters
    ----------
    design : Design
        The candidates, the past information and the prior precision.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.
    eligible : float in (0, 1] or "auto", default="auto"
        Who may be picked: the share of candidates nearest the bulk of the pool, by the
        Mahalanobis length of their difference; 1 leaves nobody out; "auto" leaves out
        those longer (squared) than 1.4 times the median.
    variance : {"posterior", "plug_in"}, default="posterior"
        What v is: E[p (1 - p)] under the posterior, or p (1 - p) at the estimate.

    Returns
    -------
    picks : Picks
        Utilities are the log det gained by each pick, in nats; non-increasing.

    Notes
    -----
    log det is submodular: the batch gains at least 1 - 1/e of the best. Within a
    batch, rank-one updates cost O(n_items d + n_candidates) per pick, after
    O(n_candidates d + n_items d² + d³); memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] Guo et al., "Experimental design under the Bradley–Terry model", IJCAI 2018.
    .. [2] Kveton et al., "Active learning for direct preference optimization", arXiv
       2503.01076.
    """

    def choose(*candidates):
        return _fisher.greedy_d(*candidates, n_pairs)

    return _greedy(design, n_pairs, rng, eligible, variance, choose)


def greedy_d_every_pair(
    design,
    n_pairs,
    *,
    rng,
    scope="all",
    groups=None,
    excluded=None,
    eligible="auto",
    variance="posterior",
):
    """`greedy_d_optimal` among every pair of the design's items, exactly.

    Parameters
    ----------
    design : Design
        Over all items; its pairs are a random sample of the scope, from which the bulk
        of the pool and the mean posterior variance are read.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.
    scope : {"all", "within", "across"}, default="all"
        Which pairs of items.
    groups : ndarray of shape (n_items,), default=None
        Group codes, for the scopes "within" and "across".
    excluded : ndarray of shape (n_excluded, 2), default=None
        Pairs of items that must not be picked.
    eligible : float in (0, 1] or "auto", default="auto"
        As in :func:`greedy_d_optimal`, the limit estimated from the design's pairs.
    variance : {"posterior", "plug_in"}, default="posterior"
        "posterior" moderates rewards by the mean posterior variance of a difference,
        E[p (1 - p)] ≈ κ σ'(κ s), κ = 1 / √(1 + π/8 var s): one factor for all pairs.

    Returns
    -------
    picks : Picks
        Positions are pairs of items, shape (n_pairs, 2).

    Notes
    -----
    Cost and memory: see :func:`skarm._all_pairs.greedy_d_all_pairs`. An embedding with
    more than a quarter as many dimensions as items, such as one-hot identities, makes
    masses of pairs tie, and looking at each is slow; there the design's sample of pairs
    are the candidates.

    References
    ----------
    .. [1] Guo et al., "Accelerated experimental design for pairwise comparisons", SDM
       2019. MacKay, "The evidence framework applied to classification networks",
       Neural Computation 4, 1992, for κ.
    """
    _check_variance(variance)
    if design.embedding.shape[1] > len(design.embedding) // 4:
        few = {"eligible": eligible, "variance": variance}
        picks = greedy_d_optimal(design, n_pairs, rng=rng, **few)
        return Picks(design.pairs[picks.positions], picks.utilities)
    shrink = 1.0
    if variance == "posterior":
        mean_variance = design.reward_difference_variances.mean()
        shrink = 1 / np.sqrt(1 + np.pi / 8 * mean_variance)
    lower, _, limit = bulk(design, n_pairs, eligible)
    matrix = design.tensor("past_information").clone()
    matrix.diagonal().add_(design.alpha)
    pairs, gains = greedy_d_all_pairs(
        design.tensor("embedding") * shrink**0.5,
        design.tensor("rewards") * shrink,
        matrix,
        n_pairs,
        groups=groups,
        scope=scope,
        excluded=excluded,
        reach=None if lower is None else (lower, limit * shrink),
        tie_order=torch.as_tensor(rng.permutation(len(design.embedding))),
        max_per_item=design.max_pairs_per_item,
        max_per_group=design.max_pairs_per_group,
        progress=design.progress,
    )
    return Picks(pairs.numpy(), np.asarray(gains))


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost="O(k (m d + n) + n d + m d² + d³)",
    source="Ash et al. 2021, arXiv 2106.09675",
)
def v_optimal(design, n_pairs, *, rng, eligible="auto", variance="posterior"):
    """Greedy V-optimal batch: each pick lowers tr(A (alpha I + past + batch)⁻¹) most.

    A is the second moment of the differences that the model will be used on, the
    query's `target` or else the candidates, so this is the mean posterior variance of a
    reward difference there (BAIT's criterion).

    Parameters
    ----------
    design : Design
        The candidates, the past information and the prior precision.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.
    eligible, variance
        As in :func:`greedy_d_optimal`.

    Returns
    -------
    picks : Picks
        Utilities are the mean variance removed by each pick, in squared nats.

    Notes
    -----
    Not submodular; greedy has no guarantee but does well. Cost as
    :func:`greedy_d_optimal`.

    References
    ----------
    .. [1] Ash et al., "Gone fishing: neural active learning with Fisher embeddings",
       NeurIPS 2021.
    """
    target = design.tensor("target_moment")

    def choose(*candidates):
        return _fisher.greedy_v(*candidates, target, n_pairs)

    return _greedy(design, n_pairs, rng, eligible, variance, choose)


def _top_leverage(design, n_pairs, rng, weights, past=None):
    """Top of w xᵀ (Σ_pool w x xᵀ + past + 1e-6 I)⁻¹ x."""
    embedding = design.tensor("embedding")
    first, second = design.tensor("pairs").T
    weights = torch.as_tensor(weights).to(design.device)
    matrix = _fisher.information(embedding, first, second, weights)
    if past is not None:
        matrix += torch.as_tensor(past).to(design.device)
    matrix.diagonal().add_(PAPER_RIDGE)
    leverage = _fisher.leverage(embedding, first, second, weights, matrix)
    return top_n(design, leverage.cpu().numpy(), n_pairs, rng)


def _greedy(design, n_pairs, rng, eligible, variance, choose):
    """Run a greedy rule over the eligible candidates in seeded random order."""
    if variance not in ("posterior", "plug_in"):
        raise ValueError(
            f"variance must be 'posterior' or 'plug_in'. Got {variance!r}."
        )
    order = rng.permutation(eligible_positions(design, n_pairs, eligible))
    name = "posterior_variances" if variance == "posterior" else "variances"
    chosen = torch.as_tensor(order).to(design.device)
    first, second = design.tensor("pairs")[chosen].T
    matrix = design.tensor("past_information").clone()
    matrix.diagonal().add_(design.alpha)
    picks, gains = choose(
        *(design.tensor("embedding"), first.contiguous(), second.contiguous()),
        *(design.tensor(name)[chosen], matrix),
    )
    return Picks(order[picks].astype(np.intp), np.asarray(gains))


def _check_variance(variance):
    if variance not in ("posterior", "plug_in"):
        raise ValueError(
            f"variance must be 'posterior' or 'plug_in'. Got {variance!r}."
        )
