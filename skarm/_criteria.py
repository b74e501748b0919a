"""Greedy batches by further design criteria: D_s, G, and the pruning step of BAIT.

As in `_fisher`: pure functions on tensors, pairs given by rows of an embedding, and
O(n_items d + n_pairs) a pick by rank-one updates.
"""

import torch

from skarm import _fisher

__all__ = ["greedy_d_s", "greedy_g", "prune_v"]


def greedy_d_s(*candidates, nuisance, n_pairs, costs=None, close=None):
    """Greedy D_s-optimal batch: repeatedly the pair that raises log det M_eff the most.

    M_eff = M_ss - M_sn M_nn⁻¹ M_ns, the Schur complement, is the information about the
    coefficients s of interest when those of the nuisance columns n are unknown too. As
    log det M_eff = log det M - log det M_nn, a pair gains

        log(1 + w xᵀ M⁻¹ x) - log(1 + w x_nᵀ M_nn⁻¹ x_n) >= 0.

    Parameters
    ----------
    *candidates : embedding, first, second, weights, matrix
        As in :func:`skarm._fisher.greedy_d`.
    nuisance : LongTensor of shape (n_nuisance,)
        Columns of the embedding.
    n_pairs : int
        How many to pick.
    costs : Tensor of shape (n_candidates,), default=None
        Gains are divided by them.
    close : callable, default=None
        ``close(position)`` hears of each pick, and may return positions that must not
        follow it.

    Returns
    -------
    picks : list of int
        Positions, in order; the earlier candidate wins a tie.
    gains : list of float
        log det of M_eff gained by each pick, in nats.
    """
    embedding, first, second, weights, matrix = candidates
    whole = _Lengths(*candidates)
    part = _Lengths(
        *(embedding[:, nuisance].contiguous(), first, second, weights),
        matrix[nuisance][:, nuisance],
    )

    def gains():
        return torch.log1p(weights * whole.lengths) - torch.log1p(
            weights * part.lengths
        )

    def add(pick):
        whole.add(pick)
        part.add(pick)

    return _greedy(gains, add, n_pairs, costs, close)


def greedy_g(*candidates, n_pairs, costs=None, close=None):
    """Greedy G-optimal batch: each pick helps the least certain difference the most.

    The criterion is the largest xᵀ M⁻¹ x of all candidates, the posterior variance of a
    reward difference. Where x_t has it, asking i lowers it by

        w_i (x_tᵀ M⁻¹ x_i)² / (1 + w_i x_iᵀ M⁻¹ x_i).

    Parameters
    ----------
    *candidates, n_pairs, costs, close
        As in :func:`greedy_d_s`.

    Returns
    -------
    picks : list of int
        Positions, in order; the earlier candidate wins a tie.
    gains : list of float
        What each pick takes off the variance that was the largest, in squared nats.
    """
    weights = candidates[3]
    state = _Lengths(*candidates)

    def gains():
        along = state.along(state.inverse @ state.difference(state.lengths.argmax()))
        return weights * along.square_() / (1 + weights * state.lengths)

    return _greedy(gains, state.add, n_pairs, costs, close)


def prune_v(*candidates, target, picks, n_pairs, costs=None):
    """Drop picks one by one, each time the one whose loss raises tr(A M⁻¹) the least.

    M is the information with the picks. With P = M⁻¹, a = xᵀ P x and b = xᵀ P A P x,
    losing one raises the trace by w b / (1 - w a); then with u = P x √(w / (1 - w a))
    and c = P A u (old P),

        a_i += (x_iᵀ u)²,   b_i += (uᵀ A u)(x_iᵀ u)² + 2 (x_iᵀ u)(x_iᵀ c),   P += u uᵀ.

    Parameters
    ----------
    *candidates : embedding, first, second, weights, matrix
        As in :func:`skarm._fisher.greedy_v`; M without the picks.
    target : Tensor of shape (d, d)
        A.
    picks : list of int
        Positions, as :func:`skarm._fisher.greedy_v` gives them.
    n_pairs : int
        How many to keep.
    costs : Tensor of shape (n_candidates,), default=None
        Losses are divided by them.

    Returns
    -------
    kept : list of int
        Indices into `picks`, ascending.

    Notes
    -----
    Time O(n_picks² d), memory O(n_picks d + d²).
    """
    embedding, first, second, weights, matrix = candidates
    chosen = torch.as_tensor(picks, device=first.device)
    x = embedding[first[chosen]] - embedding[second[chosen]]
    w = weights[chosen]
    price = torch.ones_like(w) if costs is None else costs[chosen]
    kept = torch.ones(len(x), dtype=torch.bool, device=x.device)
    matrix = matrix + x.T @ (w[:, None] * x)
    for n_dropped in range(len(x) - n_pairs):
        if n_dropped % _fisher.REFACTOR_EVERY == 0:
            inverse = torch.cholesky_inverse(_fisher.factor(matrix))
            half = x @ inverse
            a, b = (half * x).sum(dim=1), ((half @ target) * half).sum(dim=1)
        loss = w * b / (1 - w * a).clamp_(min=1e-12) / price
        k = loss.masked_fill(~kept, torch.inf).argmin()
        kept[k] = False
        u = (inverse @ x[k]) * torch.sqrt(w[k] / (1 - w[k] * a[k]).clamp(min=1e-12))
        along = x @ torch.stack([u, inverse @ (target @ u)], dim=1)
        a = a + along[:, 0] ** 2
        b = b + (u @ target @ u) * along[:, 0] ** 2 + 2 * along[:, 0] * along[:, 1]
        inverse = inverse + torch.outer(u, u)
        matrix = matrix - w[k] * torch.outer(x[k], x[k])
    return kept.nonzero()[:, 0].tolist()


class _Lengths:
    """xᵀ M⁻¹ x of every candidate, kept up while picks add w x xᵀ to M."""

    def __init__(self, embedding, first, second, weights, matrix):
        self.embedding, self.first, self.second = embedding, first, second
        self.weights, self.matrix = weights, matrix.clone()
        self._refactor()

    def _refactor(self):
        lower = _fisher.factor(self.matrix)
        self.inverse, self._n_updates = torch.cholesky_inverse(lower), 0
        self.lengths = _fisher.squared_lengths(
            *(self.embedding, self.first, self.second, lower)
        )

    def difference(self, position):
        """The x of a candidate, (d,)."""
        first, second = self.first[position], self.second[position]
        return self.embedding[first] - self.embedding[second]

    def along(self, direction):
        """The inner product of every x with a direction, (n_candidates,)."""
        along = self.embedding @ direction
        return along[self.first] - along[self.second]

    def add(self, position):
        x, weight = self.difference(position), self.weights[position]
        gain = weight * self.lengths[position]
        self.matrix += weight * torch.outer(x, x)
        self._n_updates += 1
        if gain > _fisher.MAX_UPDATE or self._n_updates == _fisher.REFACTOR_EVERY:
            self._refactor()
            return
        z = self.inverse @ x
        shrink = weight / (1 + gain)
        self.lengths = (self.lengths - shrink * self.along(z).square_()).clamp_(min=0)
        self.inverse = self.inverse - shrink * torch.outer(z, z)


def _greedy(gains, add, n_pairs, costs, close):
    """Repeatedly the open candidate with the largest gain, or gain per cost."""
    picks, gained, closed = [], [], None
    for _ in range(n_pairs):
        gain = gains()
        if closed is None:
            closed = torch.zeros(len(gain), dtype=torch.bool, device=gain.device)
        worth = gain.clamp(min=0) if costs is None else gain.clamp(min=0) / costs
        pick = int(worth.masked_fill_(closed, -1.0).argmax())
        if closed[pick]:
            break  # all are
        closed[pick] = True
        picks.append(pick)
        gained.append(gain[pick].item())
        add(pick)
        if close is not None:
            more = close(pick)
            if more is not None:
                closed[torch.as_tensor(more, device=closed.device)] = True
    return picks, gained
