"""Greedy V-optimal batches over every pair of n items, without listing the pairs.

Exact: the picks are those of :func:`~skarm._information.fisher.greedy_v` on the list of
pairs, each the best of all pairs at its time. What a pair takes from tr(A M⁻¹) may rise
as M grows, so a list of the best needs more than a threshold. Let M⁻¹ = I at a scan,
B = A in those coordinates, and P = I - C Cᵀ the inverse after some picks. The scan
lists the pairs with v xᵀ(B + ρI)x / (1 + v xᵀx) > τ, inflated by an allowance ρ. For
all others, as long as F = P B P - B + τ C Cᵀ has no eigenvalue above ρ,

    v xᵀPBPx - τ v xᵀPx = v xᵀBx - τ v xᵀx + v xᵀFx <= (τ - ρ v xᵀx) + ρ v xᵀx = τ,

which says that they still gain τ or less. So the best of the list is the best of all
pairs while it gains more than τ and the allowance lasts; then all pairs are scanned
afresh. Nothing is assumed about A, the pool or the picks. With ρ = 0 the scan itself
is right about one pick, so there is always progress.
"""

import math

import torch

from skarm._information import pair_scan
from skarm._information.fisher import MAX_UPDATE, factor
from skarm._information.pair_batch import start
from skarm._information.pair_pool import listed_differences, rounded, whiten
from skarm._information.pair_scan import Score

__all__ = ["greedy_v_all_pairs"]

#: Numbers (pairs × dimensions) in a shortlist, and the pairs it may hold.
SHORTLIST_NUMBERS, MIN_SHORTLIST, MAX_SHORTLIST = 1_280_000, 4096, 20_000
#: M is factored and scanned afresh after so many picks, or when the best gain has
#: fallen by this factor.
MAX_PICKS, MAX_FALL = 256, 1e3
#: The allowance ρ as a share of the mean eigenvalue of B: the first, and the least.
FIRST_SHARE, MIN_SHARE = 0.1, 1e-3


def greedy_v_all_pairs(
    embedding,
    rewards,
    matrix,
    target,
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
    """Greedy V-optimal batch among all pairs of items.

    Repeatedly argmax_{i<j} v_ij b_ij / (1 + v_ij a_ij), the fall of tr(A M⁻¹) with one
    answer: a = xᵀM⁻¹x, b = xᵀM⁻¹A M⁻¹x, x = φ_i - φ_j and v = p (1 - p),
    p = sigmoid(r_i - r_j); a pick adds v x xᵀ to M, and is not repeated.

    Parameters
    ----------
    embedding, rewards, matrix, n_pairs
        As in :func:`skarm._information.all_pairs.greedy_d_all_pairs`.
    target : Tensor of shape (d, d), float64
        A, positive semi-definite: the second moment of the differences the model will
        be used on.
    groups, scope, excluded, reach, widest
        As in :func:`skarm._information.all_pairs.greedy_d_all_pairs`.
    max_per_item, max_per_group, tie_order, progress
        As in :func:`skarm._information.all_pairs.greedy_d_all_pairs`.

    Returns
    -------
    pairs : LongTensor of shape (n_picked, 2), on the CPU
        In the order of picking, lower index first. Fewer than `n_pairs` only if
        `reach`, `widest` or the caps leave no other pair.
    gains : list of float
        Mean predictive variance removed by each pick, in squared nats.

    Raises
    ------
    ValueError
        If the scope without the excluded pairs holds fewer than `n_pairs`, or if M is
        not positive definite.

    Notes
    -----
    Exact, see the top of this module. Greedy itself has no guarantee here, as the
    criterion is not submodular, but does well.

    Memory in bytes beyond the inputs, with b = ``BLOCK_SIZE`` and K the size of a
    shortlist: ``32 n (d + 8) + 16 b² + 20 K (d + 8)``, plus ``48 SAMPLE_SIZE``, plus
    ``16 n (d + 2)`` with `reach`; nothing grows with n². Time: O(K d + d³) a pick for
    a shortlist of K, and a scan, as there, whenever the allowance is spent: every 10 to
    100 picks where M is about as well known in all directions that A weighs, every
    pick at worst.
    """
    rules = {"groups": groups, "scope": scope, "excluded": excluded, "reach": reach}
    rules |= {"widest": widest}
    rules |= {"max_per_item": max_per_item, "max_per_group": max_per_group}
    rules |= {"tie_order": tie_order, "progress": progress}
    pool, batch = start(embedding, rewards, matrix, n_pairs, rules)
    d = max(embedding.shape[1], 1)
    size = min(SHORTLIST_NUMBERS // d, MAX_SHORTLIST, math.isqrt(2 * pool.n_pairs))
    size = max(size, MIN_SHORTLIST)
    tiles, share = pair_scan.make_tiles(pool), FIRST_SHARE
    while len(batch.gains) < n_pairs:
        u, beta = _coordinates(pool.phi, batch.matrix, target)
        allowance = share * float(beta.mean()) if share > MIN_SHARE else 0.0
        found = _look(pool, tiles, Score(u, beta + allowance), size, batch.report)
        if found is None:
            break  # every pair was looked at, and none may be picked
        change = _pick(pool, found, beta, allowance, batch)
        share = max(share, MIN_SHARE) * change
    batch.report(final=True)
    return batch.result()


def _coordinates(phi, matrix, target):
    """Items where M is I and A is diag(β); and β."""
    lower = factor(matrix)
    half = torch.linalg.solve_triangular(lower, target, upper=False)
    half = torch.linalg.solve_triangular(lower, half.T, upper=False)
    beta, axes = torch.linalg.eigh((half + half.T) / 2)
    return whiten(phi, lower) @ axes, beta.clamp_(min=0)


def _look(pool, tiles, score, size, report):
    """The pairs with the highest scores; None if none may be picked."""
    for threshold in pair_scan.thresholds(pool, score, size, 0.0):
        found = pair_scan.scan(pool, tiles, score, threshold, size, report)
        if found.n_kept:
            return found
    return None


def _pick(pool, found, beta, allowance, batch):
    """Pick from the list while its best is the best of all.

    Returns by what to multiply the allowance of the next scan.
    """
    first, second, weight, _, code = found.merge()
    x = listed_differences(found.score.u, first, second)
    square = x.square()
    a, b = square.sum(dim=1), square @ beta
    del square
    closed = torch.zeros_like(code).bool()
    outside = max(found.outside[0], 0.0)
    is_everything = found.outside[0] < 0
    allowed = _Allowance(beta, outside, allowance)
    n, top, covered = 0, 0.0, True
    while n < MAX_PICKS and len(batch.gains) < batch.n_pairs:
        gain = rounded(weight * b / (1 + weight * a)).masked_fill_(closed, -1.0)
        k = int(gain.argmax())
        best, top = float(gain[k]), max(top, float(gain[k]))
        is_best = (covered and best > outside) or (n == 0 and allowance == 0.0)
        if best < 0 or best * MAX_FALL < top or not (is_everything or is_best):
            break
        v, length = float(weight[k]), float(a[k])
        c = allowed.inverse @ x[k] * math.sqrt(v / (1 + v * length))
        w = allowed.inverse @ (beta * c)
        along, rise = x @ torch.stack([c, w], dim=1), float(beta @ c.square())
        a.sub_(along[:, 0].square()).clamp_(min=0)
        b.add_(rise * along[:, 0].square() - 2 * along.prod(dim=1)).clamp_(min=0)
        covered = allowed.covers(c, w, rise)
        n += 1
        closed[k] = True
        if batch.add(pool, int(first[k]), int(second[k]), v, best):
            closed |= ~(pool.alive[first] & pool.alive[second])
        batch.report()
        if v * length > MAX_UPDATE:
            break
    pool.picked = torch.cat([pool.picked, code[closed]]).unique()
    if n == 0:  # the allowance kept better pairs off the list
        return 0.25
    if best <= outside:
        return 0.7
    return 1.0 if covered or best < 1.05 * outside else 2.0


class _Allowance:
    """How much of ρ the picks since the scan have used.

    Each pick adds N = (g + τ) c cᵀ - c wᵀ - w cᵀ to F, with w = P B c and g = cᵀB c its
    gain. N has one positive eigenvalue; their sum bounds that of F, and is replaced by
    the true one when it exceeds ρ.
    """

    def __init__(self, beta, threshold, allowance):
        self.threshold, self.allowance = threshold, allowance * (1 - 1e-9)
        self.used = 0.0
        self.inverse = torch.diag(torch.ones_like(beta))  # P
        self.excess = torch.zeros_like(self.inverse)  # F

    def covers(self, c, w, gain):
        """Add a pick; whether ρ still covers the sum."""
        total = gain + self.threshold
        cc, cw, ww = float(c @ c), float(c @ w), float(w @ w)
        trace = total * cc - 2 * cw
        minor = max(cc * ww - cw * cw, 0.0)
        self.used += max((trace + math.sqrt(trace * trace + 4 * minor)) / 2, 0.0)
        cross = torch.outer(c, w)
        cc = torch.outer(c, c)
        self.excess += total * cc - cross - cross.T
        self.inverse -= cc
        if self.used > self.allowance > 0:
            self.used = max(float(torch.linalg.eigvalsh(self.excess)[-1]), 0.0)
        return self.used <= self.allowance
