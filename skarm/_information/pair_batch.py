"""A batch of pairs as it is picked from a pool: information, caps and progress."""

import time
from dataclasses import dataclass, field

import torch

from skarm._information import pair_pool

__all__ = ["Batch", "start"]

#: Seconds between two calls of `progress`.
PROGRESS_EVERY = 0.1


def start(embedding, rewards, matrix, n_pairs, rules):
    """The pool and the empty batch of a greedy rule over every pair.

    Parameters
    ----------
    embedding, rewards, matrix, n_pairs
        As in :func:`skarm._information.all_pairs.greedy_d_all_pairs`.
    rules : dict
        Its keyword arguments, each of them.

    Returns
    -------
    pool : Pool
        All items.
    batch : Batch
        Without picks.

    Raises
    ------
    ValueError
        If the scope without the excluded pairs holds fewer than `n_pairs`.
    """
    groups, scope, excluded = rules["groups"], rules["scope"], rules["excluded"]
    pool = pair_pool.make_pool(embedding, rewards, groups, scope, rules["tie_order"])
    if excluded is not None and len(excluded):
        pair_pool.exclude(pool, excluded)
    if rules["reach"] is not None:
        lower, limit, *bound = rules["reach"]
        pool.reach = pair_pool.make_reach(pool, lower, limit)
        pool.bound = bound[0] if bound else pool.bound
    if rules["widest"] is not None:
        pool.widest = rules["widest"] * (1 + 1e-12)
    if pool.n_pairs < n_pairs:
        raise ValueError(
            f"n_pairs must not exceed the number of pairs. Got {n_pairs}, but scope "
            f"{scope!r} of {len(embedding)} items holds {pool.n_pairs} that are not "
            "excluded. Ask for fewer."
        )
    caps = rules["max_per_item"], rules["max_per_group"]
    return pool, Batch(matrix.clone(), n_pairs, *caps, rules["progress"])


@dataclass
class Batch:
    """What was picked, the information with it, and the caps."""

    matrix: torch.Tensor
    n_pairs: int
    max_per_item: int | None
    max_per_group: int | None
    progress: object
    pairs: list = field(default_factory=list)
    gains: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)
    reported: float = 0.0

    def add(self, pool, first, second, weight, gain):
        """Record a pick; True if it has filled a cap."""
        x = pool.phi[first] - pool.phi[second]
        self.matrix.addr_(x, x, alpha=weight)
        self.pairs.append(pool.item[[first, second]].tolist())
        self.gains.append(gain)
        closed = [[i] for i in (first, second) if self.fills(i, self.max_per_item)]
        if self.max_per_group is not None:
            groups = set(pool.group[[first, second]].tolist())
            full = [g for g in groups if self.fills(("group", g), self.max_per_group)]
            closed += [pool.group == g for g in full]
        for items in closed:
            pool.alive[items] = False
        return bool(closed)

    def fills(self, key, limit):
        """Count one more of `key`; whether that makes `limit`."""
        self.counts[key] = self.counts.get(key, 0) + 1
        return limit is not None and self.counts[key] >= limit

    def report(self, final=False):
        """Tell `progress`, unless that was done just now."""
        now = time.monotonic()
        if self.progress and (final or now - self.reported >= PROGRESS_EVERY):
            self.reported = now
            self.progress(len(self.gains), self.n_pairs)

    def result(self):
        """The picked pairs, the lower index of each first, and their gains."""
        pairs = torch.tensor(self.pairs, dtype=torch.int64).reshape(-1, 2)
        return pairs.sort(dim=1).values, self.gains
