"""Differences of item vectors over lists of pairs: formed in chunks, or not at all.

A pair is two row numbers, `first` and `second`, of item vectors (n_items, d).
"""

import warnings

import numpy as np
import torch
from scipy import sparse

__all__ = ["differences", "squared_distances"]

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


def squared_distances(u, first, second):
    """‖u_i - u_j‖² of each pair, as ‖u_i‖² + ‖u_j‖² - 2 u_iᵀ u_j on a CPU.

    Pairs so near that this would cost digits are done by their differences.

    Parameters
    ----------
    u : Tensor of shape (n_items, d)
        One row per item; best with mean zero.
    first, second : IntTensor or LongTensor of shape (n_pairs,)
        Items of each pair.

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
    if u.is_cuda or not len(first):
        return _by_differences(u, first, second)
    squares = u.square().sum(dim=1)
    total = squares.index_select(0, first).add_(squares.index_select(0, second))
    distances = _inner_products(u, first, second).mul_(-2).add_(total)
    near = (distances <= total.mul_(CANCELED)).nonzero()[:, 0]
    if len(near):
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


def _inner_products(u, first, second):
    """u_iᵀ u_j of each pair: the product u uᵀ, sampled where there are pairs."""
    n_pairs, n_items = len(first), len(u)
    # The pairs of each first item, in linear time: one that sums no repeated pair.
    ends = np.arange(n_pairs + 1, dtype=first.numpy().dtype)
    ones = np.ones(n_pairs, dtype=bool)
    rows = sparse.csr_array((ones, first.numpy(), ends), shape=(n_pairs, n_items))
    rows = rows.tocsc()
    order = torch.as_tensor(rows.indices).long()
    with warnings.catch_warnings():  # that sparse tensors are new
        warnings.simplefilter("ignore")
        pattern = torch.sparse_csr_tensor(
            torch.as_tensor(rows.indptr).long(),
            second.long().index_select(0, order),
            u.new_zeros(n_pairs),
            size=(n_items, n_items),
            check_invariants=False,
        )
        sampled = torch.sparse.sampled_addmm(pattern, u, u.T, beta=0.0)
    products = torch.empty_like(sampled.values())
    products[order] = sampled.values()
    return products
