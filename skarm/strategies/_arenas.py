"""Arenas: the candidates prompt by prompt, and batches that hold one duel of each.

An arena holds the pairs of one group; pairs across the same two groups share an arena.
"""

from typing import NamedTuple

import numpy as np

from skarm.strategies._selection import Picks, Selection

__all__ = ["Arena", "arenas_of", "round_robin", "tournament"]


class Arena(NamedTuple):
    """Candidates of one prompt, in seeded random order.

    Attributes
    ----------
    positions : ndarray of shape (n_duels,)
        Among the candidates.
    first, second : ndarray of shape (n_duels,)
        Contestants of each, as rows of `items`.
    items : ndarray of shape (n_contestants,)
        Rows of the embedding; items with equal embeddings are one contestant.
    """

    positions: np.ndarray
    first: np.ndarray
    second: np.ndarray
    items: np.ndarray


def arenas_of(design):
    """Which arena each candidate belongs to.

    Parameters
    ----------
    design : Design
        The candidates and their groups; without groups there is one arena.

    Returns
    -------
    arena : ndarray of shape (n_candidates,)
        Codes from 0, in the order of the group codes.
    n_arenas : int
        How many.
    """
    if design.groups is None:
        return np.zeros(design.n_pairs, dtype=np.intp), 1
    groups = np.sort(design.groups[design.pairs], axis=1).astype(np.int64)
    codes = groups[:, 0] * (groups.max() + 1) + groups[:, 1]
    known, arena = np.unique(codes, return_inverse=True)
    return arena.reshape(-1), len(known)


def round_robin(design, utilities, n_pairs, rng):
    """The best pair of each arena, best arena first; then the second best of each.

    Parameters
    ----------
    design : Design
        The candidates; utilities are divided by their costs, and caps are kept.
    utilities : ndarray of shape (n_candidates,)
        Not negative where there are costs.
    n_pairs : int
        How many.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Fewer than `n_pairs` only if the caps leave no other.
    """
    worth = utilities if design.costs is None else utilities / design.costs
    arena, _ = arenas_of(design)
    order = rng.permutation(design.n_pairs)
    order = order[np.argsort(-worth[order], kind="stable")]
    if not design.caps:
        by_arena = np.argsort(arena[order], kind="stable")
        sizes = np.bincount(arena)
        rounds = np.empty(len(order), dtype=np.intp)
        rounds[by_arena] = np.arange(len(order)) - np.repeat(
            np.cumsum(sizes) - sizes, sizes
        )
        chosen = order[np.argsort(rounds, kind="stable")[:n_pairs]]
        return Picks(chosen.astype(np.intp), utilities[chosen])
    selection = Selection(design)
    while len(selection) < n_pairs and selection.open.any():
        order = order[selection.open[order]]
        for place in np.sort(np.unique(arena[order], return_index=True)[1]):
            if len(selection) < n_pairs and selection.open[order[place]]:
                selection.take(order[place], utilities[order[place]])
    return selection.picks()


def tournament(design, n_pairs, rng, duel):
    """Arenas take turns, in random order, to hold one duel each.

    Parameters
    ----------
    design : Design
        The candidates; caps are kept.
    n_pairs : int
        How many duels.
    rng : RandomState
        Orders the arenas, and breaks ties.
    duel : callable
        ``duel(arena, is_open)`` returns a row of the arena's duels that is open, and
        its utility.

    Returns
    -------
    picks : Picks
        Fewer than `n_pairs` only if the caps leave no other.
    """
    arena, n_arenas = arenas_of(design)
    source, contestant = _contestants(design.embedding)
    at_place = rng.permutation(len(source))
    place = np.argsort(at_place)
    order = rng.permutation(design.n_pairs)
    order = order[np.argsort(arena[order], kind="stable")]
    parts = np.split(order, np.cumsum(np.bincount(arena, minlength=n_arenas))[:-1])
    arenas = {}
    selection = Selection(design)
    while len(selection) < n_pairs and selection.open.any():
        for code in rng.permutation(n_arenas):
            is_open = selection.open[parts[code]]
            if len(selection) == n_pairs or not is_open.any():
                continue
            if code not in arenas:
                places = place[contestant[design.pairs[parts[code]]]]
                known, local = np.unique(places, return_inverse=True)
                first, second = local.reshape(-1, 2).T
                items = source[at_place[known]]
                arenas[code] = Arena(parts[code], first, second, items)
            row, utility = duel(arenas[code], is_open)
            selection.take(parts[code][row], utility)
    return selection.picks()


def _contestants(embedding):
    """An item for each distinct embedding, and which of them each item is."""
    rows = np.ascontiguousarray(embedding + 0.0)  # equal numbers, equal bytes
    keys = rows.view([("", f"V{rows.itemsize * rows.shape[1]}")]).reshape(-1)
    _, source, code = np.unique(keys, return_index=True, return_inverse=True)
    return source, code.reshape(-1)
