"""Exchange passes: swap picks of a batch for candidates that serve it better.

Greedy never takes a pick back. A pass goes through the picks; each is taken out of M,
all candidates are weighed against what is left, and the best one takes its place. The
best swap of pick i is thus made, whose rise of det M by (1 - g_ii)(1 + g_jj) + g_ij²
(g the leverages and cross-leverages of pick i and candidate j) it is; the objective
never falls, and where a pass changes nothing, no single swap improves the batch.
"""

import torch

from skarm._information import fisher

__all__ = ["exchange_d", "exchange_v"]

#: A swap must gain more than the pick it replaces by this factor: rounding moves none.
MARGIN = 1 + 1e-9


def exchange_d(
    embedding,
    first,
    second,
    weights,
    matrix,
    picks,
    n_passes=1,
    *,
    caps=(),
    progress=None,
):
    """Fedorov's exchange for log det M.

    Parameters
    ----------
    embedding, first, second, weights, matrix
        As in :func:`skarm._information.fisher.greedy_d`; M is that before the batch.
    picks : list of int
        Positions of the batch, such as greedy's; distinct.
    n_passes : int, default=1
        At most so many passes; fewer if one changes nothing.
    caps : iterable of tuple, default=()
        ``(codes, limit)``, codes a LongTensor (n_candidates, 2) such as the items of
        each candidate: at most `limit` picks may bear a code. The picks keep to them.
    progress : callable, default=None
        Called as ``progress(n_done, n_pairs)`` with the picks gone through in a pass.

    Returns
    -------
    picks : list of int
        The batch after the swaps, in the order greedy would take it.
    gains : list of float
        log det gained by each pick in that order, in nats.

    Notes
    -----
    A pass costs O(n_items d + n_candidates) a pick, and every 100 updates a fresh
    start, O(n_candidates d). Memory as :func:`skarm._information.fisher.greedy_d`.

    References
    ----------
    .. [1] Fedorov, "Theory of optimal experiments", 1972. Cook and Nachtsheim, "A
       comparison of algorithms for constructing exact D-optimal designs",
       Technometrics 22, 1980.
    """
    candidates = embedding, first, second, weights
    rule = fisher.DGains(*candidates, matrix)
    picks = _exchange(rule, picks, n_passes, caps, progress)
    return _in_order(fisher.greedy_d, candidates, picks, matrix)


def exchange_v(
    embedding,
    first,
    second,
    weights,
    matrix,
    target,
    picks,
    n_passes=1,
    *,
    caps=(),
    progress=None,
):
    """Fedorov's exchange for tr(A M⁻¹).

    Parameters
    ----------
    embedding, first, second, weights, matrix, picks, n_passes, caps, progress
        As in :func:`exchange_d`.
    target : Tensor of shape (d, d)
        A, as in :func:`skarm._information.fisher.greedy_v`.

    Returns
    -------
    picks : list of int
        The batch after the swaps, in the order greedy would take it.
    gains : list of float
        Mean predictive variance removed by each pick in that order, in squared nats.

    Notes
    -----
    Cost as :func:`exchange_d`, about twice as long. Memory as
    :func:`skarm._information.fisher.greedy_v`.
    """
    candidates = embedding, first, second, weights
    rule = fisher.VGains(*candidates, matrix, target)
    picks = _exchange(rule, picks, n_passes, caps, progress)
    return _in_order(fisher.greedy_v, candidates, picks, matrix, target)


def _exchange(rule, picks, n_passes, caps, progress):
    """Passes over the picks until nothing changes; `rule` starts without them."""
    picks, taken = list(picks), torch.zeros_like(rule.weights, dtype=torch.bool)
    taken[picks] = True
    caps = [_Cap(codes, limit, picks) for codes, limit in caps]
    for pick in picks:
        rule.add(pick)
    for _ in range(n_passes):
        is_changed = False
        for slot, pick in enumerate(picks):
            rule.add(pick, -1)
            taken[pick] = False
            for cap in caps:
                cap.count(pick, -1)
            gain = rule.gains()
            least = gain[pick].item() * MARGIN
            gain.masked_fill_(taken, -1.0)
            for cap in caps:
                gain.masked_fill_(cap.closed(), -1.0)
            best, swap = (value.item() for value in gain.max(dim=0))
            if best > least:
                picks[slot] = pick = swap
                is_changed = True
            rule.add(pick)
            taken[pick] = True
            for cap in caps:
                cap.count(pick, 1)
            if progress:
                progress(slot + 1, len(picks))
        if not is_changed:
            break
    return picks


class _Cap:
    """At most `limit` picks with the same code; a pair has two codes, or one twice."""

    def __init__(self, codes, limit, picks):
        self.codes, self.limit = codes, limit
        self.counts = codes.new_zeros(int(codes.max()) + 1)
        for pick in picks:
            self.count(pick, 1)

    def count(self, pick, sign):
        """Count a pick, or take it off."""
        self.counts[self.codes[pick].unique()] += sign

    def closed(self):
        """Which candidates would exceed the limit."""
        return (self.counts >= self.limit)[self.codes].any(dim=1)


def _in_order(greedy, candidates, picks, *inputs):
    """The picks in the order greedy would take them, and their gains."""
    embedding, *rows = candidates
    chosen = torch.as_tensor(sorted(picks), device=rows[0].device)
    order, gains = greedy(
        embedding, *(row[chosen] for row in rows), *inputs, len(picks)
    )
    return chosen[order].tolist(), gains
