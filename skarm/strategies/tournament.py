"""Tournaments: a design rule that may only lean away from chance, not leave it.

Where a linear reward is an approximation, answers about outlying pairs teach little
about the others, and so do those about any narrow kind of pair: on real text features
random pairs restricted to the shortest, the middle or the longest differences all do
worse than random pairs. What random gets right is the mixture. The best of c candidates
drawn at random is at most c times as likely to be any given pair as a random one is.
"""

import numpy as np

from skarm.strategies._greedy import check_variance
from skarm.strategies._registry import register
from skarm.strategies._selection import Selection

__all__ = ["tournament_d_optimal"]

#: A pair much shorter than the others counts for no more than so many times its length.
MAX_STRETCH = 10.0
#: Rank-one updates before the inverse is computed afresh.
REFACTOR_EVERY = 100


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost="O(k (c d² + d²) + n d + m d² + d³)",
    source="this package; `benchmarks/study_label_efficiency.py`",
)
def tournament_d_optimal(design, n_pairs, *, rng, contestants=2, variance="posterior"):
    """Best of a few random pairs, by the direction in which they inform.

    For each pick `contestants` open candidates are drawn at random, and the one that
    raises log det M the most is taken, M = alpha I + past + batch, where each candidate
    counts as if it had the median length: its weight is w = v · median(ℓ) / ℓ with
    ℓ = xᵀ A⁻¹ x, A the second moment of the candidates' differences. So directions not
    asked about yet win, outlying pairs have no advantage, and every pair keeps its
    chance.

    Parameters
    ----------
    design : Design
        The candidates, the past information and the prior precision.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Draws the contestants.
    contestants : int, default=2
        c. 1 is random.
    variance : {"posterior", "plug_in"}, default="posterior"
        What v is: E[p (1 - p)] under the posterior, or p (1 - p) at the estimate.

    Returns
    -------
    picks : Picks
        Utilities are w xᵀ M⁻¹ x when picked, in nats.

    Raises
    ------
    ValueError
        If `contestants` is not a positive integer, or `variance` is unknown.

    Notes
    -----
    A pair is picked at most about c times as often as by random, whatever its features.
    Costs divide gains; caps are kept. Memory O(n_candidates + n_items d + d²).

    References
    ----------
    .. [1] `benchmarks/results/label_efficiency/REPORT.md`.
    """
    check_variance(variance)
    if int(contestants) != contestants or contestants < 1:
        raise ValueError(
            f"contestants must be a positive integer. Got {contestants!r}. 1 is random."
        )
    v = design.posterior_variances if variance == "posterior" else design.variances
    lengths = design.lengths
    if lengths.any():
        median = np.median(lengths[lengths > 0])
        stretch = median / np.maximum(lengths, median / MAX_STRETCH)
        v = v * stretch
    cost = np.ones(design.n_pairs) if design.costs is None else design.costs
    selection = Selection(design)
    order = _Drawing(design.n_pairs, rng)
    matrix = design.past_information + design.prior
    inverse, n_updates = np.linalg.inv(matrix), 0
    while len(selection) < n_pairs:
        drawn = order.some(int(contestants), selection.open)
        if not len(drawn):
            break
        first, second = design.pairs[drawn].T
        x = design.embedding[first] - design.embedding[second]
        image = x @ inverse
        gains = v[drawn] * np.einsum("ij,ij->i", image, x)
        best = int((gains / cost[drawn]).argmax())
        pick = drawn[best]
        selection.take(pick, gains[best])
        matrix += v[pick] * np.outer(x[best], x[best])
        n_updates += 1
        if n_updates % REFACTOR_EVERY == 0:
            inverse = np.linalg.inv(matrix)
        else:
            shrink = v[pick] / (1 + gains[best])
            inverse -= shrink * np.outer(image[best], image[best])
    return selection.picks()


class _Drawing:
    """Open candidates drawn at random, different ones each time."""

    def __init__(self, n, rng):
        self._n, self._rng = n, rng

    def some(self, size, is_open):
        """At most `size` different open positions; few only if few are open."""
        drawn = self._rng.randint(self._n, size=4 * size)
        drawn = drawn[is_open[drawn]]
        _, first = np.unique(drawn, return_index=True)
        drawn = drawn[np.sort(first)][:size]
        if len(drawn) < size:  # hardly any left: look for them
            left = np.flatnonzero(is_open)
            drawn = self._rng.permutation(left)[:size]
        return drawn
