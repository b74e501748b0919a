"""Comparisons as a graph, whose nodes are the items and whose edges are the pairs.

The information is Zᵀ (Bᵀ diag(c) B) Z for items Z and the signed incidence matrix B of
the pairs: the matrix in the middle is the Laplacian of the graph, one number for each
pair of neighbors.
"""

from contextlib import nullcontext

import numpy as np
from scipy import sparse

from skarm._threads import many_threads

__all__ = ["LARGE", "aggregate", "blocks", "information", "is_crowded", "is_large"]

#: Items of more numbers than this are used as they are, block by block; smaller ones
#: are worth a copy.
LARGE = 2**22
#: Items per block.
BLOCK_ROWS = 512


def is_large(items):
    """Whether items are dense, and too large to be worth a copy."""
    return not sparse.issparse(items) and items.size > LARGE


def blocks(n_rows, share=1):
    """Slices of so many rows, each of `BLOCK_ROWS` of them or a share of that."""
    for start in range(0, n_rows, BLOCK_ROWS // share):
        yield slice(start, start + BLOCK_ROWS // share)


def is_crowded(n_items, n_pairs):
    """Whether a number for every two items is fewer than a few for each pair."""
    return n_items**2 <= 4 * n_pairs


def aggregate(pairs, y, weights, n_items):
    """Make one comparison of all that name the same two items.

    Parameters
    ----------
    pairs, y, weights
        Comparisons; weights positive.
    n_items : int
        How many items there are.

    Returns
    -------
    pairs, y, weights
        First < second, sorted, no pair twice; the weight is the sum, the outcome the
        weighted mean. The likelihood is the same but for a constant.
    """
    first, second = pairs.T.astype(np.int64, copy=False)
    flip = first > second
    wins = weights * np.where(flip, 1 - y, y)
    code = np.where(flip, second * n_items + first, first * n_items + second)
    if is_crowded(n_items, len(code)):  # a count per cell is faster than sorting
        total = np.bincount(code, weights, n_items**2)
        codes = np.flatnonzero(total)
        total, wins = total[codes], np.bincount(code, wins, n_items**2)[codes]
    else:
        codes, code = np.unique(code, return_inverse=True)
        total, wins = np.bincount(code, weights), np.bincount(code, wins)
    # All first items, then all second, in memory: both are read on their own.
    pairs = np.empty((2, len(codes)), dtype=np.int32)
    np.divmod(codes, n_items, out=tuple(pairs), casting="same_kind")
    return pairs.T, wins / total, total


def information(items, pairs, weights):
    """Σ_k weights_k x_k x_kᵀ over the differences x of pairs, not forming them.

    Parameters
    ----------
    items : ndarray or CSR of shape (n_items, n_features)
        Z.
    pairs : ndarray of shape (n_pairs, 2) or None
        First and second item; None where the items are differences already.
    weights : ndarray of shape (n_pairs,)
        For the Fisher information, p (1 - p) times the comparison's weight.

    Returns
    -------
    information : ndarray of shape (n_features, n_features), float64
        Symmetric positive semi-definite. Costs O(n_pairs d + n_items d²). Products of
        large float32 items are float32 within a block, and summed over blocks in
        float64: entries are within about 1e-6 of the largest.
    """
    if pairs is None:
        if sparse.issparse(items):
            scaled = items.copy()
            scaled.data *= np.repeat(weights, np.diff(items.indptr))
            return (items.T @ scaled).toarray()
        scaled = items * np.sqrt(weights)[:, None]
        return scaled.T @ scaled
    half = _half_laplacian(items, pairs, weights)
    if sparse.issparse(items):
        product = (items.T @ (half @ items)).toarray()
        return product + product.T
    shift = items.mean(axis=0)  # the level of the items would cost digits
    product = np.zeros((items.shape[1], items.shape[1]))

    def add_neighbors(part, image, half):
        image[part] += half[part] @ items

    def add_product(part, centered, image):
        product[:, part] += centered.T @ image[:, part]

    with many_threads() if is_large(items) else nullcontext(_all_at_once) as each:
        for rows in blocks(len(items)):
            some = half[rows]
            image = np.multiply.outer(some.sum(axis=1), -shift)
            each(add_neighbors, len(image), image, some)
            centered = items[rows] - shift
            each(add_product, len(product), centered, image)
            del centered, image  # makes room
    return _plus_transpose(product)


def _half_laplacian(items, pairs, weights):
    """H such that H + Hᵀ = Bᵀ diag(weights) B; dense where items are few and dense."""
    n_items, (first, second) = items.shape[0], pairs.T
    if is_crowded(n_items, len(pairs)) and not sparse.issparse(items):
        edges = np.bincount(first * np.int64(n_items) + second, weights, n_items**2)
        edges = edges.reshape(n_items, n_items)
        half = np.diag((edges.sum(axis=0) + edges.sum(axis=1)) / 2)
        half -= edges
        return half.astype(items.dtype, copy=False)
    half = (-weights).astype(items.dtype, copy=False)
    half = sparse.csr_array((half, (first, second)), shape=(n_items, n_items))
    degree = np.bincount(first, weights, n_items)
    degree += np.bincount(second, weights, n_items)
    return half + sparse.diags_array((degree / 2).astype(items.dtype), format="csr")


def _all_at_once(work, n, *args):
    work(slice(n), *args)


def _plus_transpose(matrix):
    """The sum of a matrix and its transpose, in its place."""
    for rows in blocks(len(matrix), 2):
        rest = slice(rows.start, None)
        matrix[rows, rest] += matrix[rest, rows].T
        matrix[rest, rows] = matrix[rows, rest].T
    return matrix
