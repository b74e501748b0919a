"""Diversity: batches that cover the pool, in the space of comparison differences.

A comparison is its difference x = φ_first - φ_second, and -x is the same question, so
distances here look at both: ‖x ± x'‖, whichever is smaller.
"""

import numpy as np
from scipy.special import expit
from sklearn.utils import check_random_state

from skarm.strategies._differences import Differences, spread_out, squared_distances
from skarm.strategies._registry import register
from skarm.strategies._selection import Selection

__all__ = ["badge", "coreset", "k_center", "sensitivities"]


@register(
    needs_model=False,
    needs_posterior=False,
    batch_aware=False,
    cost="O(clusters (m d + n))",
    source="Huggins et al. 2016, arXiv 1605.06423",
)
def coreset(design, n_pairs, *, rng, n_clusters=10, radius=1.0):
    """Logistic-regression coreset: pairs drawn in proportion to their sensitivity.

    The sensitivity of a pair is the most that it can ever be worth, see
    :func:`sensitivities`: large for a pair far from all others.

    Parameters
    ----------
    design : Design
        The candidates; the embedding is read, not the rewards.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Seeds the clusters, and draws.
    n_clusters : int, default=10
        Clusters of questions.
    radius : float, default=1.0
        R: coefficients up to this length are thought of.

    Returns
    -------
    picks : Picks
        Utilities are the sensitivities.

    Notes
    -----
    The paper draws with replacement and weighs what it drew; a question is asked once,
    so pairs are drawn one after another from those that are left. With costs, in
    proportion to sensitivity per cost. With c clusters, time O(c (n_items d +
    n_candidates)), memory O(n_items d + c (n_items + n_candidates)).

    References
    ----------
    .. [1] Huggins, Campbell and Broderick, "Coresets for scalable Bayesian logistic
       regression", NeurIPS 2016, algorithm 1 and lemma 3.1. Ten clusters, one Lloyd
       iteration and R = 1: Shen, Sun and Ton, arXiv 2502.04354.
    """
    values = sensitivities(design, rng=rng, n_clusters=n_clusters, radius=radius)
    costs = 1.0 if design.costs is None else design.costs
    # The order of log weight + Gumbel noise is that of draws without replacement.
    keys = np.log(values / costs) + rng.gumbel(size=len(values))
    selection = Selection(design)
    for position in np.argsort(-keys):
        if selection.open[position]:
            selection.take(position, values[position])
        if len(selection) == n_pairs:
            break
    return selection.picks()


def sensitivities(design, *, rng, n_clusters=10, radius=1.0):
    """Upper bounds on the sensitivity of each candidate, for :func:`coreset`.

    Before the answer, a pair may be y x = x or -x, so the data are both: Z of length
    N = 2 n_candidates. With clusters G_i of these, and G_i - z the cluster without z,

        m(z) = N / (1 + Σ_i |G_i - z| exp(-R ‖mean(G_i - z) - z‖)).

    Clusters come in pairs G and -G, so that m(x) = m(-x): centers ±c are seeded by
    k-means++ and moved to their means once.

    Parameters
    ----------
    design, rng, n_clusters, radius
        As in :func:`coreset`.

    Returns
    -------
    m : ndarray of shape (n_candidates,)
        From 1 to 2 n_candidates.
    """
    differences = Differences(design)
    lengths = differences.squared_lengths[:, None]
    centers = _seeds(differences, n_clusters, rng)
    # For differences at right angles to their center. The seed takes one draw of rng,
    # however many features there are.
    direction = check_random_state(rng.randint(2**31)).standard_normal(centers.shape[1])
    tie_breaks = differences.along(direction)
    for _ in range(2):  # one Lloyd iteration, and the means of the final clusters
        products = differences.along(centers)
        squares = np.square(centers).sum(axis=1)
        labels = squared_distances(lengths, squares, np.abs(products)).argmin(axis=1)
        side = _of(labels, products)
        signs = np.sign(np.where(side == 0, tie_breaks, side))
        sizes = np.bincount(labels, minlength=len(centers))
        sums = differences.sums(labels, signs, len(centers))
        centers = sums / np.maximum(sizes, 1)[:, None]
    products = differences.along(centers)
    squares = np.square(centers).sum(axis=1)
    same, opposite = (
        np.sqrt(squared_distances(lengths, squares, sign * products))
        for sign in (1, -1)
    )
    mass = (np.exp(-radius * same) + np.exp(-radius * opposite)) @ sizes
    # Its own cluster is smaller by one, and its mean farther by size / (size - 1).
    own = np.where(signs > 0, *(_of(labels, d) for d in (same, opposite)))
    size = sizes[labels]
    left = np.maximum(size - 1, 1)
    mass -= size * np.exp(-radius * own)
    mass += np.where(size > 1, left * np.exp(-radius * own * size / left), 0.0)
    return 2 * len(differences) / (1 + np.maximum(mass, 0.0))


@register(
    needs_model=False,
    needs_posterior=False,
    batch_aware=True,
    cost="O((k + past) (m d + n))",
    source="Sener and Savarese 2018, arXiv 1708.00489",
)
def k_center(design, n_pairs, *, rng):
    """Greedy k-center: each pick is the pair farthest from all asked and picked.

    The distance of two pairs is min(‖x - x'‖, ‖x + x'‖). Without a past, the longest
    difference is the first.

    Parameters
    ----------
    design : Design
        The candidates, and the differences of the pairs already asked.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are the distances to the nearest pair asked or picked before,
        non-increasing without costs and caps; of the first without a past, its length.

    Notes
    -----
    Twice the smallest possible covering radius at most. Time O((n_pairs + n_past)
    (n_items d + n_candidates)), memory O(n_items d + n_candidates).

    References
    ----------
    .. [1] Sener and Savarese, "Active learning for convolutional neural networks: a
       core-set approach", ICLR 2018, algorithm 1.
    """
    order = rng.permutation(design.n_pairs)
    differences = Differences(design, order)
    lengths = differences.squared_lengths
    asked = design.past_differences
    is_first = not len(asked)
    nearest = lengths if is_first else differences.nearest(asked)
    costs = 1.0 if design.costs is None else design.costs[order]
    selection = Selection(design)
    while len(selection) < n_pairs and selection.open.any():
        distances = np.sqrt(nearest)
        worth = np.where(selection.open[order], distances / costs, -1.0)
        pick = int(worth.argmax())
        selection.take(order[pick], distances[pick])
        products = np.abs(differences.along(differences[pick]))
        found = squared_distances(lengths, lengths[pick], products)
        nearest = found if is_first else np.minimum(nearest, found)
        is_first = False
    return selection.picks()


@register(
    needs_model=True,
    needs_posterior=False,
    batch_aware=True,
    cost="O(k (m d + n))",
    source="Ash et al. 2020, arXiv 1906.03671",
)
def badge(design, n_pairs, *, rng):
    """BADGE: k-means++ seeding among gradients at the more likely answer.

    The gradient of the loss in the last layer, were ŷ = 1[p > 1/2] the answer, is
    g = (p - ŷ) x: long for uncertain answers about long differences. The first pick is
    the longest; each other is drawn in proportion to its squared distance to the
    nearest picked one.

    Parameters
    ----------
    design : Design
        The candidates.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Draws, and breaks ties.

    Returns
    -------
    picks : Picks
        Utilities are the squared distances when chosen; of the first, ‖g‖².

    Notes
    -----
    Swapping a pair turns p - ŷ and x, so g stays. Where p = 1/2, in a cold start
    everywhere, either answer is as likely, and the nearer of g and -g counts. With
    costs, in proportion to squared distance per cost. Two classes have gradients g and
    -g; the second says nothing new and is left out. Time O(n_pairs (n_items d +
    n_candidates)), memory O(n_items d + n_candidates).

    References
    ----------
    .. [1] Ash et al., "Deep batch active learning by diverse, uncertain gradient lower
       bounds", ICLR 2020, algorithm 1.
    """
    order = rng.permutation(design.n_pairs)
    differences = Differences(design, order)
    rewards = design.reward_differences[order]
    factors = np.where(rewards > 0, -1, 1) * expit(-np.abs(rewards))  # p - ŷ
    lengths = factors**2 * differences.squared_lengths
    is_tied = rewards == 0
    costs = 1.0 if design.costs is None else design.costs[order]
    nearest, selection = lengths, Selection(design)
    while len(selection) < n_pairs and selection.open.any():
        is_open = selection.open[order]
        if len(selection):
            pick = spread_out(nearest / costs, is_open, rng)
        else:
            pick = int(np.where(is_open, lengths / costs, -1.0).argmax())
        value, is_first = nearest[pick], not len(selection)
        selection.take(order[pick], value)
        products = factors * factors[pick] * differences.along(differences[pick])
        products = np.where(is_tied | is_tied[pick], np.abs(products), products)
        found = squared_distances(lengths, lengths[pick], products)
        nearest = found if is_first else np.minimum(nearest, found)
    return selection.picks()


def _seeds(differences, n_clusters, rng):
    """Centers by k-means++, blind to sign, (n_clusters or fewer, d)."""
    lengths = differences.squared_lengths
    everyone = np.ones(len(lengths), dtype=bool)
    chosen, nearest = [rng.randint(len(lengths))], np.inf
    while True:
        x = differences[chosen[-1]]
        products = np.abs(differences.along(x))
        found = squared_distances(lengths, lengths[chosen[-1]], products)
        nearest = np.minimum(nearest, found)
        if len(chosen) >= min(n_clusters, len(lengths)) or not nearest.any():
            return differences[np.array(chosen)]
        chosen.append(spread_out(nearest, everyone, rng))


def _of(labels, table):
    """The entry of each row in its label's column."""
    return np.take_along_axis(table, labels[:, None], axis=1)[:, 0]
