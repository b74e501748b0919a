"""What many strategies share: ranking with seeded ties, and who is eligible."""

from typing import NamedTuple

import numpy as np

from skarm import _fisher

__all__ = ["Picks", "eligible_positions", "top_n"]


class Picks(NamedTuple):
    """What a strategy chose.

    Attributes
    ----------
    positions : ndarray of shape (n_pairs,), intp
        Among the candidates, in the order of choice.
    utilities : ndarray of shape (n_pairs,)
        Of each pick, at the moment it was chosen.
    """

    positions: np.ndarray
    utilities: np.ndarray


def top_n(utilities, n_pairs, rng):
    """The candidates with the largest utilities; equal ones in seeded random order.

    Parameters
    ----------
    utilities : ndarray of shape (n_candidates,)
        Finite.
    n_pairs : int
        How many; at most n_candidates.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Best first.
    """
    order = rng.permutation(len(utilities))
    ranked = order[np.argsort(-utilities[order], kind="stable")[:n_pairs]]
    return Picks(ranked.astype(np.intp), utilities[ranked])


def eligible_positions(design, n_pairs, eligible):
    """The share of candidates whose difference lies in the bulk of the pool.

    A design criterion rewards outlying differences without bound, and with real,
    heavy-tailed features such pairs teach little about the others. Candidates are
    ranked by their length xᵀ A⁻¹ x, A the second moment of the candidate differences,
    and the longest ``1 - eligible`` of them are left alone.

    Parameters
    ----------
    design : Design
        The candidates.
    n_pairs : int
        At least so many stay eligible.
    eligible : float in (0, 1]
        Share that stays; 1 keeps everyone.

    Returns
    -------
    positions : ndarray of intp
        Eligible candidates, ascending.

    Raises
    ------
    ValueError
        If `eligible` is not in (0, 1].
    """
    if not 0 < eligible <= 1:
        raise ValueError(
            "eligible must lie in (0, 1], the share of candidates that may be picked. "
            f"Got {eligible!r}."
        )
    n_kept = max(n_pairs, int(np.ceil(eligible * design.n_pairs)))
    if n_kept >= design.n_pairs:
        return np.arange(design.n_pairs)
    moment = design.tensor("second_moment").clone()
    # Relative to each feature's own spread, so that units do not matter.
    floor = 1e-18 * moment.diagonal().mean() + 1e-300
    moment.diagonal().mul_(1 + 1e-9).add_(floor)
    lengths = _fisher.squared_lengths(
        design.tensor("embedding"),
        *design.tensor("pairs").T,
        _fisher.factor(moment),
    )
    lengths = lengths.cpu().numpy()
    longest_kept = np.partition(lengths, n_kept - 1)[n_kept - 1]
    return np.flatnonzero(lengths <= longest_kept)
