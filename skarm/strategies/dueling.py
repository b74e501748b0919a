"""Dueling rules: find the best response to each prompt, with one duel per prompt.

They serve those who will use the best response (or the best and the worst), not the
whole reward model. A prompt is a group of the design; without groups the whole pool is
one prompt, and a pair across two groups belongs to a prompt of its own. As in the
papers, a batch holds one pair of each prompt before it holds a second of any.

The posterior knows a reward only beside others, so an item's own bounds are those of
its reward beside the mean over its prompt's candidates.
"""

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from skarm._model.logit_normal import probability_variance
from skarm.strategies._arenas import arenas_of, round_robin, tournament
from skarm.strategies._registry import register

__all__ = [
    "delta_ucb",
    "double_thompson",
    "drts",
    "eubo",
    "information_max",
    "max_min_lcb",
]

#: Items whose posterior rows are in memory, beside their prompt's mean, at a time.
BLOCK = 4096


@register(
    needs_model=True,
    needs_posterior=True,
    batch_aware=False,
    cost="O(m d² + d³ + k (a d + b)), a items and b pairs of a prompt",
    source="Dwaracherla et al. 2024, arXiv 2402.00396",
)
def double_thompson(design, n_pairs, *, rng, n_tries=30):
    """Two Thompson samples: the best item under one draw, against that under another.

    Each draw is of the last layer, so that rewards are drawn jointly. The second is
    repeated until it names another item, at most `n_tries` times; then the opponent is
    drawn uniformly.

    Parameters
    ----------
    design : Design
        The candidates, their groups, and the posterior.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Draws.
    n_tries : int, default=30
        Draws for the second item.

    Returns
    -------
    picks : Picks
        Utilities are zero: pairs are drawn, not scored. Costs are not weighed.

    Notes
    -----
    The second item is among those that the first may still be compared with. Prompts
    take turns in random order. Time per pick O(d² + items and pairs of the prompt),
    memory O(n_items d + n_candidates).

    References
    ----------
    .. [1] Dwaracherla et al., "Efficient exploration for LLMs", ICML 2024, arXiv
       2402.00396, double Thompson sampling.
    """
    return _thompson(design, n_pairs, rng, n_tries, sign=1)


@register(
    needs_model=True,
    needs_posterior=True,
    batch_aware=False,
    cost="O(m d² + d³ + k (a d + b)), a items and b pairs of a prompt",
    source="ActiveUltraFeedback 2026, arXiv 2603.09692",
)
def drts(design, n_pairs, *, rng, n_tries=30):
    """Double reversed Thompson sampling: the best under one draw, the worst of another.

    Pairs with a large gap, which judges answer reliably: what preference optimization
    learns most from.

    Parameters
    ----------
    design, n_pairs, rng, n_tries
        As for :func:`double_thompson`.

    Returns
    -------
    picks : Picks
        Utilities are zero: pairs are drawn, not scored. Costs are not weighed.

    Notes
    -----
    The paper draws each reward alone, uniformly within its confidence bounds; here
    rewards are drawn jointly from the posterior. Cost as :func:`double_thompson`.

    References
    ----------
    .. [1] "ActiveUltraFeedback", ICML 2026, arXiv 2603.09692, DRTS.
    """
    return _thompson(design, n_pairs, rng, n_tries, sign=-1)


@register(
    needs_model=True,
    needs_posterior=True,
    batch_aware=False,
    cost="O(n d + m d² + d³)",
    source="Dwaracherla et al. 2024, arXiv 2402.00396",
)
def information_max(design, n_pairs, *, rng):
    """Infomax: largest variance of P(first preferred) under the posterior.

    Parameters
    ----------
    design : Design
        The candidates, their groups, and the posterior.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are variances of a probability, at most 1/4.

    Notes
    -----
    The paper takes the variance over draws; under the posterior the logit is normal
    and it is an integral, exact to 1e-12. With heads it is over the heads. Cost
    O(n_candidates d + n_items d² + d³), memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] Dwaracherla et al., "Efficient exploration for LLMs", ICML 2024, arXiv
       2402.00396, infomax.
    """
    if design.heads is None:
        utilities = probability_variance(
            -np.abs(design.reward_differences), design.reward_difference_variances
        )
    else:
        utilities = _variance_over_heads(design)
    return round_robin(design, utilities, n_pairs, rng)


@register(
    needs_model=True,
    needs_posterior=True,
    batch_aware=False,
    cost="O(n d + m d² + d³)",
    source="Lin et al. 2022, arXiv 2203.11382",
)
def eubo(design, n_pairs, *, rng):
    """Expected utility of the best option: largest E[max(r_i, r_j)].

    With rewards of means a ≥ b and standard deviation s of their difference it is
    a + s [φ(u) - u Φ(-u)], u = (a - b) / s: the mean of the better item, and what may
    be gained because the other may turn out better.

    Parameters
    ----------
    design : Design
        The candidates, their groups, and the posterior.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are E[max] in nats above the prompt's lowest predicted reward, because
        the level of a reward, and of a prompt, is not known.

    Notes
    -----
    Cost O(n_candidates d + n_items d² + d³), memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] Lin et al., "Preference exploration for efficient Bayesian optimization with
       multiple outcomes", AISTATS 2022, arXiv 2203.11382, analytic EUBO.
    """
    arena, n_arenas = arenas_of(design)
    rewards = design.rewards[design.pairs]
    lowest = np.full(n_arenas, np.inf)
    np.minimum.at(lowest, arena, rewards.min(axis=1))
    sd = np.sqrt(design.reward_difference_variances)
    u = np.abs(design.reward_differences) / np.maximum(sd, np.finfo(float).tiny)
    gain = np.maximum(sd * (norm.pdf(u) - u * norm.sf(u)), 0)
    utilities = rewards.max(axis=1) - lowest[arena] + gain
    return round_robin(design, utilities, n_pairs, rng)


@register(
    needs_model=True,
    needs_posterior=True,
    batch_aware=False,
    cost="O(n d + m d² + d³)",
    source="ActiveUltraFeedback 2026, arXiv 2603.09692",
)
def delta_ucb(design, n_pairs, *, rng, beta=1.0):
    """DeltaUCB: the largest gap between an upper and a lower bound, U_i - L_j.

    Bounds are beta standard deviations of a reward (beside its prompt's mean) from its
    estimate: |r_i - r_j| + beta (sd_i + sd_j).

    Parameters
    ----------
    design : Design
        The candidates, their groups, and the posterior.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.
    beta : float, default=1.0
        Width of the bounds, in standard deviations.

    Returns
    -------
    picks : Picks
        Utilities are gaps in nats. Prompts with the largest gap come first.

    Notes
    -----
    Cost O(n_candidates d + n_items d² + d³), memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] "ActiveUltraFeedback", ICML 2026, arXiv 2603.09692, DeltaUCB.
    """
    arena, n_arenas = arenas_of(design)
    white, pairs = design.white, design.pairs
    mean = np.zeros((n_arenas, white.shape[1]))
    for items in pairs.T:
        for start in range(0, len(items), BLOCK):
            part = slice(start, start + BLOCK)
            np.add.at(mean, arena[part], white[items[part]])
    mean /= 2 * np.bincount(arena, minlength=n_arenas)[:, None]
    widths = np.zeros(len(pairs))
    for items in pairs.T:
        for start in range(0, len(items), BLOCK):
            part = slice(start, start + BLOCK)
            widths[part] += np.linalg.norm(
                white[items[part]] - mean[arena[part]], axis=1
            )
    utilities = np.abs(design.reward_differences) + beta * widths
    return round_robin(design, utilities, n_pairs, rng)


@register(
    needs_model=True,
    needs_posterior=True,
    batch_aware=False,
    cost="O(n d + m d² + d³ + k b), b pairs of a prompt",
    source="Pásztor et al. 2024, arXiv 2406.16745",
)
def max_min_lcb(design, n_pairs, *, rng, beta=1.0):
    """MaxMinLCB: the item whose worst duel is best, against the opponent of that duel.

    With LCB(i, j) = r_i - r_j - beta sd(r_i - r_j), and UCB likewise, the plausible
    winners are M = {i : UCB(i, j) > 0 for every j}; the pair is the leader i in M of
    largest min over j in M of LCB(i, j), and the follower j that attains it.

    Parameters
    ----------
    design : Design
        The candidates, their groups, and the posterior.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties, and says which prompts come first.
    beta : float, default=1.0
        Width of the bounds, in standard deviations.

    Returns
    -------
    picks : Picks
        Utilities are max-min LCBs in nats, often negative. Costs are not weighed.

    Notes
    -----
    Opponents are those that the candidates hold, and in later rounds those still to be
    asked. Where M leaves no pair (a prompt with one plausible winner, whom the paper
    then pits against itself), the follower is any opponent, and last the leader any
    item. Cost O(n_candidates d + n_items d² + d³) and O(pairs of the prompt) per pick,
    memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] Pásztor, Kassraie and Krause, "Bandits with preference feedback: a
       Stackelberg game perspective", NeurIPS 2024, arXiv 2406.16745.
    """
    gap = design.reward_differences
    width = beta * np.sqrt(design.reward_difference_variances)

    def duel(arena, is_open):
        positions, first, second, _ = arena
        source, target = np.append(first, second), np.append(second, first)
        mean = np.append(gap[positions], -gap[positions])
        lower = mean - np.tile(width[positions], 2)
        contest = source != target
        beaten = source[contest & (mean + np.tile(width[positions], 2) <= 0)]
        plausible = np.ones(source.max() + 1, dtype=bool)
        plausible[beaten] = False
        is_open = np.tile(is_open, 2)
        allowed = is_open
        for rule in (contest, plausible[source], plausible[target]):
            if (allowed & rule).any():
                allowed = allowed & rule
        worst = np.full(len(plausible), np.inf)
        np.minimum.at(worst, source[allowed], lower[allowed])
        best = np.where(np.isfinite(worst), worst, -np.inf).max()
        arc = np.flatnonzero(allowed & (worst[source] == best) & (lower == best))[0]
        return arc % len(positions), best

    return tournament(design, n_pairs, rng, duel)


def _thompson(design, n_pairs, rng, n_tries, sign):
    """Duels between the best item of one draw and the best (or worst) of another."""
    embedding = design.embedding - design.embedding.mean(axis=0)

    def duel(arena, is_open):
        # Each duel has a stream of its own, which no other's length can move.
        own = np.random.RandomState(rng.randint(2**31 - 1))
        chance, offsets = own.random_sample(), design.offsets(own, 1 + n_tries)

        def drawn(contestants, offsets):
            items = arena.items[contestants]
            return design.rewards[items, None] + embedding[items] @ offsets.T

        rows = np.flatnonzero(is_open & (arena.first != arena.second))
        if not len(rows):  # only an item against its equal is left
            return np.flatnonzero(is_open)[0], 0.0
        first, second = arena.first[rows], arena.second[rows]
        is_up = np.zeros(len(arena.items), dtype=bool)
        is_up[first] = is_up[second] = True
        contestants = np.flatnonzero(is_up)
        leader = contestants[drawn(contestants, offsets[:1])[:, 0].argmax()]
        opponents = np.union1d(second[first == leader], first[second == leader])
        rewards = sign * drawn(np.append(leader, opponents), offsets[1:])
        winners = rewards.argmax(axis=0)
        if winners.any():
            follower = opponents[winners[winners > 0][0] - 1]
        else:
            # Counted in the order of a draw, not of the items, which means nothing.
            ranked = opponents[np.argsort(rewards[1:, -1])]
            follower = ranked[int(chance * len(ranked))]
        ours = np.minimum(first, second) == min(leader, follower)
        ours &= np.maximum(first, second) == max(leader, follower)
        return rows[ours.argmax()], 0.0

    return tournament(design, n_pairs, rng, duel)


def _variance_over_heads(design):
    """Variance of P(first preferred) over the heads, (n_candidates,)."""
    rewards, out = design.reward_draws(None, 0), np.empty(design.n_pairs)
    for start in range(0, design.n_pairs, BLOCK):
        first, second = design.pairs[start : start + BLOCK].T
        out[start : start + BLOCK] = expit(rewards[first] - rewards[second]).var(axis=1)
    return out
