"""Design rules among every pair of a vast lazy pool, however many there are.

Exact for the plug-in variances. The posterior mean of p (1 - p) has no form that a scan
over all pairs could use; there rewards are moderated by the mean posterior variance of
a difference: E[p (1 - p)] ≈ κ σ'(κ s), κ = 1 / √(1 + π/8 var s), one factor for all.
"""

import numpy as np
import torch

from skarm._information.all_pairs import greedy_d_all_pairs
from skarm._information.all_pairs_v import greedy_v_all_pairs
from skarm.strategies._greedy import check_variance, precision
from skarm.strategies._selection import (
    Picks,
    among_undecided,
    bulk,
    longest_at_full_weight,
)
from skarm.strategies.optimal_design import (
    greedy_d_optimal,
    target_without,
    v_optimal,
)

__all__ = ["greedy_d_every_pair", "v_every_pair"]


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
    nuisance=None,
    exchange=0,
    undecided=1.0,
):
    """`greedy_d_optimal` among every pair of the design's items.

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
        As there; for the posterior see the top of this module.
    nuisance : array-like of int, default=None
        As there; with it, the design's sample of pairs are the candidates.
    exchange : int, default=0
        As there; so too with it.
    undecided : float in (0, 1], default=1.0
        As there, the limit estimated from the design's pairs.

    Returns
    -------
    picks : Picks
        Positions are pairs of items, shape (n_pairs, 2).

    Notes
    -----
    Cost and memory: :func:`skarm._information.all_pairs.greedy_d_all_pairs`. Where an
    embedding has more than a quarter as many dimensions as items, as one-hot identities
    have, masses of pairs tie, and looking at each is slow; there the design's sample of
    pairs are the candidates.

    References
    ----------
    .. [1] Guo et al., "Accelerated experimental design for pairwise comparisons", SDM
       2019. MacKay, "The evidence framework applied to classification networks",
       Neural Computation 4, 1992, for κ.
    """
    check_variance(variance)
    if nuisance is not None or exchange or _is_wide(design):
        few = {"eligible": eligible, "variance": variance, "nuisance": nuisance}
        few |= {"exchange": exchange, "undecided": undecided}
        return _as_pairs(design, greedy_d_optimal(design, n_pairs, rng=rng, **few))
    where = {"scope": scope, "groups": groups, "excluded": excluded}
    state, limits = _scan(design, n_pairs, rng, eligible, variance, undecided)
    pairs, gains = greedy_d_all_pairs(*state, n_pairs, **where, **limits)
    return Picks(pairs.numpy(), np.asarray(gains))


def v_every_pair(
    design,
    n_pairs,
    *,
    rng,
    scope="all",
    groups=None,
    excluded=None,
    eligible="auto",
    variance="posterior",
    nuisance=None,
    exchange=0,
    bound=None,
    undecided=1.0,
):
    """`v_optimal` among every pair of the design's items.

    Parameters
    ----------
    design : Design
        As in :func:`greedy_d_every_pair`; without a target of its own, the second
        moment of its sample of pairs is the target.
    n_pairs, rng, scope, groups, excluded, eligible, variance
        As there.
    nuisance : array-like of int, default=None
        As in :func:`v_optimal`.
    exchange : int, default=0
        As there; with it, the design's sample of pairs are the candidates.
    bound : float, default=None
        As there, the median estimated from the design's pairs.
    undecided : float in (0, 1], default=1.0
        As in :func:`greedy_d_every_pair`.

    Returns
    -------
    picks : Picks
        Positions are pairs of items, shape (n_pairs, 2).

    Notes
    -----
    Cost and memory: see :func:`skarm._information.all_pairs_v.greedy_v_all_pairs`. With
    `bound` about twice as long, or four times where long pairs are eligible: a scan
    finds them by their v, and then weighs them less.
    """
    check_variance(variance)
    if exchange or _is_wide(design):
        few = {"eligible": eligible, "variance": variance, "nuisance": nuisance}
        few |= {"exchange": exchange, "bound": bound, "undecided": undecided}
        return _as_pairs(design, v_optimal(design, n_pairs, rng=rng, **few))
    where = {"scope": scope, "groups": groups, "excluded": excluded}
    state, limits = _scan(design, n_pairs, rng, eligible, variance, undecided, bound)
    target = target_without(design, nuisance)
    pairs, gains = greedy_v_all_pairs(*state, target, n_pairs, **where, **limits)
    return Picks(pairs.numpy(), np.asarray(gains))


def _is_wide(design):
    return design.embedding.shape[1] > len(design.embedding) // 4


def _as_pairs(design, picks):
    return Picks(design.pairs[picks.positions], picks.utilities)


def _scan(design, n_pairs, rng, eligible, variance, undecided, bound=None):
    """Embedding, rewards and matrix of a scan, and its limits."""
    design, _, widest = among_undecided(design, n_pairs, undecided)
    shrink = 1.0
    if variance == "posterior":
        mean_variance = design.reward_difference_variances.mean()
        shrink = 1 / np.sqrt(1 + np.pi / 8 * mean_variance)
    _, limit = bulk(design, n_pairs, eligible)
    longest = longest_at_full_weight(design, bound)
    reach = None
    if min(limit, longest) < np.inf:
        reach = design.moment_factor, limit * shrink, longest * shrink
    state = (
        design.tensor("embedding") * shrink**0.5,
        design.tensor("rewards") * shrink,
        precision(design),
    )
    limits = {
        "reach": reach,
        "widest": None if widest == np.inf else widest * shrink,
        "tie_order": torch.as_tensor(rng.permutation(len(design.embedding))),
        "max_per_item": design.max_pairs_per_item,
        "max_per_group": design.max_pairs_per_group,
        "progress": design.progress,
    }
    return state, limits
