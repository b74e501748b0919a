"""The best of many candidates whose gains only ever fall, by looking at few of them."""

import numpy as np
import torch

from skarm._information.pair_lengths import PairGraph, squared_distances

__all__ = ["Shortlists"]

#: Numbers (pairs × dimensions) of the longer list, how far it may grow, and how many
#: times shorter the shorter one is.
LIST_NUMBERS, MOST_LIST_NUMBERS, SHORTER = 131_072, 1_048_576, 16
#: Candidates of the shorter list, at least; the longer one holds four times as many.
LEAST = 16
#: A list that is used up within so many picks was too short: the next is twice as long.
SHORT_LIVED = 4


class Shortlists:
    """Candidates, of which only those at the top are kept up to date.

    A list holds the candidates worth most when it was made. What the best of the others
    were worth then, they cannot exceed later; so until the best of the list falls to
    that, it is the best of all. A shorter list of the list spares most of that work,
    too. Whoever is not in the shortest list catches up in one go, when that is used up.

    Parameters
    ----------
    embedding : Tensor of shape (n_items, d), float64, on the CPU
        Φ.
    first, second : IntTensor or LongTensor of shape (n_candidates,)
        Items of each candidate.
    weights, lengths : Tensor of shape (n_candidates,)
        w, and q = xᵀ M⁻¹ x; not changed. A candidate gains w q.
    """

    def __init__(self, embedding, first, second, weights, lengths):
        self.levels = [_Everyone(embedding, first, second, weights, lengths)]
        longer = max(LIST_NUMBERS // embedding.shape[1], 4 * LEAST)
        self.sizes = [longer, max(longer // SHORTER, LEAST)]
        self.n_most = max(MOST_LIST_NUMBERS // embedding.shape[1], 4 * LEAST)

    def best(self, closed, costs, updates):
        """The open candidate that gains most, or most per cost.

        Parameters
        ----------
        closed : ndarray of shape (n_candidates,), bool
            Who may not be picked.
        costs : ndarray of shape (n_candidates,) or None
            The gain is log(1 + w q), then.
        updates : ndarray of shape (n_updates, d)
            Rows u: since the lists were made, every q has fallen by Σ (xᵀ u)². Those
            handed in before come first.

        Returns
        -------
        pick : int or None
            Its position, the first of equals; None where all are closed.
        gain, length : float
            Its w q and q.
        """
        while True:
            level = self.levels[-1]
            gain, worth = level.look(closed, costs, updates)
            place = worth.argmax()
            if worth[place] > level.bound:
                break
            if len(self.levels) == 1:
                return None, 0.0, 0.0
            self.levels.pop()
            if level.n_looks <= SHORT_LIVED:
                self.sizes[len(self.levels) - 1] *= 2
        pick, length = int(level.positions[place]), level.lengths[place]
        for depth in range(len(self.levels) - 1, len(self.sizes)):
            size, whole = self.sizes[depth], self.levels[-1]
            is_list = len(self.levels) > 1
            if size > self.n_most or (is_list and 2 * size > len(worth)):
                break
            above, bound = _above(worth, size)
            if not len(above):  # too many are worth the same
                self.sizes[depth] *= 2
                break
            bound = max(bound, whole.bound)  # who is in neither list counts, too
            self.levels.append(_List(whole, above, bound))
            worth = worth[above]
        return pick, float(gain[place]), float(length)

    def pair(self, position):
        """The difference x of a candidate, and its w."""
        everyone = self.levels[0]
        return everyone.rows(position), everyone.weights[position]


def _above(worth, n):
    """Places of the n largest values, and the next one; of equals all or none."""
    if n >= len(worth):
        return np.arange(len(worth)), -1.0
    least = len(worth) - n - 1
    bound = np.partition(worth, least)[least]
    return np.flatnonzero(worth > bound), bound


class _Everyone:
    """All candidates, by way of their items."""

    bound = -1.0  # what who is closed is worth

    def __init__(self, embedding, first, second, weights, lengths):
        self.tensors, self.graph = (embedding, first, second), None
        self.phi, self.first, self.second = (part.numpy() for part in self.tensors)
        self.positions = np.arange(len(first))
        self.weights, self.lengths = weights.numpy(), lengths.numpy().copy()
        self.n_seen, self.n_looks = 0, 0

    def look(self, closed, costs, updates):
        """Gains, and what they are worth, up to date."""
        if self.n_seen < len(updates):
            self.lengths -= self.squares(updates[self.n_seen :])
            np.maximum(self.lengths, 0, out=self.lengths)
            self.n_seen = len(updates)
        self.n_looks += 1
        gain = self.weights * self.lengths
        if costs is None:
            worth = gain.copy()
        else:
            worth = np.log1p(gain) / costs[self.positions]
        np.putmask(worth, closed[self.positions], -1.0)
        return gain, worth

    def squares(self, directions):
        """Σ (xᵀ u)² over the directions (n_directions, d), of each."""
        embedding, first, second = self.tensors
        values = embedding @ torch.as_tensor(directions).T
        if len(directions) == 1:
            along = values[:, 0].index_select(0, first)
            along -= values[:, 0].index_select(0, second)
            return along.square_().numpy()
        if self.graph is None:
            self.graph = PairGraph(first, second, len(values))
        values -= values.mean(dim=0)
        return squared_distances(values, first, second, self.graph).numpy()

    def rows(self, places):
        """Differences x of some, or of one."""
        return self.phi[self.first[places]] - self.phi[self.second[places]]


class _List(_Everyone):
    """Some of a level, by way of their differences."""

    def __init__(self, level, places, bound):
        self.x, self.bound = level.rows(places), bound
        self.positions = level.positions[places]
        self.weights, self.lengths = level.weights[places], level.lengths[places]
        self.n_seen, self.n_looks = level.n_seen, 0

    def squares(self, directions):
        if len(directions) == 1:
            return np.square(self.x @ directions[0])
        along = self.x @ directions.T
        return np.einsum("ij,ij->i", along, along)

    def rows(self, places):
        return self.x[places]
