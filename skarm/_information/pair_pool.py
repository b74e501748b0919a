"""The items of a pool in the order of a scan, and which of their pairs may be picked.

Also the arithmetic of pairs that scans and shortlists share: differences of whitened
items, Bernoulli variances, gains rounded so that equal ones compare equal.
"""

import math
from dataclasses import dataclass

import torch

from skarm._information.pair_lengths import differences

__all__ = [
    "Pool",
    "exclude",
    "lengths",
    "listed_differences",
    "make_pool",
    "make_reach",
    "rounded",
    "slack_of",
    "variance",
    "whiten",
]

#: Rounding unit of a product, by torch's float32 matmul precision.
ROUNDING = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}


def whiten(phi, lower):
    """L⁻¹ φ of each item, (n, d)."""
    return torch.linalg.solve_triangular(lower, phi.T, upper=False).T.contiguous()


def listed_differences(u, first, second):
    """u_i - u_j, (n_pairs, d): no more is allocated than that and a chunk."""
    x = u.new_empty(len(first), u.shape[1])
    start = 0
    for part in differences(u, first, second):
        x[start : start + len(part)] = part
        start += len(part)
    return x


def lengths(u, first, second):
    """‖u_i - u_j‖² of each pair."""
    parts = [torch.linalg.vector_norm(x, dim=1) for x in differences(u, first, second)]
    return torch.cat(parts).square_()


def variance(difference):
    """Bernoulli variance p (1 - p) at a reward difference."""
    return torch.sigmoid(difference) * torch.sigmoid(-difference)


def rounded(gain):
    """Gains to 31 bits, so that equal ones compare equal (Veltkamp's splitting)."""
    shifted = gain * (2.0**22 + 1)
    return shifted - (shifted - gain)


def slack_of(u):
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
    bound: float = math.inf  # of ‖y_i - y_j‖², for the weight of a pair
    widest: float = math.inf  # |reward difference| of a pair that may be picked

    def code(self, first, second):
        """Number of each pair in the order of ties."""
        a, b = self.rank[first], self.rank[second]
        return torch.minimum(a, b) * len(self.rank) + torch.maximum(a, b)

    def weight(self, first, second):
        """The v of each pair, or less, if it is longer than the bound."""
        v = variance(self.reward[first] - self.reward[second])
        if self.bound == math.inf:
            return v
        length = lengths(self.reach[0], first, second)
        return v.mul_(self.bound / length.clamp_(min=self.bound))

    def allows(self, first, second, code):
        """Which of these pairs may be picked now."""
        allowed = (first != second) & self.alive[first] & self.alive[second]
        if self.scope != "all":
            same = self.group[first] == self.group[second]
            allowed &= same if self.scope == "within" else ~same
        if self.reach:
            allowed &= lengths(self.reach[0], first, second) <= self.reach[1]
        if self.widest < math.inf:
            gap = self.reward[first] - self.reward[second]
            allowed &= gap.abs_() <= self.widest
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
    e, slack = y.square().sum(dim=1, keepdim=True), slack_of(y)
    scale, one = max(float(e.max()), 1e-300), torch.ones_like(e)
    limits = (limit * (1 + slack) - e * (1 - slack)) / scale
    left = torch.cat([y * (2 / scale**0.5), limits, -one], dim=1)
    right = torch.cat([y / scale**0.5, one, e * ((1 - slack) / scale)], dim=1)
    return y, float(limit) * (1 + 1e-12), left.float(), right.float()
