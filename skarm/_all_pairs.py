"""Greedy D-optimal batches over every pair of n items, without listing the pairs.

Exact: the picks are those of :func:`skarm._fisher.greedy_d` on the explicit list of
pairs. Three levels make it fast, each a list and a promise about what is outside it:

- all pairs: blocks of items, whitened so that xᵀM⁻¹x = ‖u_i - u_j‖², are scanned in
  float32 for gains above a threshold τ. With a = eʳ, b = e⁻ʳ, 1/v = 2 + a_i b_j + b_i a_j,
  so "v q > τ" is "q - τ/v > 0", a bilinear form of rank d + 4: one matrix product and
  one maximum decide about a block. Items are sorted by reward, so many blocks are
  skipped because v is small in them; what a scan learns about a block bounds it for
  good, since gains only fall as information grows;
- the shortlist: the pairs above τ, with gains in float64. The best of it is the best
  of all pairs for as long as it stays above τ;
- its head: the best few thousand, the only ones a pick updates.

The product is asked for q (1 + ε) - τ (1 - ε) / v with ε above the worst rounding
error of a float32 dot product of that length, so rounding admits a few pairs too many
and never leaves one out.
"""

import time
from dataclasses import dataclass, field

import torch

from skarm._fisher import REFACTOR_EVERY, factor

__all__ = ["greedy_d_all_pairs"]

#: Items on a side of a block, on the CPU and on a GPU.
BLOCK_SIZE, GPU_BLOCK_SIZE = 512, 8192
#: Numbers (pairs × dimensions) in a shortlist and in its head, and bounds on the pairs.
SHORTLIST_NUMBERS, MIN_SHORTLIST, MAX_SHORTLIST = 3_200_000, 4096, 50_000
HEAD_NUMBERS, MIN_HEAD, MAX_HEAD = 262_144, 512, 4096
#: Pairs refined at once.
CHUNK_SIZE = 16384
#: Pairs drawn to guess a first threshold.
SAMPLE_SIZE = 262_144
#: Whitened afresh once the best gain has fallen by this factor: the digits it lost.
MAX_FALL = 1e3
#: Reward differences are clamped to twice this in the float32 scan: e⁸⁰ is still finite.
MAX_REWARD = 40.0
#: Smallest threshold, relative to the longest squared length, that float32 resolves.
MIN_THRESHOLD = 1e-25
#: Rounding unit of one product in the scan, by torch's float32 matmul precision.
ROUNDING = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}
#: Seconds between two calls of `progress`.
PROGRESS_EVERY = 0.1


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
    max_per_item=None,
    max_per_group=None,
    tie_order=None,
    progress=None,
):
    """Greedy D-optimal batch among all pairs of items: the pair that raises log det M.

    Repeatedly argmax_{i<j} v_ij q_ij with v_ij = p (1 - p), p = sigmoid(r_i - r_j),
    q_ij = (φ_i - φ_j)ᵀ M⁻¹ (φ_i - φ_j); picking (i, j) adds v x xᵀ to M. No pair is
    picked twice.

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
        Group code of each item; needed by the scopes ``"within"`` and ``"across"``,
        and by `max_per_group`.
    scope : {"all", "within", "across"}, default="all"
        Which pairs: all, those inside a group, or those between groups.
    excluded : array-like of shape (n_excluded, 2), int, default=None
        Pairs that must not be picked, in either order.
    reach : (Tensor of shape (d, d), float), default=None
        ``(L, limit)``: only pairs with ‖L⁻¹ (φ_i - φ_j)‖² ≤ limit may be picked.
    max_per_item, max_per_group : int, default=None
        In how many pairs of the batch an item, or a group, may occur. A pair inside
        a group is one occurrence of it.
    tie_order : array-like of shape (n_items,), int, default=None
        A permutation of the items. Of pairs with equal gains (to 1e-9), the one wins
        whose earlier item comes first in it, then whose later item does; by default
        items are in the order of their index.
    progress : callable, default=None
        Called as ``progress(n_picked, n_pairs)`` every 0.1 s or so, and at the end.

    Returns
    -------
    pairs : LongTensor of shape (n_picked, 2), on the CPU
        The lower item index first, in the order of picking. Fewer than `n_pairs` only
        if `reach` or the caps leave no other pair.
    gains : list of float
        log det gained by each pick, in nats; never increasing.

    Raises
    ------
    ValueError
        If the scope without the excluded pairs holds fewer than `n_pairs`, or if M is
        not positive definite.

    Notes
    -----
    Memory, in bytes beyond the inputs, with b = ``BLOCK_SIZE``, K = the shortlist's
    ``max(MIN_SHORTLIST, min(MAX_SHORTLIST, SHORTLIST_NUMBERS / d))``:
    ``24 n (d + 4) + 12 b² + 16 K (d + 12) + 24 CHUNK_SIZE d``, and ``12 n d`` with
    `reach`; never a multiple of n².

    Time: one scan, at most n² (d + 4) multiplications in float32 (Σ_g n_g max(n_g, b)
    of them ``"within"``), for every 20 to 100 picks, and O(head d) a pick.
    """
    pool = _make_pool(embedding, rewards, groups, scope, excluded, reach, tie_order)
    if pool.n_pairs < n_pairs:
        raise ValueError(
            f"n_pairs must not exceed the pairs that may be picked. Got {n_pairs}, but "
            f'scope "{scope}" of {len(embedding)} items holds {pool.n_pairs} that are '
            "not excluded. Ask for fewer."
        )
    batch = _Batch(matrix.clone(), n_pairs, max_per_item, max_per_group, progress)
    d = embedding.shape[1]
    size = int(max(MIN_SHORTLIST, min(MAX_SHORTLIST, SHORTLIST_NUMBERS // max(d, 1))))
    head_size = int(max(MIN_HEAD, min(MAX_HEAD, HEAD_NUMBERS // max(d, 1))))
    tiles = _make_tiles(pool)
    shortlist, attempt = None, 0
    while len(batch.gains) < n_pairs:
        u = _whiten(pool.phi, factor(batch.matrix))
        threshold = _threshold(pool, u, size, shortlist, attempt)
        shortlist = _scan(pool, tiles, u, threshold, size, batch)
        if len(shortlist.first):
            attempt = 0
            _pick(pool, u, shortlist, head_size, batch)
        elif threshold > 0:
            attempt += 1
        else:
            break  # every pair was looked at
    batch.report(final=True)
    pairs = torch.tensor(batch.pairs, dtype=torch.int64).reshape(-1, 2)
    return pairs.sort(dim=1).values, batch.gains


# ------------------------------------------------------------------- items and pairs


@dataclass
class _Pool:
    """Items in the order of the scan, and which of their pairs may be picked."""

    item: torch.Tensor  # (n,), index of each item
    phi: torch.Tensor  # (n, d), centered
    reward: torch.Tensor  # (n,)
    group: torch.Tensor | None  # (n,)
    scope: str
    rank: torch.Tensor  # (n,), place in the order of ties
    alive: torch.Tensor  # (n,), False once capped
    banned: list  # of sorted codes
    y: torch.Tensor | None  # (n, d), coordinates of the reach
    limit: float
    n_pairs: int

    def code(self, first, second):
        """Number of each pair in the order of ties."""
        a, b = self.rank[first], self.rank[second]
        return torch.minimum(a, b) * len(self.rank) + torch.maximum(a, b)

    def same_group(self, first, second):
        return self.group[first] == self.group[second]

    def allows(self, first, second, code):
        """Which of these pairs may be picked now."""
        allowed = self.alive[first] & self.alive[second]
        if self.scope == "across":
            allowed &= ~self.same_group(first, second)
        if self.y is not None:
            allowed &= _lengths(self.y, first, second) <= self.limit
        for codes in self.banned:
            at = torch.searchsorted(codes, code).clamp_(max=len(codes) - 1)
            allowed &= codes[at] != code
        return allowed


def _make_pool(embedding, rewards, groups, scope, excluded, reach, tie_order):
    n, device = len(embedding), embedding.device
    index = torch.arange(n, device=device)
    order = torch.argsort(rewards, stable=True)
    group, center = None, embedding.mean(dim=0)
    if groups is not None:
        group = torch.as_tensor(groups, device=device)
        group = torch.unique(group, return_inverse=True)[1]
    sizes = torch.bincount(group) if scope != "all" else torch.tensor([n])
    count = int((sizes * (sizes - 1) // 2).sum())
    if scope == "across":
        count = n * (n - 1) // 2 - count
    elif scope == "within":  # only differences inside a group matter: lose no digits
        order = order[torch.argsort(group[order], stable=True)]
        center = embedding.new_zeros(len(sizes), embedding.shape[1])
        center = (center.index_add_(0, group, embedding) / sizes[:, None])[group]
    phi = (embedding - center)[order].contiguous()
    rank = index
    if tie_order is not None:
        rank = torch.empty_like(index)
        rank[torch.as_tensor(tie_order, device=device)] = index
    y, limit = None, 0.0
    if reach is not None:
        y, limit = _whiten(phi, reach[0]), float(reach[1]) * (1 + 1e-12)
    pool = _Pool(
        *(order, phi, rewards[order], None if group is None else group[order], scope),
        *(rank[order], torch.ones_like(index, dtype=torch.bool), [], y, limit, count),
    )
    if excluded is not None and len(excluded):
        place = torch.empty_like(index)
        place[order] = index
        first, second = place[torch.as_tensor(excluded, device=device)].T
        inside = first != second
        if scope != "all":
            inside &= pool.same_group(first, second) == (scope == "within")
        codes = torch.unique(pool.code(first[inside], second[inside]))
        pool.n_pairs -= len(codes)
        pool.banned = [codes] if len(codes) else []
    return pool


def _whiten(phi, lower):
    """u = L⁻¹ φ of each item, (n, d)."""
    return torch.linalg.solve_triangular(lower, phi.T, upper=False).T.contiguous()


def _lengths(u, first, second):
    """‖u_i - u_j‖² of each pair, in chunks."""
    parts = [
        (u[i] - u[j]).square_().sum(dim=1)
        for i, j in zip(first.split(CHUNK_SIZE), second.split(CHUNK_SIZE), strict=True)
    ]
    return torch.cat(parts) if parts else u.new_empty(0)


def _variance(difference):
    """p (1 - p) at a reward difference."""
    return torch.sigmoid(difference) * torch.sigmoid(-difference)


def _rounded(gain):
    """Gains to 31 significant bits (Veltkamp), so that equal ones compare equal."""
    shifted = gain * (2.0**22 + 1)
    return shifted - (shifted - gain)


# ------------------------------------------------------------------------- all pairs


@dataclass
class _Tiles:
    """Blocks of pairs: rows × columns of the sorted items."""

    spans: list  # of (row_start, row_stop, column_start, column_stop, has_groups)
    most: torch.Tensor  # (n_tiles,), upper bound of v
    least: torch.Tensor  # (n_tiles,), lower bound of v
    bound: torch.Tensor  # (n_tiles,), upper bound of the gains, now and ever after


def _make_tiles(pool):
    """Cut the scope into tiles; small groups share one, a large group has a grid."""
    n = len(pool.item)
    width = GPU_BLOCK_SIZE if pool.phi.is_cuda else BLOCK_SIZE
    sizes = [n]
    if pool.scope == "within":
        sizes = torch.unique_consecutive(pool.group, return_counts=True)[1].tolist()
    spans, run, stop = [], [], 0
    for size in [*sizes, width + 1]:  # the last one ends the last run
        if run and stop + size - run[0] > width:
            spans.append((run[0], stop, run[0], stop, len(run) > 1))
            run = []
        if size > width and stop < n:
            cuts = [*range(stop, stop + size, width), stop + size]
            blocks = list(zip(cuts[:-1], cuts[1:], strict=True))
            spans += [
                (*rows, *columns, False)
                for k, rows in enumerate(blocks)
                for columns in blocks[k:]
            ]
        elif size <= width:
            run.append(stop)
        stop += size
    low, high = [], []  # of |r_i - r_j| in a tile
    reward = pool.reward.cpu()
    edges = torch.tensor(spans, dtype=torch.int64).reshape(-1, 5)
    for start, last in ((edges[:, 0], edges[:, 1]), (edges[:, 2], edges[:, 3])):
        low.append(reward[start])
        high.append(reward[last - 1])
    mixed = edges[:, 4].bool()  # rewards are sorted inside a group only
    gap = (low[1] - high[0]).clamp_(min=0).masked_fill_(mixed, 0.0)
    spread = (high[1] - low[0]).abs().masked_fill_(mixed, torch.inf)
    return _Tiles(
        spans, _variance(gap), _variance(spread), torch.full_like(gap, torch.inf)
    )


@dataclass
class _Shortlist:
    """Pairs with the largest gains, in the order of ties, and the best pair outside."""

    first: torch.Tensor
    second: torch.Tensor
    weight: torch.Tensor
    gain: torch.Tensor
    code: torch.Tensor
    outside: tuple  # (gain, -code): no pair outside the list comes before it
    best: float = 0.0  # the largest gain at the last pick from it


def _scan(pool, tiles, u, threshold, size, batch):
    """Every pair that may be picked and gains `threshold` or more, the best `size`.

    A threshold of 0 or less looks at every pair in float64, without products.
    """
    norms = u.square().sum(dim=1)
    scale = float(norms.max())
    rounding = ROUNDING[torch.get_float32_matmul_precision()]
    slack = 4 * (u.shape[1] + 16) * rounding
    columns = u.new_empty(len(u), u.shape[1] + 4, dtype=torch.float32)
    if threshold > 0:
        longest = norms.sqrt()
        peaks = {}
        columns[:, :-4] = u * scale**-0.5
        e = (norms * ((1 + slack) / scale)).masked_fill_(~pool.alive, -1e6).float()
        columns[:, -4], columns[:, -3] = 1, e
        rows_of = columns * -2
        rows_of[:, -4], rows_of[:, -3] = e, 1
    found = _Found(pool, u, threshold, size)
    row_start, rows, at = None, None, 0.0
    for k, (r0, r1, c0, c1, mixed) in enumerate(tiles.spans):
        batch.report()
        if threshold <= 0:
            found.add(*_every_pair(pool, r0, r1, c0, c1, mixed))
            continue
        for start, stop in ((r0, r1), (c0, c1)):
            if start not in peaks:
                peaks[start] = float(longest[start:stop].max())
        bound = float(tiles.most[k]) * (peaks[r0] + peaks[c0]) ** 2 * (1 + 1e-9)
        if min(bound, float(tiles.bound[k])) < found.threshold:
            continue
        if r0 != row_start:
            row_start, at = r0, found.threshold
            rows = _rows(pool, rows_of, columns, r0, r1, at * (1 - slack) / scale)
        block = rows @ columns[c0:c1].T  # q (1 + ε) - τ (1 - ε) / v
        if mixed:
            same = pool.group[r0:r1, None] == pool.group[None, c0:c1]
            block.masked_fill_(~same, -1e6)
        peak = block.amax(dim=1)
        top = float(peak.max())
        v = tiles.most[k] if top > 0 else tiles.least[k]
        tiles.bound[k] = at + top * scale * float(v)
        if top > 0:
            found.add(*_hits(pool, block, peak, r0, c0))
    return found.shortlist()
