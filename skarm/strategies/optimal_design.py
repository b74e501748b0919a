"""Optimal design: greedy batches that raise the information of the last layer most.

One answer about a pair with embedding difference x carries Fisher information v x xᵀ,
v = p (1 - p). With M = alpha I + past + batch, the rules differ in what they make large
or small:

- D, ``greedy_d_optimal``: log det M, all directions at once; D_s leaves nuisances out;
- V, ``v_optimal``: tr(A M⁻¹), the mean variance of the predictions one cares about;
- A, ``a_optimal``: tr M⁻¹, the variance of the coefficients;
- G, ``g_optimal``: max xᵀ M⁻¹ x, the variance of the least certain difference;
- ``bait``: V as its authors search it, twice as many forward and half of them back.

M is updated after every pick, so that a batch does not repeat itself. All but ``bait``,
which is as published, leave outlying pairs alone (see `eligible`).
"""

import torch

from skarm._information import criteria, fisher
from skarm._information.exchange import exchange_d, exchange_v
from skarm.strategies._greedy import (
    check_exchange,
    greedy_picks,
    nuisance_columns,
    precision,
    weights,
)
from skarm.strategies._registry import register
from skarm.strategies._selection import Picks, among_undecided

__all__ = ["a_optimal", "bait", "g_optimal", "greedy_d_optimal", "v_optimal"]

_COST = "O(k (m d + n) + n d + m d² + d³)"


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost=_COST,
    source="Guo et al. 2018; Kveton et al. 2025, arXiv 2503.01076",
)
def greedy_d_optimal(
    design,
    n_pairs,
    *,
    rng,
    eligible="auto",
    variance="posterior",
    nuisance=None,
    exchange=0,
    undecided=1.0,
):
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
    nuisance : array-like of int, default=None
        Columns of the embedding whose coefficients matter only because they are not
        known, such as the length of a response: D_s-optimality. Each pick then raises
        the log det of M_ss - M_sn M_nn⁻¹ M_ns most, the information about the other
        coefficients s. See Notes.
    exchange : int, default=0
        At most so many passes of exchange afterwards: each goes through the picks, and
        swaps one for the candidate that serves the batch best. Costs as much as the
        greedy batch, per pass; not with costs or nuisances.
    undecided : float in (0, 1], default=1.0
        Who may be picked, first of all: this share of the candidates, those whose
        answers are least certain, by |reward difference|. A model too simple for the
        rewards errs least there. 1, and a cold start, leave nobody out.

    Returns
    -------
    picks : Picks
        Utilities are the log det gained by each pick, in nats; without `nuisance`
        non-increasing.

    Notes
    -----
    log det is submodular: the batch gains at least 1 - 1/e of the best. D_s is not, and
    has no guarantee. Within a batch, rank-one updates cost O(n_items d + n_candidates)
    per pick, after O(n_candidates d + n_items d² + d³); memory O(n_candidates +
    n_items d). In a cold start, with ``variance="plug_in"`` and ``eligible=1.0``, the
    picks are those of :func:`~skarm.strategies.cold_start.reward_agnostic`.

    Nuisance columns are features of the items of a linear model (no hidden layer, whose
    embedding would mix them): append them as the last columns and pass ``[-1]``, ...
    Length or format is a number, or a 0/1 column, per response. Position: list each
    response twice, shown first (1) and shown second (0), and pair the one with the
    other. Judges: list each response once per judge, with the bias of each in columns
    of its own, such as length times "is judge 1", and pair within a judge.

    References
    ----------
    .. [1] Guo et al., "Experimental design under the Bradley–Terry model", IJCAI 2018.
    .. [2] Kveton et al., "Active learning for direct preference optimization", arXiv
       2503.01076.
    .. [3] Du et al., "Optimal design for active preference learning with biased LLM
       judges", 2026: the Schur complement I_eff = A - C D⁻¹ Cᵀ.
    """

    def choose(*candidates, **limits):
        if nuisance is None:
            return fisher.greedy_d(*candidates, n_pairs, **limits)
        columns = nuisance_columns(design, nuisance)
        return criteria.greedy_d_s(
            *candidates, nuisance=columns, n_pairs=n_pairs, **limits
        )

    def refine(*batch, caps):
        return exchange_d(*batch, n_passes=exchange, caps=caps)

    check_exchange(design, exchange, nuisance)
    refine = refine if exchange else None
    # Read for v anyway.
    known = variance == "posterior" and design.heads is None and nuisance is None
    lengths = "reward_difference_variances" if known else None
    who = {"eligible": eligible, "undecided": undecided}
    return _greedy(design, n_pairs, rng, variance, choose, refine, lengths, **who)


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost=_COST,
    source="Fedorov 1972 (I- or V-optimality); target: Du et al. 2026",
)
def v_optimal(
    design,
    n_pairs,
    *,
    rng,
    eligible="auto",
    variance="posterior",
    nuisance=None,
    exchange=0,
    bound=None,
    undecided=1.0,
):
    """Greedy V-optimal batch: each pick lowers tr(A (alpha I + past + batch)⁻¹) most.

    A is the second moment of the differences that the model will be used on, the
    query's `target` or else the candidates, so this is the mean posterior variance of a
    reward difference there. With the samples of a policy as the target, it is
    L-optimality for that policy.

    Parameters
    ----------
    design : Design
        The candidates, the past information, the prior precision and the target.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.
    eligible, variance
        As in :func:`greedy_d_optimal`.
    nuisance : array-like of int, default=None
        As there: their part of a difference is not predicted, but their coefficients
        are not known. Rows and columns of A that belong to them are zero, so that the
        trace is that of A_ss (M_ss - M_sn M_nn⁻¹ M_ns)⁻¹.
    exchange : int, default=0
        At most so many passes of exchange afterwards: each goes through the picks, and
        swaps one for the candidate that serves the batch best. Costs as much as the
        greedy batch, per pass; not with costs.
    bound : float, default=None
        How long (squared, as for `eligible`) a difference may be, as a multiple of the
        median, before its v falls as one over its length. None sets no bound. The
        linear model is least to be trusted on long differences; so bounded, none
        teaches more in any direction than one of that length would.
    undecided : float in (0, 1], default=1.0
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
    .. [1] Fedorov, "Theory of optimal experiments", 1972.
    .. [2] Du et al., "Optimal design for active preference learning with biased LLM
       judges", 2026: min ½ tr(G₀ I_eff⁻¹).
    .. [3] Mallows, "On some topics in robustness", Bell Laboratories 1975, for such
       weights in regression.
    """
    target = target_without(design, nuisance)

    def refine(*candidates, caps):
        *candidates, picks = candidates
        return exchange_v(*candidates, target, picks, n_passes=exchange, caps=caps)

    check_exchange(design, exchange)
    refine = refine if exchange else None
    who = {"eligible": eligible, "undecided": undecided}
    return _greedy_v(design, n_pairs, rng, variance, target, refine, bound, **who)


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost=_COST,
    source="Chernoff 1953",
)
def a_optimal(design, n_pairs, *, rng, eligible="auto", variance="posterior"):
    """Greedy A-optimal batch: each pick lowers tr(alpha I + past + batch)⁻¹ most.

    That is the sum of the posterior variances of the coefficients, so the scale of each
    feature matters: standardise them.

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
        Utilities are the variance removed by each pick, in squared nats per squared
        unit of the features.

    Notes
    -----
    `v_optimal` with A = I. Cost as :func:`greedy_d_optimal`.

    References
    ----------
    .. [1] Chernoff, "Locally optimal designs for estimating parameters", Annals of
       Mathematical Statistics 24, 1953.
    """
    identity = torch.eye(design.embedding.shape[1], dtype=torch.float64)
    target = identity.to(design.tensor("embedding"))
    return _greedy_v(design, n_pairs, rng, variance, target, eligible=eligible)


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost=_COST,
    source="Kiefer and Wolfowitz 1960",
)
def g_optimal(design, n_pairs, *, rng, eligible="auto", variance="posterior"):
    """Greedy G-optimal batch: lowers the largest xᵀ (alpha I + past + batch)⁻¹ x.

    The criterion is the posterior variance of the least certain reward difference among
    the eligible candidates. Each pick is the one that lowers the variance of the
    difference which is the least certain at that moment the most; to ask about another
    than the worst pair would leave the criterion where it is.

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
        Utilities are the variance each pick removes from what was the least certain
        difference, in squared nats.

    Notes
    -----
    The exact minimax step is not taken: where two differences are equally uncertain, no
    single answer lowers the maximum, and every candidate ties. Cost as
    :func:`greedy_d_optimal`.

    References
    ----------
    .. [1] Kiefer and Wolfowitz, "The equivalence of two extremum problems", Canadian
       Journal of Mathematics 12, 1960: with many answers G and D agree.
    """

    def choose(*candidates, **limits):
        return criteria.greedy_g(*candidates, n_pairs=n_pairs, **limits)

    return _greedy(design, n_pairs, rng, variance, choose, eligible=eligible)


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost="O(k (m d + n) + k² d + n d + m d² + d³)",
    source="Ash et al. 2021, arXiv 2106.09675",
)
def bait(design, n_pairs, *, rng, ridge=None, past_weight=1.0, variance="plug_in"):
    """BAIT: minimises tr(F (ridge I + past + batch)⁻¹), forward 2k, then backward k.

    F is the mean Fisher information v x xᵀ of the candidates, or of the query's
    `target`. First 2k pairs are added greedily, each the one that lowers the trace
    most; then pairs are dropped, each the one whose loss raises it least, until k are
    left.

    Parameters
    ----------
    design : Design
        The candidates, the past information, the prior precision and the target.
    n_pairs : int
        k.
    rng : RandomState
        Breaks ties.
    ridge : float, default=None
        None is the prior precision alpha; the paper has 1.
    past_weight : float, default=1.0
        Factor of the past information, which is a sum. 1 makes the matrix the posterior
        precision; the paper's algorithm averages, 1 / n_past. (Its authors' code does
        as ``ridge=(n_past + k) / k`` and ``past_weight=1 / k`` do.)
    variance : {"posterior", "plug_in"}, default="plug_in"
        As in :func:`greedy_d_optimal`, for the candidates.

    Returns
    -------
    picks : Picks
        Utilities are what each pick took off the trace when it was added, in nats.

    Notes
    -----
    Nobody is left out. Costs divide gains on the way forward and losses on the way
    back; caps hold on the way forward. Time as :func:`greedy_d_optimal` for 2k picks,
    and O(k² d) for the way back.

    References
    ----------
    .. [1] Ash et al., "Gone fishing: neural active learning with Fisher embeddings",
       NeurIPS 2021, algorithm 1 and appendix; for one logit the Woodbury identity has
       rank one.
    """
    target = design.tensor("target_information")

    def choose(*candidates, costs, close):
        n_forward = min(2 * n_pairs, len(candidates[1]))
        limits = {"costs": costs, "close": close}
        picks, gains = fisher.greedy_v(*candidates, target, n_forward, **limits)
        kept = criteria.prune_v(
            *candidates, target=target, picks=picks, n_pairs=n_pairs, costs=costs
        )
        return [picks[k] for k in kept], [gains[k] for k in kept]

    matrix = precision(design, ridge, past_weight)
    v = weights(design, variance)
    return greedy_picks(
        design, n_pairs, rng, choose, weights=v, matrix=matrix, report=False
    )


def target_without(design, nuisance):
    """The target moment, with zero rows and columns for nuisances."""
    target = design.tensor("target_moment").clone()
    if nuisance is not None:
        columns = nuisance_columns(design, nuisance)
        target[columns], target[:, columns] = 0.0, 0.0
    return target


def _greedy_v(design, n_pairs, rng, variance, target, refine=None, bound=None, **who):
    def choose(*candidates, **limits):
        return fisher.greedy_v(*candidates, target, n_pairs, **limits)

    return _greedy(design, n_pairs, rng, variance, choose, refine, bound=bound, **who)


def _greedy(
    design,
    n_pairs,
    rng,
    variance,
    choose,
    refine=None,
    lengths=None,
    bound=None,
    eligible="auto",
    undecided=1.0,
):
    """A greedy rule on the posterior precision, among the bulk of the undecided."""
    part, positions, _ = among_undecided(design, n_pairs, undecided)
    picks = greedy_picks(
        *(part, n_pairs, rng, choose),
        weights=weights(part, variance, bound),
        matrix=precision(part),
        eligible=eligible,
        refine=refine,
        lengths=None if lengths is None else part.tensor(lengths),
    )
    if len(picks.positions) < n_pairs and part is not design:  # caps used these up
        rest = (refine, lengths, bound, eligible)
        return _greedy(design, n_pairs, rng, variance, choose, *rest)
    return Picks(positions[picks.positions], picks.utilities)
