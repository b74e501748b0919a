"""The default: certain of what is predicted, and of every direction.

Rewards are used to rank responses to a prompt, whichever pairs may be asked. Before the
first answer the batch that pays on real features of texts is the one that lowers the
variance of the differences inside prompts most. After it, the one that does so and
raises the information about all directions, as in Active Reward Modeling, in equal
parts; and once most directions are settled, which can be read off the posterior, the
latter alone. But only pairs that the model is least sure of are asked about. It is too
simple for the rewards: an answer about a wide difference, which every design likes,
bends it, and one about a narrow difference does not. For the same reason responses are
seen on a sphere until most directions are settled, so that those unlike all others do
not fill the batch. Where prompts are few, random pairs did better: see `FEW_GROUPS`.
"""

from copy import copy

import numpy as np
import torch

from skarm._model.prior import within_moment
from skarm.strategies._greedy import precision
from skarm.strategies._registry import register
from skarm.strategies._selection import Picks
from skarm.strategies.baseline import random
from skarm.strategies.every_pair import greedy_d_every_pair, v_every_pair
from skarm.strategies.optimal_design import greedy_d_optimal, v_optimal
from skarm.strategies.tournament import tournament_d_optimal

__all__ = [
    "adaptive",
    "adaptive_every_pair",
    "blended_moment",
    "settled_share",
    "tail_weight",
]

#: From this settled share on, the information about all coefficients is what counts.
SETTLED = 1 / 2
#: This share of the pairs may be asked about, those that the model is least sure of.
UNDECIDED = 1 / 2
#: Before that, where pairs across groups are offered, a difference longer than this
#: multiple of the median counts for less: groups differ by more than is predicted.
BOUND = 1.0
#: Where so large a share of the offer is asked at once, there is little to choose.
#: One small set of recorded answers taught this too.
MOST = 1 / 8
#: With fewer groups than this, and less settled, the default leans on chance, and below
#: the settled share `LEAN` is nothing but. One set of recorded votes on 13 prompts
#: taught this, where designs lost .03 to .05 accuracy to random; no other had so few.
FEW_GROUPS, LEAN = 30, 1 / 6
#: Up to this tail weight no pair is too far out to be asked about.
LIGHT_TAILS = 1.2


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost="that of the rule used, and O(n d + m d² + d³)",
    source="this package; `benchmarks/study_label_efficiency.py`",
)
def adaptive(design, n_pairs, *, rng):
    """What "auto" is: V- and D-optimal at once, among the pairs that are in doubt.

    Before there is a model, `v_optimal`, aimed at the pairs inside groups, where those
    are known. While the answers settle less than half of the directions that candidates
    differ in, `v_optimal` aimed at these and at all directions in equal parts, see
    :func:`blended_moment`; then `greedy_d_optimal`. If the query has a target,
    `v_optimal` for that in any case. All with ``undecided=0.5``, once there is a model,
    and with ``bound=1`` where pairs cross groups and less than half is settled. Until
    half is settled, the rule sees items on a sphere, see :meth:`Design.on_sphere`:
    pairs are long by what they differ in, not by how far out their items are. Pairs far
    out stay eligible where tails are light and no pair crosses groups. With fewer
    than 30 groups and less than half settled, in place of these: `random`, and from 1/6
    on `tournament_d_optimal`, the better of two random pairs. For a batch of an eighth
    or more of the candidates, `random` in any case. See :func:`settled_share` and
    :func:`tail_weight`.

    Parameters
    ----------
    design : Design
        The candidates, the past information, the prior precision and the target.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties; draws at random.

    Returns
    -------
    picks : Picks
        Utilities as those of the rule used, which `why` names, with the reason.

    Notes
    -----
    Cost that of the rule used, and O(n_candidates d + n_items d² + d³) to choose it; a
    batch among every pair of a vast pool takes seconds, several times as long by V as
    by D. The rules and shares were chosen on the tuning half of the study's prompts and
    models, but for recorded answers and those that ship with skarm, which have no
    halves, and the sphere, chosen on these prompts with the models of both halves.

    References
    ----------
    .. [1] `benchmarks/results/label_efficiency/REPORT.md`.
    """
    design, rule, params, why = _rule(design, n_pairs)
    return rule(design, n_pairs, rng=rng, **params)._replace(why=why)


def adaptive_every_pair(design, n_pairs, *, rng, **where):
    """`adaptive` among every pair of the design's items.

    Parameters
    ----------
    design : Design
        Over all items; its pairs are a random sample of the scope.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties; draws at random.
    **where : dict
        Scope, groups and excluded pairs, as in
        :func:`skarm.strategies.every_pair.v_every_pair`.

    Returns
    -------
    picks : Picks
        Positions are pairs of items, shape (n_pairs, 2).

    Notes
    -----
    To draw from the sample is to draw from every pair.
    """
    design, rule, params, why = _rule(design, 0)
    if rule in _EVERY_PAIR:
        picks = _EVERY_PAIR[rule](design, n_pairs, rng=rng, **params, **where)
        return picks._replace(why=why)
    picks = rule(design, n_pairs, rng=rng)
    return Picks(design.pairs[picks.positions], picks.utilities, why)


def settled_share(design):
    """Share of the directions that the answers, not the prior, determine.

    tr(M⁻¹ H) / r with H the information of the answers, M = alpha I + H, and r the
    number of dimensions in which candidates differ: MacKay's number of well-determined
    parameters over that of all there are.

    Parameters
    ----------
    design : Design
        The past information and the prior precision.

    Returns
    -------
    share : float
        In [0, 1]; 0 in a cold start without a past.

    References
    ----------
    .. [1] MacKay, "Bayesian interpolation", Neural Computation 4, 1992, eq. 4.8.
    """
    lengths = design.lengths
    if not lengths.any():
        return 0.0
    past = design.tensor("past_information")
    settled = torch.linalg.solve(precision(design), past).trace().item()
    return float(np.clip(settled / lengths.mean(), 0, 1))  # the trace of A⁻¹ A is r


def tail_weight(design):
    """Mardia's kurtosis of the candidates' differences, as a multiple of a Gaussian's.

    With ℓ = xᵀ A⁻¹ x and A the second moment of the differences, which span r
    dimensions, E[ℓ] is r, and E[ℓ²] / E[ℓ]² · r / (r + 2) is 1 for Gaussian ones.

    Parameters
    ----------
    design : Design
        The candidates; no model is needed.

    Returns
    -------
    weight : float
        1 for Gaussian tails, more for heavier ones, and 1 where all pairs are equal.

    References
    ----------
    .. [1] Mardia, "Measures of multivariate skewness and kurtosis with applications",
       Biometrika 57, 1970.
    """
    lengths = design.lengths
    if not design.differ.any():
        return 1.0
    rank = lengths.mean()
    # Pairs of equal items teach nothing, and say nothing about the tails.
    lengths = lengths[design.differ]
    return float(np.mean((lengths / lengths.mean()) ** 2) * rank / (rank + 2))


_EVERY_PAIR = {greedy_d_optimal: greedy_d_every_pair, v_optimal: v_every_pair}


def _rule(design, n_pairs):
    """The design and the rule to use on it, its parameters, and the reason in words."""
    if n_pairs >= MOST * design.n_pairs:
        why = f"random: {n_pairs} of {design.n_pairs} pairs leave little to choose"
        return design, random, {}, why
    share = 0.0 if design.is_cold else settled_share(design)
    settled = f"the answers settle {share:.0%} of the directions"
    if share < SETTLED and _has_few_groups(design):
        rule = random if share < LEAN else tournament_d_optimal
        return design, rule, {}, f"{rule.__name__}: {settled}, and groups are few"
    if share < SETTLED:
        design = design.on_sphere()
    crossing, weight = _crosses_groups(design), tail_weight(design)
    params, left_out = {"eligible": "auto"}, "and are left out"
    if weight <= LIGHT_TAILS and not crossing:
        params, left_out = {"eligible": 1.0}, "so none is left out"
    seen = "on a sphere, " if share < SETTLED else ""
    tails = f"{seen}differences far out weigh {weight:.2f} of a Gaussian's, {left_out}"
    if not design.is_cold:
        params["undecided"] = UNDECIDED
        tails = f"the {UNDECIDED:.0%} of the pairs most in doubt are offered; {tails}"
    start = "no answers yet" if design.is_cold else settled
    if share >= SETTLED and not _has_target(design):
        why = f"greedy_d_optimal: {start}; {tails}"
        return design, greedy_d_optimal, params, why
    if crossing and share < SETTLED:
        params["bound"] = BOUND
    if _has_target(design):
        aim, moment = "the target", None
    else:
        aim, moment = "what is predicted", _moment_inside_groups(design)
        if not design.is_cold:
            aim += " and every direction"
            moment = blended_moment(design, moment)
    why = f"v_optimal: {start}, so make {aim} sure; {tails}"
    return _aimed(design, moment), v_optimal, params, why


def _has_few_groups(design):
    return design.groups is not None and len(np.unique(design.groups)) < FEW_GROUPS


def _crosses_groups(design):
    if design.groups is None:
        return False
    first, second = design.groups[design.pairs].T
    return bool((first != second).any())


def _has_target(design):
    return design.target_moment is not design.second_moment


def _moment_inside_groups(design):
    """Rewards rank responses to a prompt; None where prompts are not known."""
    if design.groups is None:
        return None
    return within_moment(design.embedding, design.groups)


def _aimed(design, moment):
    """The design, aimed at differences with this moment; None leaves it as it is."""
    if moment is None:
        return design
    aimed = copy(design)
    aimed.target_moment, aimed._tensors = moment, {}
    return aimed


def blended_moment(design, moment=None):
    """Moment to aim at for being sure of some predictions and of all directions.

    Minus log tr(A M⁻¹) rises by v xᵀM⁻¹A M⁻¹x / tr(A M⁻¹) with an answer about x, and
    log det M by v xᵀM⁻¹x, both to first order. V-optimality for A / tr(A M⁻¹) + M / d
    is for the sum of the former and a d-th of the latter: for the mean variance of the
    predictions times the geometric mean of those of all directions.

    Parameters
    ----------
    design : Design
        The precision M, (d, d), of the posterior.
    moment : ndarray of shape (d, d), default=None
        A; None is the target's.

    Returns
    -------
    moment : ndarray of shape (d, d)
        What to aim at.
    """
    matrix = precision(design)
    moment = design.target_moment if moment is None else moment
    aim = matrix.new_tensor(moment)
    aim /= torch.linalg.solve(matrix, aim).trace().clamp_(min=1e-300)
    return (aim + matrix / len(matrix)).cpu().numpy()
