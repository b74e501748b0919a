"""Fisher information of the last layer, and the design criteria built on it.

Pure functions on tensors, on any device; no estimator and no validation in sight.
Pairs are given by the embedding Φ (n_items, d) of unique items and index tensors
`first`, `second` (n_pairs,), so x_k = Φ[first_k] - Φ[second_k] is formed in chunks at
most. With information M = L Lᵀ and u = L⁻¹ φ, xᵀ M⁻¹ x = ‖u_first - u_second‖².

Cost of a score: one Cholesky O(d³), one triangular solve O(n_items d²), and
O(n_pairs d); memory O(n_items d + chunk_size d) beyond the inputs.
"""

import numpy as np
import torch
from scipy import sparse

__all__ = [
    "factor",
    "greedy_d",
    "greedy_v",
    "information",
    "leverage",
    "second_moment",
    "squared_lengths",
]

#: Pairs gathered at once: few enough for a processor's cache.
CHUNK_SIZE = 4096
#: Rank-one updates before the inverse is computed afresh from M.
REFACTOR_EVERY = 100
#: So is it after a pick that multiplies det M by more than this: the update from a
#: nearly flat prior cancels the digits of all that is left.
MAX_UPDATE = 1e3


def information(embedding, first, second, weights):
    """Σ_k w_k x_k x_kᵀ.

    Written as Φᵀ (Bᵀ diag(w) B Φ): the product in brackets is accumulated item by item,
    so the cost is O(n_pairs d + n_items d²), not O(n_pairs d²).

    Parameters
    ----------
    embedding : Tensor of shape (n_items, d)
        Φ.
    first, second : LongTensor of shape (n_pairs,)
        Items of each pair.
    weights : Tensor of shape (n_pairs,)
        For Fisher information p (1 - p).

    Returns
    -------
    information : Tensor of shape (d, d)
        Symmetric positive semi-definite.
    """
    # Only differences count: the level of Φ may go, and would cost digits.
    embedding = embedding - embedding.mean(dim=0)
    if embedding.is_cuda:
        flow = torch.zeros_like(embedding)
        chunks = (side.split(CHUNK_SIZE) for side in (first, second, weights))
        for i, j, w in zip(*chunks, strict=True):
            x = w[:, None] * _differences(embedding, i, j)
            flow.index_add_(0, i, x)
            flow.index_add_(0, j, x, alpha=-1)
    else:
        arrays = (t.numpy() for t in (embedding, first, second, weights))
        flow = torch.as_tensor(_flow(*arrays), dtype=embedding.dtype)
    total = embedding.T @ flow
    return (total + total.T) / 2


def _flow(embedding, first, second, weights):
    """Bᵀ diag(w) B Φ, through the weighted graph of the pairs, in either order."""
    n = len(embedding)
    ends = np.minimum(first, second), np.maximum(first, second)
    graph = sparse.coo_array((weights, ends), shape=(n, n)).tocsr()
    degree = sum(np.bincount(end, weights, minlength=n) for end in ends)
    return degree[:, None] * embedding - (graph @ embedding + graph.T @ embedding)


def _differences(rows, first, second):
    """Rows of the first minus rows of the second item."""
    return rows.index_select(0, first).sub_(rows.index_select(0, second))


def second_moment(embedding, first, second):
    """Mean of x xᵀ over pairs, (d, d); see :func:`information`."""
    weights = embedding.new_full((len(first),), 1 / max(len(first), 1))
    return information(embedding, first, second, weights)


def factor(matrix):
    """Lower Cholesky factor of a positive definite matrix.

    Parameters
    ----------
    matrix : Tensor of shape (d, d)
        Symmetric.

    Returns
    -------
    factor : Tensor of shape (d, d)
        L with L Lᵀ = matrix.

    Raises
    ------
    ValueError
        If it is not positive definite.
    """
    lower, failed = torch.linalg.cholesky_ex(matrix)
    if failed.item():
        raise ValueError(
            "the information matrix must be positive definite; its leading minor of "
            f"order {failed.item()} is not. Raise the prior precision (alpha), or "
            "remove constant and duplicate features."
        )
    return lower


def squared_lengths(embedding, first, second, lower):
    """xᵀ (L Lᵀ)⁻¹ x of each pair.

    Parameters
    ----------
    embedding, first, second
        As in :func:`information`.
    lower : Tensor of shape (d, d)
        L.

    Returns
    -------
    lengths : Tensor of shape (n_pairs,)
        Non-negative.
    """
    u = torch.linalg.solve_triangular(lower, embedding.T, upper=False).T.contiguous()
    parts = [
        torch.linalg.vector_norm(_differences(u, i, j), dim=1).square_()
        for i, j in zip(first.split(CHUNK_SIZE), second.split(CHUNK_SIZE), strict=True)
    ]
    return torch.cat(parts) if parts else u.new_empty(0)


def leverage(embedding, first, second, weights, matrix):
    """W xᵀ M⁻¹ x: the derivative of log det M in the number of times a pair is asked.

    The paper's D-optimal rules are the top of this: its autograd through
    log det(Σ_j c_j w_j x_j x_jᵀ + ...) at c = 1 is exactly w_i x_iᵀ M⁻¹ x_i.

    Parameters
    ----------
    embedding, first, second, weights
        As in :func:`information`.
    matrix : Tensor of shape (d, d)
        M, positive definite.

    Returns
    -------
    leverage : Tensor of shape (n_pairs,)
        Non-negative, in nats per answer.
    """
    return weights * squared_lengths(embedding, first, second, factor(matrix))


def greedy_d(
    embedding, first, second, weights, matrix, n_pairs, *, costs=None, close=None
):
    """Greedy D-optimal batch: repeatedly the pair that raises log det M the most.

    argmax_i w_i q_i with q_i = x_iᵀ M⁻¹ x_i; picking k adds w_k x_k x_kᵀ to M, and by
    Sherman–Morrison q_i falls by w_k (x_iᵀ M⁻¹ x_k)² / (1 + w_k q_k). The inner
    products are differences of item values Φ (M⁻¹ x_k): O(n_items d + n_pairs) a pick.

    Parameters
    ----------
    embedding, first, second, weights
        Candidates, as in :func:`information`.
    matrix : Tensor of shape (d, d)
        M before the batch; not changed.
    n_pairs : int
        How many to pick.

    Returns
    -------
    picks : list of int
        Positions, in order; the earlier candidate wins a tie.
    gains : list of float
        log det gained by each pick, in nats.
    """
    matrix = matrix.clone()
    taken = torch.zeros(len(first), dtype=torch.bool, device=first.device)
    picks, gains = [], []
    n_updates = REFACTOR_EVERY
    for _ in range(n_pairs):
        if n_updates >= REFACTOR_EVERY:
            n_updates = 0
            lower = factor(matrix)
            inverse = torch.cholesky_inverse(lower)
            lengths = squared_lengths(embedding, first, second, lower)
        worth = weights * lengths
        if costs is not None:
            worth = torch.log1p(worth.clamp(min=0)) / costs
        pick = worth.masked_fill(taken, -1.0).argmax()
        if taken[pick]:
            break
        taken[pick] = True
        weight, length = weights[pick], lengths[pick].clamp(min=0)
        x = embedding[first[pick]] - embedding[second[pick]]
        z = inverse @ x
        along = embedding @ z
        shrink = weight / (1 + weight * length)
        lengths = lengths - shrink * (along[first] - along[second]).square_()
        inverse = inverse - shrink * torch.outer(z, z)
        matrix += weight * torch.outer(x, x)
        picks.append(pick.item())
        gains.append(torch.log1p(weight * length).item())
        n_updates += 1 if weight * length < MAX_UPDATE else REFACTOR_EVERY
        closed = None if close is None else close(picks[-1], gains[-1])
        if closed is not None:
            taken[torch.as_tensor(closed, device=taken.device)] = True
    return picks, gains


def greedy_v(
    embedding,
    first,
    second,
    weights,
    matrix,
    target,
    n_pairs,
    *,
    costs=None,
    close=None,
):
    """Greedy V-optimal batch: repeatedly the pair that lowers tr(A M⁻¹) the most.

    With P = M⁻¹, a_i = x_iᵀ P x_i and b_i = x_iᵀ P A P x_i, asking i lowers the trace
    by w_i b_i / (1 + w_i a_i). Picking k changes, with
    u = P x_k √(w_k / (1 + w_k a_k)) and c = P A u (old P),

        a_i -= (x_iᵀ u)²,   b_i += (uᵀ A u)(x_iᵀ u)² - 2 (x_iᵀ u)(x_iᵀ c),   P -= u uᵀ

    and inner products are differences of item values: O(n_items d + n_pairs) a pick.

    Parameters
    ----------
    embedding, first, second, weights, matrix, n_pairs
        As in :func:`greedy_d`.
    target : Tensor of shape (d, d)
        A, the second moment of the differences the model will be used on.

    Returns
    -------
    picks : list of int
        Positions, in order; the earlier candidate wins a tie.
    gains : list of float
        Mean predictive variance removed by each pick, in squared nats.
    """
    matrix = matrix.clone()
    taken = torch.zeros(len(first), dtype=torch.bool, device=first.device)
    picks, gains = [], []
    n_updates = REFACTOR_EVERY
    for _ in range(n_pairs):
        if n_updates >= REFACTOR_EVERY:
            n_updates = 0
            inverse = torch.cholesky_inverse(factor(matrix))
            sandwich = inverse @ target @ inverse
            a = _quadratic(embedding, first, second, inverse)
            b = _quadratic(embedding, first, second, sandwich)
        gain = weights * b / (1 + weights * a)
        worth = gain if costs is None else gain / costs
        pick = worth.masked_fill(taken, -1.0).argmax()
        if taken[pick]:
            break
        taken[pick] = True
        x = embedding[first[pick]] - embedding[second[pick]]
        weight, length = weights[pick], a[pick]
        u = (inverse @ x) * torch.sqrt(weight / (1 + weight * length))
        along = embedding @ torch.stack([u, inverse @ (target @ u)], dim=1)
        along = along[first] - along[second]  # (n_pairs, 2): xᵀu, xᵀc
        a = (a - along[:, 0] ** 2).clamp_(min=0)
        b += (u @ target @ u) * along[:, 0] ** 2 - 2 * along[:, 0] * along[:, 1]
        b.clamp_(min=0)
        inverse = inverse - torch.outer(u, u)
        matrix += weight * torch.outer(x, x)
        picks.append(pick.item())
        gains.append(gain[pick].item())
        n_updates += 1 if weight * length < MAX_UPDATE else REFACTOR_EVERY
        closed = None if close is None else close(picks[-1], gains[-1])
        if closed is not None:
            taken[torch.as_tensor(closed, device=taken.device)] = True
    return picks, gains


def _quadratic(embedding, first, second, matrix):
    """xᵀ Q x of each pair, Q symmetric, in chunks."""
    image = embedding @ matrix
    parts = [
        ((image[i] - image[j]) * (embedding[i] - embedding[j])).sum(dim=1)
        for i, j in zip(first.split(CHUNK_SIZE), second.split(CHUNK_SIZE), strict=True)
    ]
    return torch.cat(parts) if parts else embedding.new_empty(0)
