"""Geometry of comparison differences, without forming them: products by items."""

import numpy as np

__all__ = ["Differences", "spread_out"]

#: Of squared lengths: what is below is rounding.
NOISE = 1e-12


class Differences:
    """The differences x of the candidates as vectors, through the items.

    Parameters
    ----------
    design : Design
        The candidates.
    order : ndarray of intp, default=None
        Which of them, in this order; None is all.

    Attributes
    ----------
    squared_lengths : ndarray of shape (n,)
        xᵀ x.

    Notes
    -----
    An inner product with all of them costs O(n_items d + n), memory O(n_items d + n).
    """

    def __init__(self, design, order=None):
        pairs = design.pairs if order is None else design.pairs[order]
        self.first, self.second = np.ascontiguousarray(pairs.T)
        # Only differences count, and their digits suffer from a common offset.
        self.items = design.embedding - design.embedding.mean(axis=0)
        self.squared_lengths = np.empty(len(pairs))
        for start in range(0, len(pairs), 16384):
            block = slice(start, start + 16384)
            x = self[block]
            self.squared_lengths[block] = np.einsum("ij,ij->i", x, x)

    def __len__(self):
        return len(self.first)

    def __getitem__(self, index):
        return self.items[self.first[index]] - self.items[self.second[index]]

    def along(self, directions):
        """Inner products with directions (..., d), as (n, ...)."""
        along = self.items @ np.asarray(directions).T
        return along[self.first] - along[self.second]

    def nearest(self, others):
        """The least ‖x ± x'‖² to others (n_others, d), in blocks of rows."""
        squares = np.square(others).sum(axis=1)
        nearest = np.empty(len(self))
        n_rows = max(1, 2**18 // len(others))
        for start in range(0, len(self), n_rows):
            block = slice(start, start + n_rows)
            products = self[block] @ others.T
            np.abs(products, out=products)
            products *= -2
            products += squares
            nearest[block] = products.min(axis=1)
        nearest += self.squared_lengths
        return np.where(nearest > 2 * NOISE * self.squared_lengths, nearest, 0.0)

    def sums(self, labels, signs, n_labels):
        """Σ sign · x over the differences with each label, (n_labels, d)."""
        counts = np.zeros((n_labels, len(self.items)))
        np.add.at(counts, (labels, self.first), signs)
        np.add.at(counts, (labels, self.second), -signs)
        return counts @ self.items


def squared_distances(lengths, others, products):
    """‖a - b‖² from ‖a‖², ‖b‖² and aᵀ b; exactly 0 where it drowns in rounding."""
    total = lengths + others
    distances = total - 2 * products
    return np.where(distances > NOISE * total, distances, 0.0)


def spread_out(weights, is_open, rng):
    """Draw an open position with probability proportional to its weight.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Not negative.
    is_open : ndarray of shape (n,), bool
        Who may be drawn; some may.
    rng : RandomState
        Randomness.

    Returns
    -------
    position : int
        Uniform among the open ones where their weights are all 0.
    """
    total = np.cumsum(np.where(is_open, weights, 0.0))
    if total[-1] <= 0:
        return rng.choice(np.flatnonzero(is_open))
    # Strictly greater than u: what has weight 0 is never drawn.
    return int(np.searchsorted(total, rng.random_sample() * total[-1], side="right"))
