"""What many strategies share: ranking with seeded ties, and who is eligible."""

from typing import NamedTuple

import numpy as np

from skarm import _fisher

__all__ = ["Picks", "bulk", "eligible_positions", "top_n"]

#: "auto" eligibility: how many times the median squared length a pair may have. Chosen
#: in first runs on light- and heavy-tailed features, among them the sample answers, so
#: figures on those flatter it; the study is to settle it on held-out data.
REACH = 1.4


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
    """Candidates whose difference lies in the bulk of the pool.

    A design criterion rewards outlying differences without bound, and with real,
    heavy-tailed features such pairs teach little about the others. The length of a
    candidate is xᵀ A⁻¹ x, A the second moment of the candidate differences. "auto"
    leaves alone those longer than 1.4 times the median: few where the tails are light
    (5 % of Gaussian pairs with 64 features), a third where they are heavy.

    Parameters
    ----------
    design : Design
        The candidates.
    n_pairs : int
        At least so many stay eligible.
    eligible : float in (0, 1] or "auto"
        Share that stays, the shortest of those that differ at all; 1 keeps everyone.

    Returns
    -------
    positions : ndarray of intp
        Eligible candidates, ascending.

    Raises
    ------
    ValueError
        If `eligible` is neither.
    """
    _, lengths, limit = bulk(design, n_pairs, eligible)
    if lengths is None:
        return np.arange(design.n_pairs)
    return np.flatnonzero(lengths <= limit)


def bulk(design, n_pairs, eligible):
    """Where the bulk of the pool ends, for :func:`eligible_positions`.

    Parameters
    ----------
    design, n_pairs, eligible
        As there.

    Returns
    -------
    lower : Tensor of shape (d, d)
        Cholesky factor of A.
    lengths : ndarray of shape (n_candidates,) or None
        xᵀ A⁻¹ x of each candidate; None, if nobody is left out.
    limit : float
        The greatest length that is eligible; infinity, if nobody is left out.

    Raises
    ------
    ValueError
        If `eligible` is neither a share nor "auto".
    """
    automatic = isinstance(eligible, str) and eligible == "auto"
    if not automatic and (isinstance(eligible, str) or not 0 < eligible <= 1):
        raise ValueError(
            "eligible must lie in (0, 1], the share of candidates that may be picked, "
            f"or be 'auto'. Got {eligible!r}."
        )
    if n_pairs >= design.n_pairs or eligible == 1:
        return None, None, np.inf
    moment = design.tensor("second_moment").clone()
    # Relative to each feature's own spread, so that units do not matter.
    floor = 1e-18 * moment.diagonal().mean() + 1e-300
    moment.diagonal().mul_(1 + 1e-9).add_(floor)
    lower = _fisher.factor(moment)
    lengths = _fisher.squared_lengths(
        design.tensor("embedding"), *design.tensor("pairs").T, lower
    )
    lengths = lengths.cpu().numpy()
    # Pairs of equal items teach nothing: they stay, but say nothing about the bulk.
    ranked = np.sort(lengths[lengths > 1e-20])
    if not len(ranked):
        return None, None, np.inf
    share = 0 if automatic else eligible
    n_kept = min(max(n_pairs, int(np.ceil(share * len(ranked)))), len(ranked))
    limit = ranked[n_kept - 1]
    if automatic:
        limit = max(limit, REACH * np.median(ranked))
    return lower, lengths, float(limit)
