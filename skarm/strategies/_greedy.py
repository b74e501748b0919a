"""What the greedy design rules share: their matrix, weights, caps, costs and ties."""

from numbers import Integral

import numpy as np
import torch

from skarm.strategies._selection import (
    Picks,
    Selection,
    eligible_positions,
    longest_at_full_weight,
)

__all__ = [
    "check_exchange",
    "check_variance",
    "greedy_picks",
    "nuisance_columns",
    "precision",
    "weights",
]


def greedy_picks(
    design,
    n_pairs,
    rng,
    choose,
    *,
    weights,
    matrix,
    eligible=1.0,
    refine=None,
    report=True,
    lengths=None,
):
    """Run a greedy rule over the eligible candidates in seeded random order.

    Parameters
    ----------
    design : Design
        The candidates, their costs and caps.
    n_pairs : int
        How many to pick.
    rng : RandomState
        Breaks ties.
    choose : callable
        ``choose(*candidates, costs=costs, close=close)`` returns positions and gains;
        as :func:`skarm._information.fisher.greedy_d`, but for the number.
    weights : Tensor of shape (n_candidates,)
        v.
    matrix : Tensor of shape (d, d)
        Precision before the batch.
    eligible : float in (0, 1] or "auto", default=1.0
        See :func:`skarm.strategies._selection.eligible_positions`. Where caps use up
        who is eligible, everyone is.
    refine : callable, default=None
        ``refine(*candidates, picks, caps=caps)`` returns the picks and gains to have
        instead; as :func:`skarm._information.exchange.exchange_d`, but for the
        number of passes.
    report : bool, default=True
        Whether each choice counts as a pick done.
    lengths : Tensor of shape (n_candidates,), default=None
        xᵀ M⁻¹ x before the batch, handed on to `choose`.

    Returns
    -------
    picks : Picks
        In the order of choice.
    """
    positions = eligible_positions(design, n_pairs, eligible)
    order = rng.permutation(positions)
    selection = Selection(design, report=report)
    place = np.full(design.n_pairs, -1)
    place[order] = np.arange(len(order))

    def close(position):
        closed = selection.take(order[position])
        if closed is None:
            return None
        closed = place[closed]
        return closed[closed >= 0]

    chosen = torch.as_tensor(order).to(design.device)
    first, second = design.tensor("pairs")[chosen].T
    candidates = (first.contiguous(), second.contiguous(), weights[chosen], matrix)
    costs = None if design.costs is None else design.tensor("costs")[chosen]
    known = {} if lengths is None else {"lengths": lengths[chosen]}
    picks, gains = choose(
        design.tensor("embedding"), *candidates, costs=costs, close=close, **known
    )
    if len(picks) < n_pairs and len(order) < design.n_pairs:
        everyone = {"weights": weights, "matrix": matrix, "report": report}
        everyone["lengths"] = lengths
        return greedy_picks(design, n_pairs, rng, choose, refine=refine, **everyone)
    if refine is not None and picks:
        caps = [
            (torch.as_tensor(pairs[order] if code is None else code[pairs[order]]), cap)
            for pairs, code, cap in design.caps
        ]
        caps = [(codes.to(chosen), cap) for codes, cap in caps]
        phi = design.tensor("embedding")
        picks, gains = refine(phi, *candidates, picks, caps=caps)
    return Picks(order[picks].astype(np.intp), np.asarray(gains, dtype=np.float64))


def precision(design, ridge=None, past_weight=1.0):
    """The matrix ridge I + past_weight · past; ridge None is the prior's precision."""
    matrix = design.tensor("past_information") * past_weight
    if ridge is None:
        return matrix.add_(design.tensor("prior"))
    matrix.diagonal().add_(ridge)
    return matrix


def check_exchange(design, exchange, nuisance=None):
    """Raise unless these passes can be made."""
    if not isinstance(exchange, Integral) or exchange < 0:
        raise ValueError(
            f"exchange must be a number of passes, 0 or more. Got {exchange!r}."
        )
    if exchange and design.costs is not None:
        raise ValueError(
            "exchange must be 0 where pairs have costs, which it does not weigh. Got "
            f"{exchange!r}."
        )
    if exchange and nuisance is not None:
        raise ValueError(
            "exchange must be 0 for D-optimality with nuisance columns. Got "
            f"{exchange!r}. Use 'v_optimal', which has both."
        )


def check_variance(variance):
    """Raise unless it names what v is."""
    if variance not in ("posterior", "plug_in"):
        raise ValueError(
            f"variance must be 'posterior' or 'plug_in'. Got {variance!r}."
        )


def weights(design, variance, bound=None):
    """The v of each candidate, p (1 - p) at the estimate or its posterior mean.

    With a bound, that of a longer difference falls as one over its length.
    """
    check_variance(variance)
    name = "posterior_variances" if variance == "posterior" else "variances"
    longest = longest_at_full_weight(design, bound)
    if longest == np.inf:
        return design.tensor(name)
    return design.tensor(name) * (longest / design.tensor("lengths").clamp(min=longest))


def nuisance_columns(design, nuisance):
    """Columns of the embedding, checked, ascending, as a LongTensor."""
    dim = design.embedding.shape[1]
    columns = np.asarray(nuisance)
    valid = (
        columns.ndim == 1
        and columns.dtype.kind in "iu"
        and 0 < len(np.unique(columns % dim)) < dim
        and (-dim <= columns).all()
        and (columns < dim).all()
    )
    if not valid:
        raise ValueError(
            f"nuisance must list columns of the embedding, integers from 0 to {dim - 1}"
            f" (or negative, from the end), and leave at least one. Got {nuisance!r}."
        )
    return torch.as_tensor(np.unique(columns % dim)).to(design.device)
