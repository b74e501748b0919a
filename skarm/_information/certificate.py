"""How far a batch may be from the best one: an upper bound on log det M.

The best batch of k distinct pairs is at most as good as the best design w with
0 <= w_i <= 1 and Σ w_i = k (no pair is asked more than once; fractions are allowed).
log det is concave, so it lies below its tangent at any positive definite M: for every
such w, with M(w) = M₀ + Σ w_i v_i x_i x_iᵀ and leverages g_i = v_i x_iᵀM⁻¹x_i,

    log det M(w) <= log det M + tr(M⁻¹M₀) - d + Σ w_i g_i
                 <= log det M + tr(M⁻¹M₀) - d + (sum of the k largest g)

(Kiefer and Wolfowitz's bound, with a past and capped weights). It holds for any M, and
is tight where M is that of the best design. So M is improved by turns: the k pairs of
the largest leverage join the pairs at hand (on a lazy pool, one scan), and weights of
these few are improved by multiplication.

References
----------
.. [1] Kiefer and Wolfowitz, "The equivalence of two extremum problems", Canadian
   Journal of Mathematics 12, 1960.
.. [2] Silvey, Titterington and Torsney, "An algorithm for optimal designs on a finite
   design space", Communications in Statistics A 7, 1978.
"""

import math

import torch

from skarm._information import fisher, pair_pool, pair_scan

__all__ = ["d_efficiency", "rows_of", "top_of_list", "top_of_pool"]

#: Rounds end when as many as this in a row moved the efficiency by less than this.
MAX_IDLE, TOLERANCE = 3, 1e-3
#: So many times the pairs of a batch are asked for in a round.
RETURNED = 8
#: Multiplications of the weights in a round.
N_STEPS = 30
#: Share of the weight that pairs get when they join; weights below are dropped.
JOINING, NEGLIGIBLE = 0.2, 1e-5


def d_efficiency(matrix, rows, keys, top, n_rounds=20):
    """Provable lower bound on the D-efficiency of a batch.

    With M_S = M₀ + rowsᵀ rows and UB the least bound found on log det M of any batch as
    large, it is exp((log det M_S - UB) / d).

    Parameters
    ----------
    matrix : Tensor of shape (d, d), float64
        M₀, before the batch: positive definite, with the past and the prior.
    rows : Tensor of shape (n_pairs, d), float64
        √v x of each pair of the batch.
    keys : LongTensor of shape (n_pairs,)
        A number that identifies each.
    top : callable
        ``top(M)`` returns rows and keys of the candidates with the largest leverages
        in M, at least n_pairs of them and the largest first.
    n_rounds : int, default=20
        At most so many calls of `top`.

    Returns
    -------
    efficiency : float
        In (0, 1]. The best batch of that many candidates has a D-efficiency of 1.

    Notes
    -----
    The bound counts log det of all that is known after the batch, the past and the
    prior included. With K rows from `top`, time O(n_rounds N_STEPS m d²) for the
    m <= n_rounds K rows at hand, and the calls of `top`; memory in bytes, beyond those,
    ``8 m (3 d + 8)``.
    """
    k, d = rows.shape
    if k == 0 or d == 0:
        return 1.0
    at_hand, weights, n_idle = rows, torch.ones_like(rows[:, 0]), 0
    information = matrix + rows.T @ rows
    reached, least = _log_det(information), math.inf
    for _ in range(n_rounds):
        best, names = top(information)
        bound = _tangent(matrix, information, best[:k])
        n_idle = 0 if bound < least - TOLERANCE * d else n_idle + 1
        least = min(least, bound)
        if n_idle == MAX_IDLE:
            break
        new = ~torch.isin(names, keys)
        joining = best.new_full((int(new.sum()),), JOINING * k / max(int(new.sum()), 1))
        at_hand, keys = torch.cat([at_hand, best[new]]), torch.cat([keys, names[new]])
        weights = torch.cat([weights * (1 - JOINING), joining.clamp_(max=1)])
        weights, information = _improve(matrix, at_hand, weights, k)
        kept = weights > NEGLIGIBLE
        at_hand, keys, weights = at_hand[kept], keys[kept], weights[kept]
    return min(math.exp((reached - least) / d), 1.0)


def _tangent(matrix, information, best):
    """The bound on log det M of a batch, by the rows of the largest leverage."""
    lower = fisher.factor(information)
    whitened = torch.linalg.solve_triangular(lower, best.T, upper=False)
    trace = float(torch.cholesky_solve(matrix, lower).trace())
    total = trace + float(whitened.square().sum()) - len(lower)
    return _log_det(information) + total + 1e-9 * len(lower)


def _improve(matrix, rows, weights, k):
    """Weights in [0, 1] that sum to k, better ones, and M with them."""
    for _ in range(N_STEPS):
        information = matrix + rows.T @ (weights[:, None] * rows)
        lower = fisher.factor(information)
        leverage = torch.linalg.solve_triangular(lower, rows.T, upper=False).square()
        weights = _capped(weights * leverage.sum(dim=0), k)
    return weights, matrix + rows.T @ (weights[:, None] * rows)


def _capped(weights, k):
    """min(c w, 1) with the factor c that makes the sum k, or all ones."""
    if len(weights) <= k:
        return torch.ones_like(weights)
    ranked, _ = weights.sort(descending=True)
    rest = ranked.flip(0).cumsum(0).flip(0)  # the sum from each on
    n = torch.arange(k, device=weights.device)  # so many are capped
    factor = (k - n) / rest[:k].clamp(min=1e-300)
    fits = factor * ranked[:k] <= 1
    c = factor[int(fits.int().argmax())] if bool(fits.any()) else factor[-1]
    return (c * weights).clamp_(max=1)


def _log_det(matrix):
    return 2 * float(fisher.factor(matrix).diagonal().log().sum())


def top_of_list(embedding, first, second, weights, n_pairs):
    """The callable `top` of :func:`d_efficiency` for a list of candidates.

    Parameters
    ----------
    embedding, first, second, weights
        Candidates, as in :func:`skarm._information.fisher.information`.
    n_pairs : int
        Size of the batch.

    Returns
    -------
    top : callable
        Keys are positions. Memory of a call in bytes, beyond the rows returned, that of
        :func:`skarm._information.fisher.leverage`, ``8 (n_items d + 2 n_candidates)``
        and a chunk.
    """
    size = min(RETURNED * n_pairs, len(first))

    def top(matrix):
        leverage = fisher.leverage(embedding, first, second, weights, matrix)
        chosen = leverage.topk(size).indices
        return rows_of(
            embedding, first[chosen], second[chosen], weights[chosen]
        ), chosen

    return top


def top_of_pool(pool, n_pairs):
    """The callable `top` of :func:`d_efficiency` for every pair of a pool.

    Parameters
    ----------
    pool : Pool
        Of :func:`skarm._information.pair_pool.make_pool`.
    n_pairs : int
        Size of the batch.

    Returns
    -------
    top : callable
        A call is a scan; keys are codes of the pool.
    """
    size = min(max(RETURNED * n_pairs, 1), pool.n_pairs)

    def top(matrix):
        tiles = pair_scan.make_tiles(pool)  # M is another one, and not larger
        u = pair_pool.whiten(pool.phi, fisher.factor(matrix))
        score = pair_scan.Score(u)
        for threshold in pair_scan.thresholds(pool, score, size, 0.0):
            found = pair_scan.scan(pool, tiles, score, threshold, size, lambda: None)
            if found.n_kept >= min(n_pairs, pool.n_pairs):
                break
        first, second, weight, gain, code = found.merge()
        order = gain.argsort(descending=True)[:size]
        first, second = first[order], second[order]
        return rows_of(pool.phi, first, second, weight[order]), code[order]

    return top


def rows_of(embedding, first, second, weights):
    """√v x of pairs, (n_pairs, d)."""
    x = pair_pool.listed_differences(embedding, first, second)
    return x.mul_(weights.sqrt()[:, None])
