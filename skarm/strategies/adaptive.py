"""The default: information where the features allow it, else a lean from chance."""

import numpy as np

from skarm.strategies._registry import register
from skarm.strategies._selection import Picks, bulk
from skarm.strategies.every_pair import v_every_pair
from skarm.strategies.optimal_design import v_optimal
from skarm.strategies.tournament import tournament_d_optimal

__all__ = ["adaptive", "adaptive_every_pair", "tail_weight"]

#: Above this tail weight, pairs far out are not trusted to teach about the rest.
LIGHT_TAILS = 1.15


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost="that of `v_optimal` or `tournament_d_optimal`",
    source="this package; `benchmarks/study_label_efficiency.py`",
)
def adaptive(design, n_pairs, *, rng):
    """What "auto" is: `v_optimal` for light-tailed pools, else `tournament_d_optimal`.

    A design criterion follows its linear model to the longest differences. Where the
    candidates have light tails none is far out, and the exact greedy V-optimal batch,
    nobody left out, saves most labels. Where tails are heavy, as with most real text
    features, the reward out there is rarely linear, and a rule that may only lean away
    from chance is what never did worse than random. See :func:`tail_weight`.

    Parameters
    ----------
    design : Design
        The candidates, the past information, the prior precision and the target.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties; draws contestants.

    Returns
    -------
    picks : Picks
        Utilities as those of the rule used, which `why` names, with the reason.

    Notes
    -----
    Cost that of the rule used, and O(n_candidates d + n_items d² + d³) to choose it.

    References
    ----------
    .. [1] `benchmarks/results/label_efficiency/REPORT.md`.
    """
    weight = tail_weight(design)
    if weight <= LIGHT_TAILS:
        picks = v_optimal(design, n_pairs, rng=rng, eligible=1.0)
    else:
        picks = tournament_d_optimal(design, n_pairs, rng=rng)
    return picks._replace(why=_reason(weight))


def adaptive_every_pair(design, n_pairs, *, rng, **where):
    """`adaptive` among every pair of the design's items.

    Parameters
    ----------
    design : Design
        Over all items; its pairs are a random sample of the scope.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties; draws contestants.
    **where : dict
        Scope, groups and excluded pairs, as in
        :func:`skarm.strategies.every_pair.v_every_pair`.

    Returns
    -------
    picks : Picks
        Positions are pairs of items, shape (n_pairs, 2).

    Notes
    -----
    A tournament's contestants are drawn from the sample, which is to draw them from
    every pair.
    """
    weight = tail_weight(design)
    if weight <= LIGHT_TAILS:
        picks = v_every_pair(design, n_pairs, rng=rng, eligible=1.0, **where)
    else:
        picks = tournament_d_optimal(design, n_pairs, rng=rng)
        picks = Picks(design.pairs[picks.positions], picks.utilities)
    return picks._replace(why=_reason(weight))


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
    lengths = bulk(design, 1, 0.5)[1]
    if lengths is None or not (lengths > 1e-20).any():
        return 1.0
    rank = lengths.mean()  # the trace of A⁻¹ A
    # Pairs of equal items teach nothing, and say nothing about the tails.
    lengths = lengths[lengths > 1e-20]
    return float(np.mean((lengths / lengths.mean()) ** 2) * rank / (rank + 2))


def _reason(weight):
    is_light = weight <= LIGHT_TAILS
    tails = (
        f"the differences have {'light' if is_light else 'heavy'} tails (kurtosis "
        f"{weight:.2f} times a Gaussian's; the limit is {LIGHT_TAILS})"
    )
    if is_light:
        return f"greedy V-optimal: {tails}, so that none is far out"
    return (
        f"the better of two random pairs by direction: {tails}, and long differences "
        "mislead a linear reward"
    )
