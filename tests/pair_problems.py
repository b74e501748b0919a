"""Small pools for the rules over every pair, and those rules by brute force."""

import numpy as np
import torch

from skarm._information import fisher

SCOPES = ("all", "within", "across")


def problem(seed, n_items=None, d=None, scale=1.0, n_groups=None, copies=1):
    """Embedding, rewards, information with some past, and groups."""
    rng = np.random.default_rng(seed)
    n_items = n_items or int(rng.integers(5, 61))
    d = d or int(rng.integers(1, 13))
    embedding = np.tile(rng.standard_normal((n_items, d)), (copies, 1))
    rewards = scale * np.tile(rng.standard_normal(n_items), copies)
    x = rng.standard_normal((int(rng.integers(0, 2 * d)), d))
    matrix = rng.choice([1e-4, 0.1, 3.0]) * np.eye(d) + 0.2 * x.T @ x
    groups = rng.integers(0, n_groups or rng.integers(2, 6), n_items * copies)
    return *(torch.as_tensor(a) for a in (embedding, rewards, matrix)), groups


def scope_pairs(n_items, groups=None, scope="all", excluded=None):
    """All pairs i < j of a scope that are not excluded, row by row."""
    pairs = np.stack(np.triu_indices(n_items, 1), axis=1)
    if scope != "all":
        same = groups[pairs[:, 0]] == groups[pairs[:, 1]]
        pairs = pairs[same == (scope == "within")]
    banned = {tuple(sorted(pair)) for pair in np.asarray(excluded or []).tolist()}
    return np.array([p for p in pairs.tolist() if tuple(p) not in banned]).reshape(
        -1, 2
    )


def in_reach(embedding, pairs, reach):
    lower, limit, *_ = reach
    first, second = torch.as_tensor(pairs).T
    lengths = fisher.squared_lengths(embedding, first, second, lower)
    return pairs[(lengths <= limit).numpy()]


def brute_force(
    embedding,
    rewards,
    matrix,
    n_pairs,
    pairs,
    *,
    target=None,
    groups=None,
    tie_order=None,
    max_per_item=None,
    max_per_group=None,
    reach=None,
):
    """Every gain of every listed pair from scratch, for every pick.

    In log det M; with a target A, the fall of tr(A M⁻¹).
    """
    if tie_order is not None:
        rank = np.argsort(tie_order)[pairs]
        pairs = pairs[np.lexsort([rank.max(axis=1), rank.min(axis=1)])]
    X = (embedding[pairs[:, 0]] - embedding[pairs[:, 1]]).numpy()
    difference = (rewards[pairs[:, 0]] - rewards[pairs[:, 1]]).abs()
    p = torch.sigmoid(-difference)
    v, matrix = (p * (1 - p)).numpy(), matrix.numpy().copy()
    if reach is not None and len(reach) == 3:
        lower, _, bound = reach
        whitened = np.linalg.solve(lower.numpy(), X.T).T
        v = v * np.minimum(1, bound / np.maximum((whitened**2).sum(axis=1), 1e-300))
    left, picks, gains = np.ones(len(pairs), dtype=bool), [], []
    ends = groups[pairs] if groups is not None else None
    while len(picks) < n_pairs and left.any():
        image = np.linalg.solve(matrix, X.T).T
        added = v * (X * image).sum(axis=1)
        if target is not None:
            added = v * (image @ target.numpy() * image).sum(axis=1) / (1 + added)
        best = added[left].max()
        pick = np.flatnonzero(left & (added >= best * (1 - 1e-9)))[0]
        left[pick] = False
        picks.append(pairs[pick])
        gains.append(np.log1p(added[pick]) if target is None else added[pick])
        matrix += v[pick] * np.outer(X[pick], X[pick])
        for i in pairs[pick]:
            if (
                max_per_item
                and (np.array(picks) == i).any(axis=1).sum() >= max_per_item
            ):
                left &= (pairs != i).all(axis=1)
        for g in set(ends[pick]) if max_per_group else ():
            n = (groups[np.array(picks)] == g).any(axis=1).sum()
            if n >= max_per_group:
                left &= (ends != g).all(axis=1)
    return np.array(picks), gains


def assert_same(found, expected):
    pairs, gains = found
    assert pairs.dtype == torch.int64
    np.testing.assert_allclose(gains, expected[1], rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(pairs.numpy(), expected[0])
