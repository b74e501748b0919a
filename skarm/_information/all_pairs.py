"""Greedy D-optimal batches over every pair of n items, without listing the pairs.

Exact: the picks are those of :func:`~skarm._information.fisher.greedy_d` on the list of
pairs. Three levels make it fast, each a list and a promise about what is outside it:

- all pairs, scanned for gains above a threshold τ (see `pair_scan`);
- the shortlist: the pairs above τ, with gains in float64. The best of it is the best
  of all pairs for as long as it stays above τ, as gains only fall when M grows;
- its head: the best few thousand, the only ones that a pick updates.
"""

import math
from dataclasses import dataclass

import torch

from skarm._information import pair_scan
from skarm._information.fisher import factor
from skarm._information.pair_batch import start
from skarm._information.pair_pool import listed_differences, rounded, whiten
from skarm._information.pair_scan import Score, best_of

__all__ = ["greedy_d_all_pairs"]

#: Numbers (pairs × dimensions) in a shortlist and the pairs it may hold; of its head.
SHORTLIST_NUMBERS, MIN_SHORTLIST, MAX_SHORTLIST = 3_200_000, 4096, 50_000
HEAD_NUMBERS, MIN_HEAD, MAX_HEAD = 131_072, 256, 2048
#: Pairs of a shortlist that are brought up to date at once.
CHUNK = 2048
#: M is factored and scanned afresh after so many picks, or when the best gain has
#: fallen by this factor, before the digits lost in the updates matter.
MAX_PICKS, MAX_FALL = 256, 1e3


def greedy_d_all_pairs(
    embedding,
    rewards,
    matrix,
    n_pairs,
    *,
    groups=None,
    scope="all",
    excluded=None,
    reach=None,
    widest=None,
    max_per_item=None,
    max_per_group=None,
    tie_order=None,
    progress=None,
):
    """Greedy D-optimal batch among all pairs of items.

    Repeatedly argmax_{i<j} v_ij q_ij with v_ij = p (1 - p), p = sigmoid(r_i - r_j),
    q_ij = (φ_i - φ_j)ᵀ M⁻¹ (φ_i - φ_j); a pick adds v x xᵀ to M, and is not repeated.

    Parameters
    ----------
    embedding : Tensor of shape (n_items, d), float64
        Φ, on the CPU or a GPU.
    rewards : Tensor of shape (n_items,), float64
        r, in nats.
    matrix : Tensor of shape (d, d), float64
        M before the batch, positive definite; not changed.
    n_pairs : int
        How many to pick.
    groups : array-like of shape (n_items,), int, default=None
        Group of each item; needed by the scopes ``"within"`` and ``"across"``, and by
        `max_per_group`.
    scope : {"all", "within", "across"}, default="all"
        Which pairs: all, those inside a group, or those between groups.
    excluded : array-like of shape (n_excluded, 2), int, default=None
        Pairs that must not be picked, in either order.
    reach : tuple of Tensor of shape (d, d) and one or two floats, default=None
        ``(L, limit)``: only pairs with ‖L⁻¹ (φ_i - φ_j)‖² ≤ limit may be picked.
        ``(L, limit, bound)``: and v is multiplied by bound / ‖L⁻¹ (φ_i - φ_j)‖² where
        that is less than 1.
    widest : float, default=None
        Largest |r_i - r_j| of a pair that may be picked, in nats.
    max_per_item, max_per_group : int, default=None
        In how many pairs of the batch an item, or a group, may occur. A pair inside
        a group is one occurrence of it.
    tie_order : array-like of shape (n_items,), int, default=None
        A permutation of the items. Of pairs with equal gains (to 31 bits), the one
        wins whose earlier item comes first in it, then whose later item does. By
        default items come in the order of their index.
    progress : callable, default=None
        Called as ``progress(n_picked, n_pairs)`` every 0.1 s or so, and at the end.

    Returns
    -------
    pairs : LongTensor of shape (n_picked, 2), on the CPU
        In the order of picking, lower index first. Fewer than `n_pairs` only if
        `reach`, `widest` or the caps leave no other pair.
    gains : list of float
        log det gained by each pick, in nats; never increasing.

    Raises
    ------
    ValueError
        If the scope without the excluded pairs holds fewer than `n_pairs`, or if M is
        not positive definite.

    Notes
    -----
    Memory in bytes beyond the inputs, with b = ``BLOCK_SIZE`` and K the size of a
    shortlist: ``28 n (d + 8) + 16 b² + 8 K (d + 16)``, plus
    ``48 SAMPLE_SIZE``, plus ``16 n (d + 2)`` with `reach`; nothing grows with n².

    Time: a scan for every 50 to 250 picks, of at most n² (d + 4) / 2 float32
    multiplications (n b (d + 4) for small groups; twice that with `reach`), and
    O(head d) a pick.
    """
    rules = {"groups": groups, "scope": scope, "excluded": excluded, "reach": reach}
    rules |= {"widest": widest}
    rules |= {"max_per_item": max_per_item, "max_per_group": max_per_group}
    rules |= {"tie_order": tie_order, "progress": progress}
    pool, batch = start(embedding, rewards, matrix, n_pairs, rules)
    d = max(embedding.shape[1], 1)
    size = min(SHORTLIST_NUMBERS // d, MAX_SHORTLIST, math.isqrt(2 * pool.n_pairs))
    size = max(size, MIN_SHORTLIST)
    head_size = min(max(MIN_HEAD, HEAD_NUMBERS // d), MAX_HEAD)
    tiles, guess = pair_scan.make_tiles(pool), 0.0
    while len(batch.gains) < n_pairs:
        score = Score(whiten(pool.phi, factor(batch.matrix)))
        for threshold in pair_scan.thresholds(pool, score, size, guess):
            found = pair_scan.scan(pool, tiles, score, threshold, size, batch.report)
            if found.n_kept:
                break
        else:
            break  # every pair was looked at, and none may be picked
        guess = _pick(pool, found, head_size, batch)
    batch.report(final=True)
    return batch.result()


@dataclass
class _Candidates:
    """Listed pairs: x in whitened coordinates, and its squared length q in M⁻¹."""

    first: torch.Tensor
    second: torch.Tensor
    weight: torch.Tensor
    code: torch.Tensor
    closed: torch.Tensor
    x: torch.Tensor
    length: torch.Tensor

    def at(self, positions):
        return _Candidates(*(value[positions] for value in vars(self).values()))

    def gain(self):
        """The gains v q to compare; -1 for pairs that are closed."""
        return rounded(self.weight * self.length).masked_fill_(self.closed, -1.0)

    def lower(self, rows):
        """Subtract (xᵀ c)² for each row c."""
        for x, length in zip(
            self.x.split(CHUNK), self.length.split(CHUNK), strict=True
        ):
            length -= (x @ rows.T).square_().sum(dim=1)
        self.length.clamp_(min=0)

    def close(self, alive):
        self.closed |= ~(alive[self.first] & alive[self.second])


def _pick(pool, found, head_size, batch):
    """Pick from the shortlist while its best is the best of all; guess a threshold.

    In coordinates that whiten M before the first of these picks, M⁻¹ = I - C Cᵀ with
    a column c = M⁻¹ x √(v / (1 + v q)) of C for each: a row of `columns`.
    """
    first, second, weight, gain, code = found.merge()
    x = listed_differences(found.score.u, first, second)
    closed, length = torch.zeros_like(code).bool(), torch.linalg.vector_norm(x, dim=1)
    listed = _Candidates(first, second, weight, code, closed, x, length.square_())
    columns = x.new_zeros(MAX_PICKS, x.shape[1])
    n, top = 0, float(gain.max())
    while True:
        positions, beyond = best_of(listed.gain(), code, head_size)
        head, start, outside = listed.at(positions), n, max(beyond, found.outside)
        while n < MAX_PICKS and len(batch.gains) < batch.n_pairs:
            gains = head.gain()
            k = int(gains.argmax())
            best = float(gains[k])
            is_over = best * MAX_FALL < top or (best, -int(head.code[k])) <= outside
            if n > 0 and is_over:  # the first is right by the scan itself
                break
            v, x = float(head.weight[k]), head.x[k]
            added = v * float(head.length[k])
            c = x - (columns[:n] @ x) @ columns[:n]
            columns[n] = c * (v / (1 + added)) ** 0.5
            head.lower(columns[n : n + 1])
            n += 1
            head.closed[k] = closed[positions[k]] = True
            i, j, rise = int(head.first[k]), int(head.second[k]), math.log1p(added)
            if batch.add(pool, i, j, v, rise):
                head.close(pool.alive)
                listed.close(pool.alive)
            batch.report()
        if n == start or best * MAX_FALL < top:
            break
        listed.lower(columns[start:n])
    pool.picked = torch.cat([pool.picked, code[closed]]).unique()
    # Beyond the list the tail is taken to be exponential, and to keep its shape.
    low, mean = float(gain.min()), float(gain.mean())
    low -= (mean - low) * math.log(found.size / found.n_kept)
    return best * min(max(low / top, 0.02), 1.0) if top > 0 else 0.0
