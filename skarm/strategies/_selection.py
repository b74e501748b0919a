"""What many strategies share: picking within caps, ranking, and who is eligible."""

from numbers import Real
from typing import NamedTuple

import numpy as np
import torch

__all__ = [
    "Picks",
    "Selection",
    "among_undecided",
    "bulk",
    "eligible_positions",
    "longest_at_full_weight",
    "top_n",
]

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
    why : str, default=""
        Why these, in a sentence, where the strategy had a choice to make.
    """

    positions: np.ndarray
    utilities: np.ndarray
    why: str = ""


class Selection:
    """The picks of one batch as they are made, within the caps of a design.

    Parameters
    ----------
    design : Design
        The candidates, and ``max_pairs_per_item`` and ``max_pairs_per_group``.
    report : bool, default=True
        Whether ``design.progress`` hears of each pick.

    Attributes
    ----------
    open : ndarray of shape (n_candidates,), bool
        Who may still be picked: neither taken, nor closed by a cap.

    Notes
    -----
    A pick costs O(1), and O(n_candidates) where it fills a cap.
    """

    def __init__(self, design, *, report=True):
        self.open = np.ones(design.n_pairs, dtype=bool)
        self._report = design.progress if report else None
        self._positions, self._utilities = [], []
        self._caps = [_Cap(*cap) for cap in design.caps]

    def __len__(self):
        return len(self._positions)

    def take(self, position, utility=0.0):
        """Record a pick, and close what may not follow it.

        Parameters
        ----------
        position : int
            Of the candidate.
        utility : float, default=0.0
            Its utility now.

        Returns
        -------
        closed : ndarray of intp or None
            The candidates that this pick's caps close, itself among them; None where
            it is only itself.
        """
        self.open[position] = False
        self._positions.append(position)
        self._utilities.append(utility)
        if self._report is not None:
            self._report(len(self))
        full = [cap.close(cap.codes[position]) for cap in self._caps]
        full = [positions for positions in full if positions is not None]
        if not full:
            return None
        closed = np.concatenate([[position], *full])
        self.open[closed] = False
        return closed

    def count(self, pairs):
        """Count picks made elsewhere, as pairs of items; they and their caps close.

        Parameters
        ----------
        pairs : ndarray of shape (n, 2)
            Rows of the embedding, in either order.
        """
        for cap in self._caps:
            for pair in pairs:
                full = cap.close(cap.of(pair))
                if full is not None:
                    self.open[full] = False

    def picks(self, why=""):
        """What was picked.

        Parameters
        ----------
        why : str, default=""
            A reason to give.

        Returns
        -------
        picks : Picks
            In the order of choice.
        """
        positions = np.array(self._positions, dtype=np.intp)
        return Picks(positions, np.array(self._utilities, dtype=np.float64), why)


class _Cap:
    """At most so many picks for each code; a pair has two codes, or one twice."""

    def __init__(self, pairs, code_of_item, limit):
        self._code_of_item, self.limit, self.counts = code_of_item, limit, {}
        self.codes = self.of(pairs)

    def of(self, pairs):
        """Codes of pairs of items."""
        return pairs if self._code_of_item is None else self._code_of_item[pairs]

    def close(self, codes):
        """Count a pick with these codes; the candidates this closes, or None."""
        full = None
        for code in set(codes.tolist()):
            self.counts[code] = self.counts.get(code, 0) + 1
            if self.counts[code] == self.limit:
                here = np.flatnonzero((self.codes == code).any(axis=1))
                full = here if full is None else np.concatenate([full, here])
        return full


def top_n(design, utilities, n_pairs, rng):
    """The candidates with the largest utilities; equal ones in seeded random order.

    Parameters
    ----------
    design : Design
        The candidates; utilities are divided by their costs, and caps are kept.
    utilities : array-like of shape (n_candidates,)
        Numbers; not negative where there are costs.
    n_pairs : int
        How many; at most n_candidates.
    rng : RandomState
        Breaks ties.

    Returns
    -------
    picks : Picks
        Best first; fewer than `n_pairs` only if the caps leave no other.

    Raises
    ------
    ValueError
        If a utility is NaN.
    """
    utilities = np.array(utilities, dtype=np.float64)
    if np.isnan(utilities).any():
        raise ValueError(
            "utilities must be numbers, one per candidate. Got NaN for "
            f"{np.isnan(utilities).sum()} of {len(utilities)} candidates. Give a pair "
            "that is to come last the utility -inf."
        )
    worth = utilities if design.costs is None else utilities / design.costs
    if not design.caps:
        chosen = _largest(worth, n_pairs, rng)
        return Picks(chosen, utilities[chosen])
    order = rng.permutation(len(worth))
    selection = Selection(design)
    for position in order[np.argsort(-worth[order], kind="stable")]:
        if selection.open[position]:
            selection.take(position, utilities[position])
        if len(selection) == n_pairs:
            break
    return selection.picks()


def _largest(values, n, rng):
    """Positions of the n largest values, in order, without sorting all of them."""
    if n < len(values):
        last = torch.as_tensor(values).topk(n, sorted=False).values.min().item()
        above, ties = np.flatnonzero(values > last), np.flatnonzero(values == last)
        chosen = np.concatenate([above, rng.permutation(ties)[: n - len(above)]])
    else:
        chosen = np.arange(len(values))
    chosen = rng.permutation(chosen)
    return chosen[np.argsort(-values[chosen], kind="stable")].astype(np.intp)


def among_undecided(design, n_pairs, undecided):
    """The candidates whose answers are least certain, as a design of their own.

    Parameters
    ----------
    design : Design
        The candidates.
    n_pairs : int
        At least so many stay.
    undecided : float in (0, 1]
        Share that stays of those whose items differ, with the smallest |reward
        difference|; 1, and a cold start, keep everyone.

    Returns
    -------
    part : Design
        Of those that stay; `design` itself, if everyone does.
    positions : ndarray of intp
        Where they are in `design`, ascending.
    widest : float
        Their largest |reward difference|; infinity, if everyone stays.

    Raises
    ------
    ValueError
        If `undecided` is not a share.
    """
    if not isinstance(undecided, Real) or not 0 < undecided <= 1:
        raise ValueError(
            "undecided must lie in (0, 1], the share of candidates, those with the "
            f"smallest reward differences, that may be picked. Got {undecided!r}."
        )
    everyone = design, np.arange(design.n_pairs), np.inf
    if undecided == 1 or n_pairs >= design.n_pairs or design.is_cold:
        return everyone
    gaps = np.abs(design.reward_differences)
    # Pairs of equal items teach nothing: they stay, and do not count.
    counted = gaps[design.differ]
    n_kept = max(n_pairs, int(np.ceil(undecided * len(counted))))
    if n_kept >= len(counted):
        return everyone
    widest = float(np.partition(counted, n_kept - 1)[n_kept - 1])
    positions = np.flatnonzero(gaps <= widest)
    return design.among(positions), positions, widest


def eligible_positions(design, n_pairs, eligible):
    """Candidates whose difference lies in the bulk of the pool.

    A design criterion rewards outlying differences without bound, and with real,
    heavy-tailed features such pairs teach little about the others. The length of a
    candidate is xᵀ A⁻¹ x, A the second moment of the candidate differences. "auto"
    leaves alone those longer than 1.4 times the median: few where the tails are light
    (2 % of Gaussian pairs with 64 features), a quarter or a third where they are heavy.

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
    lengths, limit = bulk(design, n_pairs, eligible)
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
    is_number = isinstance(eligible, Real)
    if not automatic and (not is_number or not 0 < eligible <= 1):
        raise ValueError(
            "eligible must lie in (0, 1], the share of candidates that may be picked, "
            f"or be 'auto'. Got {eligible!r}."
        )
    if n_pairs >= design.n_pairs or eligible == 1:
        return None, np.inf
    lengths = design.lengths
    # Pairs of equal items teach nothing: they stay, but say nothing about the bulk.
    ranked = np.sort(lengths[design.differ])
    if not len(ranked):
        return None, np.inf
    share = 0 if automatic else eligible
    n_kept = min(max(n_pairs, int(np.ceil(share * len(ranked)))), len(ranked))
    limit = ranked[n_kept - 1]
    if automatic:
        limit = max(limit, REACH * np.median(ranked))
    return lengths, float(limit)


def longest_at_full_weight(design, bound):
    """The length up to which a difference counts in full, where weights are bounded.

    Parameters
    ----------
    design : Design
        The candidates.
    bound : float or None
        It, as a multiple of the median length; None sets no bound.

    Returns
    -------
    length : float
        In the units of ``design.lengths``; infinity without a bound.

    Raises
    ------
    ValueError
        If `bound` is not positive.
    """
    if bound is None:
        return np.inf
    if not isinstance(bound, Real) or not bound > 0:
        raise ValueError(
            "bound must be positive, a multiple of the median length of a difference, "
            f"or None. Got {bound!r}."
        )
    lengths = design.lengths[design.differ]
    return bound * float(np.median(lengths)) if len(lengths) else np.inf
