"""Fisher information of the last layer, and the design criteria built on it.

Pure functions on tensors, on any device; no estimator and no validation in sight.
Pairs are given by the embedding Φ (n_items, d) of unique items and index tensors
`first`, `second` (n_pairs,), so x_k = Φ[first_k] - Φ[second_k] is formed in chunks at
most. With information M = L Lᵀ and u = L⁻¹ φ, xᵀ M⁻¹ x = ‖u_first - u_second‖².

Cost of a score: one Cholesky O(d³), one triangular solve O(n_items d²), and
O(n_pairs d); memory O(n_items d + chunk) beyond the inputs.
"""

from contextlib import nullcontext
from math import inf, log1p

import numpy as np
import torch

from skarm._information.pair_lengths import (
    PairGraph,
    differences,
    squared_distances,
)
from skarm._information.shortlists import Shortlists
from skarm._threads import one_thread, one_torch_thread

__all__ = [
    "factor",
    "greedy_d",
    "greedy_v",
    "information",
    "leverage",
    "second_moment",
    "squared_lengths",
]

#: Rank-one updates before the inverse is computed afresh from M.
REFACTOR_EVERY = 100
#: So is it after a pick that multiplies det M by more than this: the update from a
#: nearly flat prior cancels the digits of all that is left.
MAX_UPDATE = 1e3
#: With this many candidates, what a pick changes is worth more than one thread.
MANY = 32_768


def information(embedding, first, second, weights, graph=None):
    """Σ_k w_k x_k x_kᵀ.

    Of more pairs than items written as Φᵀ (Bᵀ diag(w) B Φ): the product in brackets is
    accumulated item by item, so the cost is O(n_pairs d + n_items d²), not O(n_pairs
    d²). Half of it will do, for the other half is its transpose.

    Parameters
    ----------
    embedding : Tensor of shape (n_items, d)
        Φ.
    first, second : LongTensor of shape (n_pairs,)
        Items of each pair.
    weights : Tensor of shape (n_pairs,)
        For Fisher information p (1 - p).
    graph : PairGraph, default=None
        Of these pairs, where it is there already; for the CPU.

    Returns
    -------
    information : Tensor of shape (d, d)
        Symmetric positive semi-definite.
    """
    weights = weights.to(embedding.dtype)
    if len(first) <= len(embedding):
        half, start = embedding.new_zeros((embedding.shape[1],) * 2), 0
        for x in differences(embedding, first, second):
            stop = start + len(x)
            half += x.T @ (x * (weights[start:stop, None] / 2))
            start = stop
        return half + half.T
    # Only differences count: the level of Φ may go, and would cost digits.
    embedding = embedding - embedding.mean(dim=0)
    if embedding.is_cuda:
        flow, start = torch.zeros_like(embedding), 0
        for x in differences(embedding, first, second):
            part = slice(start, start + len(x))
            x *= weights[part, None] / 2
            flow.index_add_(0, first[part], x)
            flow.index_add_(0, second[part], x, alpha=-1)
            start = part.stop
    else:
        graph = graph or PairGraph(first, second, len(embedding))
        flow = graph.flow(weights, embedding)
    half = embedding.T @ flow
    return half + half.T


def second_moment(embedding, first, second, graph=None):
    """Mean of x xᵀ over pairs, (d, d); see :func:`information`."""
    weights = embedding.new_full((len(first),), 1 / max(len(first), 1))
    return information(embedding, first, second, weights, graph)


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


def squared_lengths(embedding, first, second, lower, graph=None):
    """xᵀ (L Lᵀ)⁻¹ x of each pair.

    Parameters
    ----------
    embedding, first, second, graph
        As in :func:`information`.
    lower : Tensor of shape (d, d)
        L.

    Returns
    -------
    lengths : Tensor of shape (n_pairs,)
        Non-negative.
    """
    u = embedding - embedding.mean(dim=0)  # only differences count
    u = torch.linalg.solve_triangular(lower, u.T, upper=False).T.contiguous()
    return squared_distances(u, first, second, graph)


def leverage(embedding, first, second, weights, matrix, graph=None):
    """W xᵀ M⁻¹ x: the derivative of log det M in the number of times a pair is asked.

    The paper's D-optimal rules are the top of this: its autograd through
    log det(Σ_j c_j w_j x_j x_jᵀ + ...) at c = 1 is exactly w_i x_iᵀ M⁻¹ x_i.

    Parameters
    ----------
    embedding, first, second, weights, graph
        As in :func:`information`.
    matrix : Tensor of shape (d, d)
        M, positive definite.

    Returns
    -------
    leverage : Tensor of shape (n_pairs,)
        Non-negative, in nats per answer.
    """
    lower = factor(matrix)
    return weights * squared_lengths(embedding, first, second, lower, graph)


def greedy_d(
    embedding,
    first,
    second,
    weights,
    matrix,
    n_pairs,
    *,
    costs=None,
    close=None,
    progress=None,
    lengths=None,
):
    """Greedy D-optimal batch: repeatedly the pair that raises log det M the most.

    argmax_i w_i q_i with q_i = x_iᵀ M⁻¹ x_i; picking k adds w_k x_k x_kᵀ to M, and by
    Sherman–Morrison q_i falls by w_k (x_iᵀ M⁻¹ x_k)² / (1 + w_k q_k). No gain ever
    rises, so most picks look at a shortlist only: O(d²) and the list, and O(n_items d +
    n_pairs) per pick when everyone catches up.

    Parameters
    ----------
    embedding, first, second, weights
        Candidates, as in :func:`information`.
    matrix : Tensor of shape (d, d)
        M before the batch; not changed.
    n_pairs : int
        How many to pick.
    costs : Tensor of shape (n_candidates,), default=None
        What asking each costs, positive: the gain per cost is maximized then.
    close : callable, default=None
        Called as ``close(position)`` after each pick; returns the positions that may
        not be picked any more, or None.
    progress : callable, default=None
        Called as ``progress(n_picked, n_pairs)`` after each pick.
    lengths : Tensor of shape (n_candidates,), default=None
        q before the batch, where it is known already; not changed.

    Returns
    -------
    picks : list of int
        Positions, in order; the earlier candidate wins a tie. Fewer than `n_pairs`
        only if `close` left no other.
    gains : list of float
        log det gained by each pick, in nats.

    Notes
    -----
    Memory in bytes beyond the inputs, for float64 and N candidates: ``8 (n_items d +
    4 N) + 24 CHUNK_NUMBERS``, see `pair_lengths`; and for the shortlist at most
    ``8 MOST_SHORTLIST_NUMBERS``.
    """
    kind = DGains if embedding.is_cuda else ShortDGains
    rule = kind(embedding, first, second, weights, matrix, lengths)
    return greedy(rule, n_pairs, costs, close, progress)


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
    progress=None,
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
    costs, close, progress
        As in :func:`greedy_d`.

    Returns
    -------
    picks : list of int
        Positions, in order; the earlier candidate wins a tie. Fewer than `n_pairs`
        only if `close` left no other.
    gains : list of float
        Mean predictive variance removed by each pick, in squared nats.

    Notes
    -----
    Memory in bytes beyond the inputs, for float64 and N candidates: ``8 (2 n_items d +
    14 N)`` and a chunk.
    """
    rule = VGains(embedding, first, second, weights, matrix, target)
    return greedy(rule, n_pairs, costs, close, progress)


def greedy(rule, n_pairs, costs, close, progress):
    """Repeatedly the best open candidate by a rule's gains, or its gain per cost."""
    n_candidates = len(rule.weights)
    few = one_torch_thread() if n_candidates < MANY else nullcontext()
    picks, gains = [], []
    with one_thread(), few:
        rule.start(costs)
        while len(picks) < min(n_pairs, n_candidates):
            pick, gain = rule.best()
            if pick is None:
                break
            picks.append(pick)
            gains.append(gain)
            rule.close(pick)
            shut = close(pick) if close else None
            if shut is not None:
                rule.close(shut)
            if len(picks) < n_pairs:
                rule.add(pick)
            if progress:
                progress(len(picks), n_pairs)
    return picks, gains


class Gains:
    """What a greedy rule knows of all candidates: `gains()`, and their `rise`."""

    def start(self, costs):
        """Open everyone; gains count per cost, where there are costs."""
        self.costs = costs
        self.closed = torch.zeros_like(self.weights, dtype=torch.bool)

    def close(self, positions):
        """Close a candidate, or several."""
        self.closed[torch.as_tensor(positions, device=self.closed.device)] = True

    def best(self):
        """The best open candidate, and the rise that it brings; None if none is."""
        gain = self.gains()
        worth = gain if self.costs is None else self.rise(gain) / self.costs
        best, pick = worth.masked_fill_(self.closed, -inf).max(dim=0)
        if best == -inf:
            return None, 0.0
        return pick.item(), self.rise(gain[pick].clamp(min=0)).item()


class DGains(Gains):
    """The gains w q of all candidates, kept up to date as M changes."""

    def __init__(self, embedding, first, second, weights, matrix, lengths=None):
        self.embedding, self.weights = embedding.double(), weights.double()
        self.matrix = matrix.double().clone()
        self.first, self.second = first.int(), second.int()  # half the traffic
        self.worth = torch.empty_like(self.weights)
        self.buffer, self.ends = torch.empty(2, len(self.weights)).to(self.weights)
        self.refactor(lengths)

    def refactor(self, lengths=None):
        """Everything afresh from M, or from M and the lengths in it."""
        lower = factor(self.matrix)
        self.inverse, self.n_updates = torch.cholesky_inverse(lower), 0
        if lengths is None:
            self.a = squared_lengths(self.embedding, self.first, self.second, lower)
        else:
            self.a = lengths.double().clone()

    def gains(self):
        """W q, in a buffer of the rule's own."""
        return torch.mul(self.weights, self.a, out=self.worth)

    def rise(self, gain):
        """The rise of log det."""
        return torch.log1p(gain)

    def add(self, pick, sign=1):
        """Add a pick to M; with sign -1, take it away."""
        i, j = self.first[pick].item(), self.second[pick].item()
        x = self.embedding[i] - self.embedding[j]
        weight = sign * self.weights[pick].item()
        self.matrix.addr_(x, x, alpha=weight)
        ratio = 1 + weight * max(self.a[pick].item(), 0.0)  # of the determinants
        self.n_updates += 1
        if self.n_updates >= REFACTOR_EVERY or not 1 / MAX_UPDATE < ratio < MAX_UPDATE:
            return self.refactor()
        u = (self.inverse @ x).mul_((abs(weight) / ratio) ** 0.5)
        self.update(u, sign)
        self.inverse.addr_(u, u, alpha=-sign)

    def update(self, u, sign):
        """The lengths in P - sign u uᵀ."""
        along = self.along(u, self.buffer)
        self.a.addcmul_(along, along, value=-sign).clamp_(min=0)

    def along(self, z, out):
        """Each xᵀ z."""
        return self.between(self.embedding @ z, out)

    def between(self, values, out):
        """values[first] - values[second], of a value per item."""
        torch.index_select(values, 0, self.first, out=out)
        torch.index_select(values, 0, self.second, out=self.ends)
        return out.sub_(self.ends)


class ShortDGains(DGains):
    """As DGains, but with lengths that are up to date only of what is picked next.

    In numpy: so short products take less time than their calls. M is brought up to date
    only when P is computed afresh, and P - Σ u uᵀ is not formed.
    """

    def refactor(self, lengths=None):
        super().refactor(lengths)
        self.lists = Shortlists(
            *(self.embedding, self.first, self.second, self.weights, self.a)
        )
        self.inverse, self.added = self.inverse.numpy(), []
        self.updates = np.empty((REFACTOR_EVERY, len(self.inverse)))  # the u

    def start(self, costs):
        self.costs = None if costs is None else costs.numpy()
        self.closed = np.zeros(len(self.weights), dtype=bool)

    def close(self, positions):
        self.closed[positions] = True

    def best(self):
        updates = self.updates[: self.n_updates]
        pick, gain, self.length = self.lists.best(self.closed, self.costs, updates)
        return pick, log1p(gain)

    def add(self, pick):
        """Add to M the pick that was just found to be the best."""
        self.added.append(pick)
        x, weight = self.lists.pair(pick)
        ratio = 1 + weight * self.length
        if len(self.added) >= REFACTOR_EVERY or ratio >= MAX_UPDATE:
            pairs = self.first[self.added], self.second[self.added]
            weights = self.weights[self.added]
            self.matrix += information(self.embedding, *pairs, weights)
            return self.refactor()
        before = self.updates[: self.n_updates]
        u = self.inverse @ x - (before @ x) @ before
        self.updates[self.n_updates] = u * (weight / ratio) ** 0.5
        self.n_updates += 1


class VGains(DGains):
    """The gains w b / (1 + w a) of all candidates, kept up to date as M changes."""

    def __init__(self, embedding, first, second, weights, matrix, target):
        self.target = target.double()
        self.certainty = weights.double().reciprocal()  # 1 / w, or ∞
        self.turned = embedding.double().T.contiguous()  # two products at once: faster
        self.graph = None
        if not embedding.is_cuda and len(first):
            self.graph = PairGraph(first, second, len(embedding))
        super().__init__(embedding, first, second, weights, matrix)

    def refactor(self, lengths=None):
        lower = factor(self.matrix)
        self.inverse, self.n_updates = torch.cholesky_inverse(lower), 0
        half = torch.linalg.solve_triangular(lower, self.target, upper=False)
        half = torch.linalg.solve_triangular(lower, half.T, upper=False)
        beta, axes = torch.linalg.eigh((half + half.T) / 2)
        # where M is I and A is diag(β)
        to_u = torch.linalg.solve_triangular(lower.T, axes, upper=True)
        u = self.embedding @ to_u
        u -= u.mean(dim=0)
        pairs = self.first, self.second, self.graph
        self.a = squared_distances(u, *pairs)
        self.b = squared_distances(u.mul_(beta.clamp_(min=0).sqrt_()), *pairs)

    def gains(self):
        torch.add(self.certainty, self.a, out=self.worth)
        return torch.div(self.b, self.worth, out=self.worth)

    def rise(self, gain):
        return gain

    def update(self, u, sign):
        # with s = xᵀu and t = xᵀPAu, b rises by s ((uᵀAu) s - 2 sign t)
        image = self.target @ u
        v = (u @ image) * u - 2 * sign * (self.inverse @ image)
        values = torch.stack([u, v]) @ self.turned
        along = self.between(values[0], self.buffer)
        across = self.between(values[1], self.worth)
        self.a.addcmul_(along, along, value=-sign)
        self.b.addcmul_(along, across)
