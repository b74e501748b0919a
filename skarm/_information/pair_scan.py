"""Looking through every pair of n items for those with the highest scores.

In coordinates u that whiten M (M⁻¹ = I), with x = u_i - u_j, a = ‖x‖², b = Σ β_k x_k²
and v the Bernoulli variance, a pair scores

    v a                  what it adds in log det M, before the logarithm: `beta` None
    v b / (1 + v a)      what it takes from tr(A M⁻¹), in coordinates where A is diag(β)

With e^r and e⁻ʳ of the rewards, 1/v = 2 + e^(r_i - r_j) + e^(r_j - r_i). So "score > τ"
is "a - τ/v > 0" or "Σ (β_k - τ) x_k² - τ/v > 0", a bilinear form of rank d + 4 either
way: one float32 matrix product and one maximum decide about a tile (rows × columns of
items). Items are sorted by reward, so v is small in many tiles; without `beta` the
maximum of a tile bounds its scores for good, as these only fall when M grows.

The product is computed with (1 + ε) on the terms of its plus sign and (1 - ε) on the
others, ε above the worst rounding error of such a dot product: rounding admits a few
pairs too many and never leaves one out. Those admitted are weighed in float64.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from skarm._information.pair_lengths import differences
from skarm._information.pair_pool import rounded, slack_of, variance

__all__ = [
    "Found",
    "Score",
    "best_of",
    "make_tiles",
    "scan",
    "thresholds",
]

#: Items on a side of a tile, on the CPU and on a GPU.
BLOCK_SIZE, GPU_BLOCK_SIZE = 512, 8192
#: Pairs refined at once, and pairs drawn to guess a first threshold.
CHUNK_SIZE, SAMPLE_SIZE = 16384, 262_144
#: Rewards this far from a center near those of the rows are clamped, as float32 ends
#: at e⁸⁸: that makes differences smaller and v larger, and so admits too many, at most.
MAX_REWARD = 40.0
#: Smallest threshold, relative to the largest Σ β u², that is left to float32.
MIN_THRESHOLD = 1e-18


@dataclass
class Score:
    """What is compared: v a, or v b / (1 + v a) where there are β."""

    u: torch.Tensor  # (n, d), whitened
    beta: torch.Tensor | None = None  # (d,), not negative

    def of(self, weight, first, second):
        """Scores of pairs, in float64, rounded for comparison."""
        parts = [self.lengths(x) for x in differences(self.u, first, second)]
        a, b = (torch.cat(part) for part in zip(*parts, strict=True))
        return rounded(self.combine(weight, a, b))

    def lengths(self, x):
        """The squared length a and the weighted one b of each row; `x` is spent."""
        if self.beta is None:
            a = torch.linalg.vector_norm(x, dim=1).square_()
            return a, a
        square = x.square_()
        return square.sum(dim=1), square @ self.beta

    def combine(self, weight, a, b):
        return weight * b if self.beta is None else weight * b / (1 + weight * a)


@dataclass
class _Tile:
    """Pairs of rows × columns of the sorted items."""

    rows: slice
    columns: slice
    is_mixed: bool  # several groups: on the diagonal, and not sorted by reward
    most: float = 0.25  # bounds of v
    least: float = 0.0
    gaps: tuple = (0.0, math.inf)  # bounds of |reward difference|
    bound: float = math.inf  # of the gains, now and ever after


def _width(u):
    return GPU_BLOCK_SIZE if u.is_cuda else BLOCK_SIZE


def make_tiles(pool):
    """Cut the scope into tiles; small groups share one, a large group has a grid."""
    width = _width(pool.phi)
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
    gaps = (reward[c] - reward[b - 1]).clamp_(min=0), reward[d - 1] - reward[a]
    most, least = (variance(gap).tolist() for gap in gaps)
    gaps = zip(*(gap.tolist() for gap in gaps), strict=True)
    for tile, *bounds in zip(tiles, most, least, gaps, strict=True):
        if not tile.is_mixed:
            tile.most, tile.least, tile.gaps = bounds
    return [tile for tile in tiles if tile.gaps[0] <= pool.widest]


def scan(pool, tiles, score, threshold, size, report):
    """Every pair that may be picked and scores `threshold` or more; the best `size`."""
    found = Found(pool, score, threshold, size)
    products = _Products(pool, score, threshold)
    for tile in tiles:
        report()
        if min(tile.most * products.longest, tile.bound) < found.threshold:
            continue
        block = products.of(tile, found.threshold)
        top = float(block.amax())
        if top > 0:
            found.add(*_hits(pool, tile, block))
        elif score.beta is None:  # a - τ/v <= top, so v a <= τ + top v
            tile.bound = products.threshold + top * products.scale * tile.least
    return found.finish()


class _Products:
    """Σ (β_k - τ) x_k² - τ/v of whole tiles, or a - τ/v; in float32, over `scale`."""

    def __init__(self, pool, score, threshold):
        u, d = score.u, score.u.shape[1]
        self.pool, self.score, self.slack = pool, score, slack_of(u)
        norms = torch.linalg.vector_norm(u, dim=1)
        top = 1.0 if score.beta is None else max(float(score.beta.max()), 1e-150)
        self.unit = max(float(norms.max()), 1e-75)
        self.scale = top * self.unit**2
        self.right = u.new_empty(len(u), d + 4, dtype=torch.float32)
        self.right[:, :d] = u / self.unit
        self.right[:, d] = 1
        self.plus, self.minus = norms.square_(), None  # Σ β u² (1 + ε), Σ u² (1 - ε)
        if score.beta is not None:
            self.minus = self.plus * ((1 - self.slack) / self.scale)
            self.plus = u.square() @ score.beta
        self.longest = 4 * float(self.plus.max()) * (1 + 1e-9)  # no b is larger
        self.plus = self.plus * ((1 + self.slack) / self.scale)
        self.plus.masked_fill_(~pool.alive, -1e6)  # never positive
        low, high = pool.reward.aminmax()
        self.room = self.right.new_empty(min(_width(u), len(u)) ** 2)  # for a tile
        # what `left` is for, and, from some row up to a column, the end of `right`
        self.rows, self.threshold = None, threshold
        self.center, self.n_shifted = (low + high) / 2, 0

    def of(self, tile, threshold):
        """The products of a tile, (n_rows, n_columns); 1 if `threshold` is 0 or less.

        They are for τ = `self.threshold`, the one at the first tile of these rows, and
        the next tile overwrites them.
        """
        pool, rows, columns = self.pool, tile.rows, tile.columns
        if rows != self.rows:
            self.set_rows(rows, threshold)
        self.shift(columns.stop)
        right = self.right[columns]
        block = self.room[: len(self.left) * len(right)].view(-1, len(right))
        torch.mm(self.left, right.T, out=block)
        if self.threshold <= 0:
            block.fill_(1.0)
        if tile.is_mixed:
            block.masked_fill_(pool.group[rows, None] != pool.group[columns], -1e6)
        if pool.reach:
            left, right = pool.reach[2:]
            torch.minimum(block, left[rows] @ right[columns].T, out=block)
        if tile.gaps[1] > pool.widest:
            gap = pool.reward[rows, None] - pool.reward[columns]
            block.masked_fill_(gap.abs_() > pool.widest, -1e6)
        return block

    def set_rows(self, rows, threshold):
        """Factors on the left: (-2 (β - τ) u_i, e_i - 2 τ, 1, -τ a_i, -τ b_i).

        Here e is Σ (β - τ) u², or ‖u‖², and a and b are eʳ and e⁻ʳ.
        """
        far = (self.pool.reward[rows] - self.center).abs_().amax() > MAX_REWARD / 2
        if far or (threshold != self.threshold and self.minus is not None):
            low, high = self.pool.reward[rows].aminmax()
            self.center, self.n_shifted = (low + high) / 2, rows.start
        self.rows, self.threshold = rows, threshold
        self.shift(rows.stop)
        tau = threshold * (1 - self.slack) / self.scale
        _, e, b, a = self.right[rows, -4:].T
        self.left = self.right[rows] * -2
        if self.minus is not None:
            signed = (self.score.beta - threshold) * (self.unit**2 / self.scale)
            self.left[:, :-4] *= signed.float()
        tail = [e - 2 * tau, torch.ones_like(e), a * -tau, b * -tau]
        self.left[:, -4:] = torch.stack(tail, dim=1)

    def shift(self, stop):
        """Factors on the right, (u_j, 1, e_j, b_j, a_j), about the center, up to j."""
        if stop <= self.n_shifted:
            return
        columns = slice(self.n_shifted, stop)
        r = (self.pool.reward[columns] - self.center).clamp_(-MAX_REWARD, MAX_REWARD)
        e = self.plus[columns]
        if self.minus is not None:
            e = e - self.threshold * self.minus[columns]
        self.right[columns, -3:] = torch.stack([e, (-r).exp_(), r.exp_()], 1).float()
        self.n_shifted = stop


def _hits(pool, tile, block):
    """Pairs of the scope with a positive product in a tile."""
    if block.is_cuda:
        first, second = (block > 0).nonzero(as_tuple=True)
    else:  # NumPy finds them several times faster
        flat = np.flatnonzero(block.numpy() > 0)
        first, second = map(torch.from_numpy, np.divmod(flat, block.shape[1]))
    first, second = first + tile.rows.start, second + tile.columns.start
    if tile.rows == tile.columns:
        kept = first < second
        first, second = first[kept], second[kept]
    if pool.scope == "across":
        kept = pool.group[first] != pool.group[second]
        first, second = first[kept], second[kept]
    return first, second


class Found:
    """Pairs found by a scan, scored in float64: about the best `size` of them."""

    def __init__(self, pool, score, threshold, size):
        self.pool, self.score, self.size = pool, score, size
        self.threshold = threshold  # lower scores no longer matter
        self.outside = threshold, -(len(score.u) ** 2)  # (score, -code) bounds others
        self.raw, self.n_raw, self.parts, self.n_kept = [], 0, [], 0

    def add(self, first, second):
        """Take pairs, and refine what was taken if that is enough."""
        self.raw.append((first, second))
        self.n_raw += len(first)
        if self.n_raw >= CHUNK_SIZE:
            self.refine()

    def refine(self):
        """Compute scores, and keep those that matter."""
        first, second = (torch.cat(part) for part in zip(*self.raw, strict=True))
        self.raw, self.n_raw = [], 0
        n = CHUNK_SIZE
        for i, j in zip(first.split(n), second.split(n), strict=True):
            weight = self.pool.weight(i, j)
            gain, code = self.score.of(weight, i, j), self.pool.code(i, j)
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


def thresholds(pool, score, size, guess):
    """Thresholds to try until pairs are found; about `size` should pass the first.

    The guess after the last scan, one from a sample, the lowest that float32 resolves;
    at 0 or less all pairs are looked at in float64.
    """
    square = score.u.square()
    longest = square.sum(dim=1) if score.beta is None else square @ score.beta
    lowest = MIN_THRESHOLD * float(longest.max())
    if pool.n_pairs > size and lowest > 0:
        if guess > lowest:
            yield guess
        yield max(_sampled_threshold(pool, score, size), lowest)
        yield lowest
    yield -1.0


def _sampled_threshold(pool, score, size):
    """A score that about `size` pairs reach, by a sample; 0 if none may be picked."""
    u = score.u
    n = torch.tensor([len(u)], device=u.device)
    if pool.scope == "within":
        n = torch.unique_consecutive(pool.group, return_counts=True)[1]
    starts, sizes = (n.cumsum(0) - n).repeat_interleave(n), n.repeat_interleave(n)
    ends = sizes.cumsum(0)
    generator = torch.Generator(device=u.device).manual_seed(0)
    draw = u.new_empty(2, SAMPLE_SIZE).uniform_(generator=generator)
    first = torch.searchsorted(ends, (draw[0] * ends[-1]).long(), right=True)
    second = starts[first] + (draw[1] * sizes[first]).long()
    weight = pool.weight(first, second)
    gain = score.of(weight, first, second)
    gain = gain[pool.allows(first, second, pool.code(first, second))]
    rank = min(max(1, round(2 * size * SAMPLE_SIZE / int(ends[-1]))), len(gain))
    # a hair lower, for the pairs that tie with this one
    return float(gain.topk(rank).values[-1]) * (1 - 1e-6) if rank else 0.0
