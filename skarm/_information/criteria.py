"""Greedy batches by further design criteria: D_s, G, and the pruning step of BAIT.

As in `fisher`: pure functions on tensors, pairs given by rows of an embedding, and
O(n_items d + n_pairs) a pick by rank-one updates.
"""

import torch

from skarm._information import fisher

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
        As in :func:`skarm._information.fisher.greedy_d`.
    nuisance : LongTensor of shape (n_nuisance,)
        Columns of the embedding.
    n_pairs : int
        How many to pick.
    costs, close
        As in :func:`skarm._information.fisher.greedy_d`.

    Returns
    -------
    picks : list of int
        Positions, in order; the earlier candidate wins a tie.
    gains : list of float
        log det of M_eff gained by each pick, in nats.
    """
    rule = _DsGains(*candidates, nuisance)
    return fisher.greedy(rule, n_pairs, costs, close, None)


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
    return fisher.greedy(_GGains(*candidates), n_pairs, costs, close, None)


def prune_v(*candidates, target, picks, n_pairs, costs=None):
    """Drop picks one by one, each time the one whose loss raises tr(A M⁻¹) the least.

    M is the information with the picks that are left. With a = xᵀ M⁻¹ x and
    b = xᵀ M⁻¹ A M⁻¹ x, losing one raises the trace by w b / (1 - w a).

    Parameters
    ----------
    *candidates : embedding, first, second, weights, matrix
        As in :func:`skarm._information.fisher.greedy_v`; the matrix without the picks.
    target : Tensor of shape (d, d)
        A.
    picks : list of int
        Positions, as :func:`skarm._information.fisher.greedy_v` gives them.
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
    Time O(n_items d + d²) a drop, and every 100 drops O(n_items d² + d³).
    """
    embedding, first, second, weights, matrix = candidates
    chosen = torch.as_tensor(picks, device=first.device)
    first, second, w = first[chosen], second[chosen], weights[chosen].double()
    matrix = matrix + fisher.information(embedding, first, second, w)
    rule = fisher.VGains(embedding, first, second, w, matrix, target)
    price = torch.ones_like(w) if costs is None else costs[chosen]
    kept = torch.ones_like(w, dtype=torch.bool)
    for _ in range(len(picks) - n_pairs):
        loss = w * rule.b / (1 - w * rule.a).clamp_(min=1e-12) / price
        drop = int(loss.masked_fill_(~kept, torch.inf).argmin())
        kept[drop] = False
        rule.add(drop, -1)
    return kept.nonzero()[:, 0].tolist()


class _DsGains(fisher.Gains):
    """What all candidates add to log det M - log det M_nn."""

    def __init__(self, embedding, first, second, weights, matrix, nuisance):
        pairs = (first, second, weights)
        part = embedding[:, nuisance].contiguous()
        self.weights = weights
        self.rules = (
            fisher.DGains(embedding, *pairs, matrix),
            fisher.DGains(part, *pairs, matrix[nuisance][:, nuisance]),
        )

    def gains(self):
        whole, part = (rule.gains().log1p() for rule in self.rules)
        return whole.sub_(part).clamp_(min=0)

    def rise(self, gain):
        return gain

    def add(self, pick):
        for rule in self.rules:
            rule.add(pick)


class _GGains(fisher.DGains):
    """What all candidates take off the largest xᵀ M⁻¹ x."""

    def gains(self):
        worst = self.a.argmax()
        x = self.embedding[self.first[worst]] - self.embedding[self.second[worst]]
        along = self.along(self.inverse @ x, self.buffer).square_()
        shrink = torch.mul(self.weights, self.a, out=self.worth).add_(1)
        return along.mul_(self.weights).div_(shrink)

    def rise(self, gain):
        return gain
