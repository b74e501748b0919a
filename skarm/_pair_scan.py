"""Looking through every pair of n items for those that would add most information.

With M = L Lᵀ and u = L⁻¹ φ, a pair adds v q: q = ‖u_i - u_j‖² and, with a = eʳ and
b = e⁻ʳ of its rewards, 1/v = 2 + a_i b_j + b_i a_j. So "v q > τ" is "q - τ/v > 0", a
bilinear form of rank d + 4: one float32 matrix product and one maximum decide about a
tile (rows × columns of items). Items are sorted by reward, so v is small in many tiles;
the maximum of a tile bounds its gains for good, as gains only fall when M grows.

The product computes q (1 + ε) - τ (1 - ε)/v, ε above the worst rounding error of such
a dot product: rounding admits a few pairs too many and never leaves one out. Those
admitted are weighed in float64.
"""

import itertools
import math
from dataclasses import dataclass

import torch

__all__ = [
    "Found",
    "Pool",
    "best_of",
    "differences",
    "exclude",
    "make_pool",
    "make_reach",
    "make_tiles",
    "rounded",
    "scan",
    "thresholds",
    "whiten",
]

#: Items on a side of a tile, on the CPU and on a GPU.
BLOCK_SIZE, GPU_BLOCK_SIZE = 512, 8192
#: Pairs refined at once, and pairs drawn to guess a first threshold.
CHUNK_SIZE, SAMPLE_SIZE = 16384, 262_144
#: Rewards this far from those of the rows are clamped: float32 ends at e⁸⁸.
MAX_REWARD = 40.0
#: Smallest threshold, relative to the largest ‖u‖², that is left to float32.
MIN_THRESHOLD = 1e-18
#: Rounding unit of a product, by torch's float32 matmul precision.
ROUNDING = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}


def whiten(phi, lower):
    """L⁻¹ φ of each item, (n, d)."""
    return torch.linalg.solve_triangular(lower, phi.T, upper=False).T.contiguous()


def differences(u, first, second):
    """u_i - u_j, in chunks of pairs."""
    chunks = zip(first.split(CHUNK_SIZE), second.split(CHUNK_SIZE), strict=True)
    return (u[i].sub_(u[j]) for i, j in chunks)


def _lengths(u, first, second):
    """‖u_i - u_j‖² of each pair."""
    return torch.cat([x.square_().sum(dim=1) for x in differences(u, first, second)])


def _variance(difference):
    """Bernoulli variance p (1 - p) at a reward difference."""
    return torch.sigmoid(difference) * torch.sigmoid(-difference)


def rounded(gain):
    """Gains to 31 bits, so that equal ones compare equal (Veltkamp's splitting)."""
    shifted = gain * (2.0**22 + 1)
    return shifted - (shifted - gain)


def _slack(u):
    """ε: twice the worst relative error of a float32 product of two rows."""
    return 4 * (u.shape[1] + 16) * ROUNDING[torch.get_float32_matmul_precision()]


@dataclass
class Pool:
    """Items in the order of the scan, and which of their pairs may be picked."""

    item: torch.Tensor  # (n,), index of each
    phi: torch.Tensor  # (n, d), centered
    reward: torch.Tensor  # (n,)
    rank: torch.Tensor  # (n,), place in the order of ties
    group: torch.Tensor | None  # (n,)
    scope: str
    n_pairs: int  # in the scope, and not excluded
    alive: torch.Tensor  # (n,), False once capped
    excluded: torch.Tensor  # codes, sorted
    picked: torch.Tensor  # codes, sorted
    reach: tuple = ()  # y (n, d), limit, and left and right factors of limit - ‖·‖²

    def code(self, first, second):
        """Number of each pair in the order of ties."""
        a, b = self.rank[first], self.rank[second]
        return torch.minimum(a, b) * len(self.rank) + torch.maximum(a, b)

    def allows(self, first, second, code):
        """Which of these pairs may be picked now."""
        allowed = (first != second) & self.alive[first] & self.alive[second]
        if self.scope != "all":
            same = self.group[first] == self.group[second]
            allowed &= same if self.scope == "within" else ~same
        if self.reach:
            allowed &= _lengths(self.reach[0], first, second) <= self.reach[1]
        for codes in filter(len, (self.excluded, self.picked)):
            at = torch.searchsorted(codes, code).clamp_(max=len(codes) - 1)
            allowed &= codes[at] != code
        return allowed


def make_pool(embedding, rewards, groups, scope, tie_order):
    """Sort the items by reward, inside groups if pairs are, and count the pairs."""
    n, device = len(embedding), embedding.device
    index, group = torch.arange(n, device=device), None
    order, center = torch.argsort(rewards, stable=True), embedding.mean(dim=0)
    sizes = torch.tensor([n])
    if groups is not None:
        group = torch.as_tensor(groups, device=device).unique(return_inverse=True)[1]
        sizes = sizes if scope == "all" else torch.bincount(group)
    n_pairs = int((sizes * (sizes - 1) // 2).sum())
    if scope == "across":
        n_pairs = n * (n - 1) // 2 - n_pairs
    elif scope == "within":  # only differences inside a group matter: lose no digits
        order = order[torch.argsort(group[order], stable=True)]
        center = embedding.new_zeros(len(sizes), embedding.shape[1])
        center = (center.index_add_(0, group, embedding) / sizes[:, None])[group]
    rank = index.clone()
    if tie_order is not None:
        rank[torch.as_tensor(tie_order, device=device)] = index
    return Pool(
        *(order, (embedding - center)[order], rewards[order], rank[order]),
        *(None if group is None else group[order], scope, n_pairs),
        *(torch.ones_like(index, dtype=torch.bool), index[:0], index[:0]),
    )


def exclude(pool, pairs):
    """Exclude pairs of item indices for good."""
    place = pool.item.argsort()
    first, second = place[torch.as_tensor(pairs, device=place.device)].T
    code = pool.code(first, second)
    pool.excluded = code[pool.allows(first, second, code)].unique()
    pool.n_pairs -= len(pool.excluded)


def make_reach(pool, lower, limit):
    """Factors whose product is positive where ‖L⁻¹ (φ_i - φ_j)‖² ≤ limit."""
    y = whiten(pool.phi, lower)
    e, slack = y.square().sum(dim=1, keepdim=True), _slack(y)
    scale, one = max(float(e.max()), 1e-300), torch.ones_like(e)
    limits = (limit * (1 + slack) - e * (1 - slack)) / scale
    left = torch.cat([y * (2 / scale**0.5), limits, -one], dim=1)
    right = torch.cat([y / scale**0.5, one, e * ((1 - slack) / scale)], dim=1)
    return y, float(limit) * (1 + 1e-12), left.float(), right.float()


@dataclass
class _Tile:
    """Pairs of rows × columns of the sorted items."""

    rows: slice
    columns: slice
    is_mixed: bool  # several groups: on the diagonal, and not sorted by reward
    most: float = 0.25  # bounds of v
    least: float = 0.0
    bound: float = math.inf  # of the gains, now and ever after


def make_tiles(pool):
    """Cut the scope into tiles; small groups share one, a large group has a grid."""
    width = GPU_BLOCK_SIZE if pool.phi.is_cuda else BLOCK_SIZE
    sizes = [len(pool.item)]
    if pool.scope == "within":
        sizes = torch.unique_consecutive(pool.group, return_counts=True)[1].tolist()
    spans, tiles, stop = [[0, 0, False]], [], 0
    for size in sizes:
        start, stop = stop, stop + size
        if stop - spans[-1][0] <= width:
            spans[-1] = [spans[-1][0], stop, True]
        else:
            spans.append([start, stop, False])
    for start, stop, is_shared in spans:
        cuts = itertools.pairwise([*range(start, stop, width), stop])
        blocks = [slice(*cut) for cut in cuts]
        for k, rows in enumerate(blocks):
            is_mixed = is_shared and pool.scope == "within"
            tiles += [_Tile(rows, columns, is_mixed) for columns in blocks[k:]]
    reward = pool.reward.cpu()
    sides = [
        (t.rows.start, t.rows.stop, t.columns.start, t.columns.stop) for t in tiles
    ]
    a, b, c, d = torch.tensor(sides).reshape(-1, 4).T
    most = _variance((reward[c] - reward[b - 1]).clamp_(min=0)).tolist()
    least = _variance(reward[d - 1] - reward[a]).tolist()
    for tile, *bounds in zip(tiles, most, least, strict=True):
        if not tile.is_mixed:
            tile.most, tile.least = bounds
    return tiles


def scan(pool, tiles, u, threshold, size, report):
    """Every pair that may be picked and gains `threshold` or more; the best `size`."""
    found, products = Found(pool, u, threshold, size), _Products(pool, u)
    for tile in tiles:
        report()
        longest = 4 * products.scale * (1 + 1e-9)  # no q is larger
        if min(tile.most * longest, tile.bound) < found.threshold:
            continue
        block = products.of(tile, found.threshold)
        peak = block.amax(dim=1)
        top = float(peak.max())
        if top > 0:
            found.add(*_hits(pool, tile, block, (peak > 0).nonzero()[:, 0]))
        else:  # q - τ/v <= top, so v q <= τ + top v
            tile.bound = products.threshold + top * products.scale * tile.least
    return found.finish()


class _Products:
    """q (1 + ε) - τ (1 - ε)/v of whole tiles, in float32, with q and τ over `scale`."""

    def __init__(self, pool, u):
        self.pool, self.slack, d = pool, _slack(u), u.shape[1]
        lengths = torch.linalg.vector_norm(u, dim=1)
        self.scale = max(float(lengths.max()) ** 2, 1e-300)
        e = lengths.square_().mul_((1 + self.slack) / self.scale)
        self.right = u.new_empty(len(u), d + 4, dtype=torch.float32)
        self.right[:, :d] = u / self.scale**0.5
        self.right[:, d] = 1
        self.right[:, d + 1] = e.masked_fill_(~pool.alive, -1e6)  # never positive
        self.rows = None  # that `left` and the last columns of `right` are for

    def of(self, tile, threshold):
        """The products of a tile, (n_rows, n_columns); 1 if `threshold` is 0 or less.

        They are for τ = `self.threshold`, the one at the first tile of these rows.
        """
        pool, rows, columns = self.pool, tile.rows, tile.columns
        if rows != self.rows:
            self.set_rows(rows, threshold)
        if columns.stop > self.n_shifted:
            self.shift(slice(self.n_shifted, columns.stop))
        block = self.left @ self.right[columns].T
        if self.threshold <= 0:
            block.fill_(1.0)
        if tile.is_mixed:
            block.masked_fill_(pool.group[rows, None] != pool.group[columns], -1e6)
        if pool.reach:
            left, right = pool.reach[2:]
            torch.minimum(block, left[rows] @ right[columns].T, out=block)
        return block

    def set_rows(self, rows, threshold):
        """Factors on the left: (-2 u_i, e_i - 2 τ, 1, -τ a_i, -τ b_i), e = ‖u‖²."""
        low, high = self.pool.reward[rows].aminmax()
        self.rows, self.center, self.threshold = rows, (low + high) / 2, threshold
        self.shift(rows)
        tau = threshold * (1 - self.slack) / self.scale
        _, e, b, a = self.right[rows, -4:].T
        self.left = self.right[rows] * -2
        tail = [e - 2 * tau, torch.ones_like(e), a * -tau, b * -tau]
        self.left[:, -4:] = torch.stack(tail, dim=1)

    def shift(self, columns):
        """Factors on the right, (u_j, 1, e_j, b_j, a_j), about the rows' rewards."""
        r = (self.pool.reward[columns] - self.center).clamp_(-MAX_REWARD, MAX_REWARD)
        self.right[columns, -2:] = torch.stack([-r, r], dim=1).exp_().float()
        self.n_shifted = columns.stop


def _hits(pool, tile, block, rows):
    """Pairs of the scope with a positive product in these rows of a tile."""
    block, rows = block[rows], rows + tile.rows.start
    if pool.scope == "across":
        same = pool.group[rows, None] == pool.group[tile.columns]
        block.masked_fill_(same, -1.0)
    first, second = (block > 0).nonzero(as_tuple=True)
    first, second = rows[first], second + tile.columns.start
    once = first < second
    return first[once], second[once]


class Found:
    """Pairs found by a scan, with gains in float64: about the best `size` of them."""

    def __init__(self, pool, u, threshold, size):
        self.pool, self.u, self.size = pool, u, size
        self.threshold = threshold  # lower gains no longer matter
        self.outside = threshold, -(len(u) ** 2)  # (gain, -code) bounds all others
        self.raw, self.n_raw, self.parts, self.n_kept = [], 0, [], 0

    def add(self, first, second):
        """Take pairs, and refine what was taken if that is enough."""
        self.raw.append((first, second))
        self.n_raw += len(first)
        if self.n_raw >= CHUNK_SIZE:
            self.refine()

    def refine(self):
        """Compute gains, and keep those that matter."""
        first, second = (torch.cat(part) for part in zip(*self.raw, strict=True))
        self.raw, self.n_raw = [], 0
        for i, j in zip(first.split(CHUNK_SIZE), second.split(CHUNK_SIZE), strict=True):
            weight = _variance(self.pool.reward[i] - self.pool.reward[j])
            gain, code = rounded(weight * _lengths(self.u, i, j)), self.pool.code(i, j)
            keep = (gain >= self.threshold) & self.pool.allows(i, j, code)
            self.parts.append([value[keep] for value in (i, j, weight, gain, code)])
            self.n_kept += len(self.parts[-1][0])
            if self.n_kept > 2 * self.size:  # keep the best, and look only for better
                *_, gain, code = self.merge()
                kept, next_best = best_of(gain, code, self.size)
                self.parts = [[value[kept] for value in self.parts[0]]]
                self.outside = max(self.outside, next_best)
                self.threshold, self.n_kept = self.outside[0], self.size

    def merge(self):
        """All parts as one, in the order of ties."""
        merged = [torch.cat(part) for part in zip(*self.parts, strict=True)]
        order = merged[-1].argsort()
        self.parts = [[value[order] for value in merged]]
        return self.parts[0]

    def finish(self):
        """Refine the rest."""
        if self.n_raw:
            self.refine()
        return self


def best_of(gain, code, size):
    """Positions of the `size` best in the order of ties; (gain, -code) of the next."""
    if len(gain) <= size:
        return torch.arange(len(gain), device=gain.device), (-1.0, 0)
    last = gain.topk(size + 1).values[-1]
    above, ties = (gain > last).nonzero()[:, 0], (gain == last).nonzero()[:, 0]
    n_ties = size - len(above)
    kept = torch.cat([above, ties[:n_ties]]).sort().values
    return kept, (float(last), -int(code[ties[n_ties]]))


def thresholds(pool, u, size, guess):
    """Thresholds to try until pairs are found; about `size` should pass the first.

    The guess after the last scan, one from a sample, the lowest that float32 resolves;
    at 0 or less all pairs are looked at in float64.
    """
    lowest = MIN_THRESHOLD * float(torch.linalg.vector_norm(u, dim=1).max()) ** 2
    if pool.n_pairs > size and lowest > 0:
        if guess > lowest:
            yield guess
        yield max(_sampled_threshold(pool, u, size), lowest)
        yield lowest
    yield -1.0


def _sampled_threshold(pool, u, size):
    """A gain that about `size` pairs reach, by a sample; 0 if none may be picked."""
    n = torch.tensor([len(u)], device=u.device)
    if pool.scope == "within":
        n = torch.unique_consecutive(pool.group, return_counts=True)[1]
    starts, sizes = (n.cumsum(0) - n).repeat_interleave(n), n.repeat_interleave(n)
    ends = sizes.cumsum(0)
    generator = torch.Generator(device=u.device).manual_seed(0)
    draw = u.new_empty(2, SAMPLE_SIZE).uniform_(generator=generator)
    first = torch.searchsorted(ends, (draw[0] * ends[-1]).long(), right=True)
    second = starts[first] + (draw[1] * sizes[first]).long()
    gain = _variance(pool.reward[first] - pool.reward[second])
    gain *= _lengths(u, first, second)
    gain = gain[pool.allows(first, second, pool.code(first, second))]
    rank = min(max(1, round(2 * size * SAMPLE_SIZE / int(ends[-1]))), len(gain))
    # a hair lower, for the pairs that tie with this one
    return float(gain.topk(rank).values[-1]) * (1 - 1e-6) if rank else 0.0
