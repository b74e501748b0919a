"""Differences of item vectors over lists of pairs: formed in chunks, or not at all.

A pair is two row numbers, `first` and `second`, of item vectors (n_items, d).
"""

import warnings

import numpy as np
import torch
from scipy import sparse

__all__ = ["PairGraph", "differences", "squared_distances"]

#: Numbers (pairs × dimensions) gathered at once: as much as a core's cache holds, and
#: on a GPU as much as keeps it busy.
CHUNK_NUMBERS, GPU_CHUNK_NUMBERS = 131_072, 8_388_608
#: A squared distance below this share of ‖u_i‖² + ‖u_j‖² lost digits to cancellation.
CANCELED = 0.01


def differences(values, first, second):
    """values[first] - values[second], in chunks of pairs that stay in cache.

    Parameters
    ----------
    values : Tensor of shape (n_items, d)
        One row per item.
    first, second : IntTensor or LongTensor of shape (n_pairs,)
        Items of each pair.

    Yields
    ------
    x : Tensor of shape (n_chunk, d)
        To be overwritten at will.
    """
    numbers = GPU_CHUNK_NUMBERS if values.is_cuda else CHUNK_NUMBERS
    n = max(numbers // max(values.shape[1], 1), 1)
    for i, j in zip(first.split(n), second.split(n), strict=True):
        yield values.index_select(0, i).sub_(values.index_select(0, j))


class PairGraph:
    """A list of pairs, sorted by the lesser of their items, in linear time.

    Parameters
    ----------
    first, second : IntTensor or LongTensor of shape (n_pairs,), on the CPU
        Items of each pair, in either order.
    n_items : int
        How many items there are.

    Attributes
    ----------
    order : LongTensor of shape (n_pairs,)
        Places of the pairs in the list.
    starts : IntTensor of shape (n_items + 1,)
        Where the pairs of each item start in that order.
    greater : IntTensor of shape (n_pairs,)
        Their greater items in that order; a repeated pair is repeated.
    """

    def __init__(self, first, second, n_items):
        first, second = (end.numpy().astype(np.int32) for end in (first, second))
        n_pairs = len(first)
        self.shape = n_items, n_items
        lesser, one_each = np.minimum(first, second), np.arange(n_pairs + 1)
        places = sparse.csr_array(
            (np.ones(n_pairs, dtype=bool), lesser, one_each.astype(np.int32)),
            shape=(n_pairs, n_items),
        ).tocsc()
        self.order = torch.as_tensor(places.indices).long()
        self.starts = torch.as_tensor(places.indptr)
        self.greater = torch.as_tensor(np.maximum(first, second)[places.indices])

    def flow(self, weights, values):
        """D Φ / 2 - A Φ, with the weights in A at (lesser, greater), D its degrees.

        The Laplacian of the graph is D - A - Aᵀ.

        Parameters
        ----------
        weights : Tensor of shape (n_pairs,)
            Of each pair.
        values : Tensor of shape (n_items, d)
            Φ, one row per item.

        Returns
        -------
        flow : Tensor of shape (n_items, d)
            O(n_pairs d), and no difference is formed.
        """
        weights = weights.to(values.dtype).index_select(0, self.order)
        adjacency = self._matrix(weights)
        degree = self.greater.bincount(weights, len(values)).to(values)
        degree += (adjacency @ values.new_ones(len(values), 1))[:, 0]
        flow = adjacency @ values
        return flow.neg_().addcmul_(values, degree[:, None], value=0.5)

    def inner_products(self, u):
        """Inner products of the rows of each pair.

        Parameters
        ----------
        u : Tensor of shape (n_items, d)
            One row per item.

        Returns
        -------
        products : Tensor of shape (n_pairs,)
            u_iᵀ u_j: the product u uᵀ, sampled where there are pairs.
        """
        pattern = self._matrix(u.new_zeros(len(self.order)))
        sampled = torch.sparse.sampled_addmm(pattern, u, u.T, beta=0.0).values()
        return torch.empty_like(sampled).index_copy_(0, self.order, sampled)

    def _matrix(self, values):
        """These values at (lesser, greater), in the sorted order."""
        with warnings.catch_warnings():  # that sparse tensors are new
            warnings.simplefilter("ignore")
            return torch.sparse_csr_tensor(
                *(self.starts, self.greater, values),
                size=self.shape,
                check_invariants=False,
            )


def squared_distances(u, first, second, graph=None):
    """‖u_i - u_j‖² of each pair, as ‖u_i‖² + ‖u_j‖² - 2 u_iᵀ u_j on a CPU.

    Pairs so near that this would cost digits are done by their differences.

    Parameters
    ----------
    u : Tensor of shape (n_items, d)
        One row per item; best with mean zero.
    first, second : IntTensor or LongTensor of shape (n_pairs,)
        Items of each pair.
    graph : PairGraph, default=None
        Of these pairs, where it is there already.

    Returns
    -------
    distances : Tensor of shape (n_pairs,)
        Non-negative, and 0 for equal rows.

    Notes
    -----
    An inner product reads both rows once and writes one number, a fourth of the time of
    a difference. Memory in bytes beyond the inputs, for float64: ``40 n_pairs`` and a
    chunk.
    """
    if u.is_cuda or not 0 < len(first) <= len(u) ** 2:  # torch samples no more products
        return _by_differences(u, first, second)
    squares = u.square().sum(dim=1)
    total = squares.index_select(0, first).add_(squares.index_select(0, second))
    graph = graph or PairGraph(first, second, len(u))
    distances = graph.inner_products(u).mul_(-2).add_(total)
    near = distances <= total.mul_(CANCELED)
    if near.any():
        distances[near] = _by_differences(u, first[near], second[near])
    return distances


def _by_differences(u, first, second):
    """The same, of differences that are formed in chunks."""
    lengths, start = u.new_empty(len(first)), 0  # small pieces would fragment memory
    for x in differences(u, first, second):
        stop = start + len(x)
        torch.linalg.vector_norm(x, dim=1, out=lengths[start:stop])
        start = stop
    return lengths.square_()
