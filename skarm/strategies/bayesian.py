"""Bayesian rules: how much an answer would tell about the last layer.

What is not known of a reward difference is its spread under the Laplace posterior of
the last layer or, where the model was fitted with `n_heads`, over those heads.
"""

import numpy as np
from scipy.special import psi
from sklearn.neighbors import NearestNeighbors

from skarm._model.logit_normal import answer_of_logit, bald_information
from skarm.strategies._joint_answers import JointAnswers
from skarm.strategies._registry import register
from skarm.strategies._selection import Selection, top_n

__all__ = ["bal_pm", "bald", "batch_bald", "variance"]

#: Candidates whose draws are in memory at a time.
BLOCK = 256
#: Share of log n_draws that a batch may gain before the last layer is drawn anew.
RENEWAL = 0.5


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=False,
    cost="O(n d + m d² + d³)",
    source="Das et al. 2025, arXiv 2402.10500 (APO)",
)
def variance(design, n_pairs, *, rng):
    """Pairs whose reward difference the model knows least: largest variance.

    xᵀ (alpha I + past)⁻¹ x of the posterior, or the variance over the heads.

    Parameters
    ----------
    design : Design
        The candidates and the posterior.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are variances in squared nats.

    Notes
    -----
    Asked one at a time it is APO, and greedy D-optimal design that forgets the
    Bernoulli variance of the answer: it also asks what is already decided. Cost
    O(n_candidates d + n_items d² + d³), memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] Das et al., "Active preference optimization for sample efficient RLHF", ECML
       2025, arXiv 2402.10500.
    """
    return top_n(design, design.reward_difference_variances, n_pairs, rng)


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=False,
    cost="O(n d + m d² + d³)",
    source="Houlsby et al. 2011, arXiv 1112.5745",
)
def bald(design, n_pairs, *, rng):
    """BALD: largest mutual information between the answer and the last layer.

    H(E[p]) - E[H(p)], with H the binary entropy: what the answer would say, less the
    noise that would remain if the model were known. Under the posterior the logit is
    normal and the expectations are integrals over it, exact to 1e-11; with heads they
    are means over the heads.

    Parameters
    ----------
    design : Design
        The candidates and the posterior.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are nats, at most log 2.

    Notes
    -----
    Scores pairs once: near-duplicates of a good pair are all taken, see `batch_bald`.
    Cost O(n_candidates d + n_items d² + d³), memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] Houlsby et al., "Bayesian active learning for classification and preference
       learning", arXiv 1112.5745, 2011, Eq. (2).
    """
    return top_n(design, _bald(design), n_pairs, rng)


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost="O(n d + m d (d + s) + d³ + k r s c), r refreshed of n, c configurations",
    source="Kirsch et al. 2019, arXiv 1906.08158",
)
def batch_bald(design, n_pairs, *, rng, n_draws=500, n_configurations=512):
    """BatchBALD: the batch whose answers, together, tell most about the last layer.

    Greedy in I(answers of the batch; last layer): each pick adds H(E[p | c]) - E[H(p) |
    c], averaged over the configurations c of answers to the pairs before it. All 2^m
    of them, while they are at most `n_configurations`; beyond, a sample.

    Parameters
    ----------
    design : Design
        The candidates and the posterior.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Draws, and breaks ties.
    n_draws : int, default=500
        Draws of the last layer from the posterior; with heads, the heads are used.
    n_configurations : int, default=512
        Joint answers kept; 2^m of them make m + 1 picks exact for the draws.

    Returns
    -------
    picks : Picks
        Utilities are the nats gained by each pick.

    Notes
    -----
    No batch can gain more than log n_draws nats, 6.2 with 500, for then the answers
    name the draw, and the next picks are noise. At half of that the last layer is drawn
    anew, from the posterior narrowed by the expected information of the batch so far,
    and what follows is scored by those draws. (Heads cannot be drawn anew: ten of them
    are worth 2.3 nats.)

    A gain is at most BALD's and only shrinks as the batch grows, up to the noise of
    sampling, so candidates are refreshed only until one beats the old gains of the
    rest. Cost as `bald`, then O(n_draws n_configurations) per candidate refreshed;
    memory O(n_items n_draws + n_draws n_configurations + n_candidates).

    Given sampled configurations, the paper's joint entropy ranks candidates by the
    mean of H(E[p | c]) less E[H(p)]; here the latter, too, is a mean over the sample,
    E[H(p) | c]: the same in expectation, with less noise.

    References
    ----------
    .. [1] Kirsch, van Amersfoort and Gal, "BatchBALD: efficient and diverse batch
       acquisition for deep Bayesian active learning", NeurIPS 2019.
    """
    order = rng.permutation(design.n_pairs)
    answer_rng = np.random.RandomState(rng.randint(2**31 - 1))
    rewards = design.reward_draws(rng, n_draws)
    answers, gained = JointAnswers(rewards.shape[1], n_configurations, answer_rng), 0.0

    def probabilities(positions):
        first, second = design.pairs[positions].T
        logits = rewards[first] - rewards[second]
        # Whichever comes first under the first draw: blind to the order of a pair.
        logits *= np.where(logits[:, :1] < 0, -1, 1)
        return answer_of_logit(logits)

    gains = _bald(design)[order]
    costs = np.ones(design.n_pairs) if design.costs is None else design.costs[order]
    selection = Selection(design)
    while len(selection) < n_pairs and selection.open.any():
        worth = np.where(selection.open[order], gains / costs, -np.inf)
        best, best_worth = -1, -np.inf
        while worth.max() > best_worth:
            block = _largest(worth, BLOCK)
            block = block[worth[block] > best_worth]
            gains[block] = answers.information(*probabilities(order[block]))
            worth[block] = -np.inf  # refreshed
            fresh = gains[block] / costs[block]
            if fresh.max() > best_worth:
                best, best_worth = block[fresh.argmax()], fresh.max()
        selection.take(order[best], gains[best])
        answers.add(probabilities(order[[best]])[0][0])
        gained += gains[best]
        if design.heads is None and gained > RENEWAL * np.log(n_draws):
            rewards = design.reward_draws(rng, n_draws, selection.picks().positions)
            answers, gained = JointAnswers(n_draws, n_configurations, answer_rng), 0.0
    return selection.picks()


@register(
    needs_model=False,
    needs_posterior=True,
    batch_aware=True,
    cost="O(k n + n d + m d² + d³ + g² d), g prompts",
    source="Melo et al. 2024, arXiv 2406.10023",
)
def bal_pm(design, n_pairs, *, rng, beta=0.01, n_neighbors=13, prompt_features=None):
    """BAL-PM: BALD, plus the entropy that a pair's prompt adds to the prompts asked.

    U + beta [log D(x) - ψ(n(x) + 1) / d], where U is BALD, D(x) twice the distance of
    the prompt's features from their k-th nearest neighbor among all prompts, d their
    dimension, and n(x) how many comparisons were asked, before and in this batch, of
    prompts within D(x) / 2.

    Parameters
    ----------
    design : Design
        The candidates, the posterior, and the groups of the items, which are prompts.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.
    beta : float, default=0.01
        Weight of the entropy, in nats per nat.
    n_neighbors : int, default=13
        k; at most the other prompts there are.
    prompt_features : array of shape (n_prompts, d), default=None
        A row per prompt that the candidates name, in the sorted order of the group
        labels. None takes the mean embedding of the prompt's items.

    Returns
    -------
    picks : Picks
        Utilities are the score above, in nats, when picked.

    Raises
    ------
    ValueError
        If `prompt_features` has another number of rows than there are prompts.

    Notes
    -----
    Without groups there is one prompt and the rule is BALD. A pair across prompts gets
    the mean of their entropies, and counts for both. Asked comparisons count for the
    prompts that the candidates still name. Cost O(n_pairs n_candidates) beside BALD's
    and the neighbors', memory O(n_candidates + n_items d).

    References
    ----------
    .. [1] Melo, Tigas, Abate and Gal, "Deep Bayesian active learning for preference
       modeling in large language models", NeurIPS 2024, arXiv 2406.10023.
    """
    order = rng.permutation(design.n_pairs)
    information = _bald(design)[order]
    prompts = PromptEntropy(design, n_neighbors, prompt_features)
    costs = 1.0 if design.costs is None else design.costs[order]
    groups = prompts.groups[design.pairs[order]]  # (n_candidates, 2)
    selection = Selection(design)
    while len(selection) < n_pairs and selection.open.any():
        scores = information + beta * prompts.entropies()[groups].mean(axis=1)
        # Scores may be negative: a cost divides what they gain over the least.
        worth = (scores - scores.min()) / costs
        best = np.argmax(np.where(selection.open[order], worth, -np.inf))
        selection.take(order[best], scores[best])
        prompts.ask(groups[best])
    return selection.picks()


class PromptEntropy:
    """How much another comparison of each prompt adds to the entropy of those asked.

    Parameters
    ----------
    design : Design
        Its groups are the prompts; without groups there is one.
    n_neighbors : int
        k, at most the other prompts there are.
    features : array of shape (n_prompts, d) or None
        Of the prompts; None is the mean embedding of their items.

    Attributes
    ----------
    groups : ndarray of shape (n_items,)
        Prompt of each item.
    features : ndarray of shape (n_prompts, d)
        Of the prompts.
    radii : ndarray of shape (n_prompts,)
        D / 2, the distance from the k-th nearest neighbor.
    counts : ndarray of shape (n_prompts,)
        Comparisons asked within the radius.
    """

    def __init__(self, design, n_neighbors, features):
        self.groups = design.groups
        if self.groups is None:
            self.groups = np.zeros(len(design.embedding), dtype=np.intp)
        sizes = np.bincount(self.groups)
        if features is None:
            centered = design.embedding - design.embedding.mean(axis=0)
            features = np.zeros((len(sizes), centered.shape[1]))
            np.add.at(features, self.groups, centered)
            features /= np.maximum(sizes, 1)[:, None]
        self.features = np.asarray(features, dtype=np.float64)
        if len(self.features) != len(sizes):
            raise ValueError(
                "prompt_features must have a row per prompt among the candidates, "
                f"{len(sizes)}. Got {len(self.features)}."
            )
        self.radii = np.ones(len(sizes))
        if len(sizes) > 1:
            n_neighbors = min(n_neighbors, len(sizes) - 1)
            nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(self.features)
            # Without an argument a point is not its own neighbor.
            self.radii = nearest.kneighbors()[0][:, -1]
        self.counts = np.zeros(len(sizes))
        for prompt in np.flatnonzero(design.past_counts):
            self.counts += design.past_counts[prompt] * self._sees(prompt)

    def _sees(self, prompt):
        """Which prompts have this one within their radius."""
        gaps = np.linalg.norm(self.features - self.features[prompt], axis=1)
        return gaps <= self.radii

    def entropies(self):
        """What each prompt would add: log D - ψ(n + 1) / d."""
        # Where prompts coincide, D = 0: as small as the smallest that is not.
        positive = self.radii[self.radii > 0]
        floor = positive.min() if len(positive) else 1.0
        log_diameter = np.log(2 * np.maximum(self.radii, floor))
        return log_diameter - psi(self.counts + 1) / self.features.shape[1]

    def ask(self, prompts):
        """Count a comparison of these prompts."""
        for prompt in np.unique(prompts):
            self.counts += self._sees(prompt)


def _bald(design):
    """Mutual information of each candidate's answer and the last layer, (n,)."""
    if design.heads is None:
        return bald_information(
            -np.abs(design.reward_differences), design.reward_difference_variances
        )
    rewards, out = design.reward_draws(None, 0), np.empty(design.n_pairs)
    alone = JointAnswers(rewards.shape[1], 1, None)
    for start in range(0, design.n_pairs, 4096):
        first, second = design.pairs[start : start + 4096].T
        answers = answer_of_logit(rewards[first] - rewards[second])
        information = alone.information(*answers)
        out[start : start + 4096] = np.maximum(information, 0)
    return out


def _largest(values, n):
    """Positions of the n largest values, ascending."""
    if n >= len(values):
        return np.arange(len(values))
    return np.sort(np.argpartition(values, len(values) - n)[len(values) - n :])
