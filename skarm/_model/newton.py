"""Minimise a Bradley–Terry loss for a given prior precision."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from skarm._model.likelihood import Factor, Hessian
from skarm._threads import one_thread

__all__ = ["Minimum", "descend", "lbfgs", "newton"]

#: The rough descent ends when a step lowers the loss by less than this share.
ROUGH = 5e-10


class Minimum(NamedTuple):
    """Where a minimisation ended."""

    coef: np.ndarray
    logits: np.ndarray
    value: float
    hessian: Hessian | None  # the last computed, and its factor; None if none was
    factor: Factor | None
    seen: np.ndarray | None  # the logits at which it was computed
    n_iter: int
    converged: bool


def newton(loss, coef, alpha, threshold, max_iter, *, enough=0.0, known=None):
    """Newton's method with backtracking; quadratic near the solution.

    Where a Hessian costs as much as many gradients it is used again as long as each
    step halves the gradient, or where items are large, takes four fifths of it.

    Parameters
    ----------
    loss : BradleyTerryLoss or DualLoss
        What to minimise.
    coef : ndarray of shape (n_coordinates,)
        Where to start.
    alpha : float
        Prior precision.
    threshold : float
        Size of the gradient at which to stop.
    max_iter : int
        Steps.
    enough : float, default=0
        Stop also after a step whose Newton decrement, twice the fall of the loss in
        nats that it promises, is no more than this.
    known : Minimum, default=None
        Nearby, for nearly the same alpha: its factor is the first to be used.

    Returns
    -------
    minimum : Minimum
        With the gradient at or below the threshold, if it converged.

    Raises
    ------
    ValueError
        If what is computed overflows.
    """
    logits = loss.logits(coef)
    square = loss.inner(coef, coef, logits)
    value = loss.misfit(logits) + alpha / 2 * square
    hessian, factor, seen = known[3:6] if known else (None, None, None)
    patience = 0.2 if loss.is_large else 0.5
    length, converged = np.inf, False
    for n_iter in range(max_iter + 1):
        last, gradient = length, loss.gradient_at(coef, logits, alpha)
        length = np.linalg.norm(gradient)
        converged = length == 0 or (threshold > 0 and loss.size(gradient) <= threshold)
        if converged or n_iter == max_iter:
            break
        if factor is None or not loss.is_costly or length > patience * last:
            hessian = factor = known = None  # makes room
            hessian, seen = loss.hessian_at(logits), logits
            factor = hessian.factor(alpha)
        step = factor.solve(gradient)
        moved = loss.logits(step)
        decrement = loss.inner(gradient, step, moved)
        cross = loss.inner(coef, step, moved)
        far = loss.inner(step, step, moved)
        if not np.isfinite(value + decrement + alpha * far):
            raise ValueError(
                "A fit needs items, weights and alpha whose products neither "
                f"overflow nor vanish in float64. Got a loss of {value:.3g} nats and a "
                f"step of squared length {far:.3g}. Scale the items, with "
                "StandardScaler() in make_reward_pipeline(...)."
            )
        rate = 1.0
        while True:
            new_logits = logits - rate * moved
            new_square = square - 2 * rate * cross + rate**2 * far
            new = loss.misfit(new_logits) + alpha / 2 * new_square
            # Near the solution the decrease drowns in rounding: accept the step.
            if new <= value - 1e-4 * rate * decrement + 1e-12 * abs(value):
                break
            rate /= 2
        coef = coef - rate * step
        logits, square, value = new_logits, new_square, new
        del moved, new_logits  # makes room
        if decrement <= enough:
            converged = True
            n_iter += 1
            break
    return Minimum(coef, logits, value, hessian, factor, seen, n_iter, bool(converged))


def descend(
    loss, coef, alpha, threshold, max_iter, *, hessian=None, enough=0.0, known=None
):
    """Minimise by Newton's method; where items are large, after a rougher descent.

    With H + alpha I = L Lᵀ, L-BFGS works on Lᵀ w, where the loss is nearly round, by
    products in the precision of the items. Newton's method then needs one Hessian.

    Parameters
    ----------
    loss, coef, alpha, threshold, max_iter, enough, known
        As for :func:`newton`; of a large loss, nothing is known.
    hessian : Hessian, default=None
        Of the misfit of a large loss, anywhere near; if None, a sketch of it.

    Returns
    -------
    minimum : Minimum
        As of :func:`newton`.
    """
    if not loss.is_large:
        loss = loss.with_rough_hessians(alpha)
        limits = {"enough": enough, "known": known}
        return newton(loss, coef, alpha, threshold, max_iter, **limits)
    coef, n_iter = _rough_descent(loss, coef, alpha, max_iter, hessian, enough)
    minimum = newton(loss, coef, alpha, threshold, max_iter - n_iter, enough=enough)
    return minimum._replace(n_iter=n_iter + minimum.n_iter)


def _rough_descent(loss, coef, alpha, max_iter, hessian, enough):
    lower = (hessian or loss.sketch()).factor(alpha).lower
    ftol = max(ROUGH, enough / loss.weights.sum() / 4)

    def objective(white):
        coef = solve_triangular(lower, white, lower=True, trans=1, check_finite=False)
        value, gradient = loss.rough(coef, alpha)
        return value, solve_triangular(lower, gradient, lower=True, check_finite=False)

    options = {"maxiter": max_iter, "gtol": 0, "ftol": ftol, "maxcor": 10, "maxls": 4}
    # The threads of numpy and those of scipy would wait for each other, spinning.
    with one_thread():
        found = minimize(
            *(objective, np.tril(lower).T @ coef),
            jac=True,
            method="L-BFGS-B",
            options=options,
        )
    coef = solve_triangular(lower, found.x, lower=True, trans=1)
    return coef, int(found.nit)


def lbfgs(loss, coef, alpha, threshold, max_iter):
    """L-BFGS, for more coordinates than a dense Hessian allows.

    Parameters
    ----------
    loss, coef, alpha, threshold, max_iter
        As for :func:`newton`.

    Returns
    -------
    minimum : Minimum
        Without a Hessian; converged if the gradient got as small as values in float64
        can show.
    """
    found = minimize(
        lambda w: (loss.value(w, alpha), loss.gradient(w, alpha)),
        coef,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "gtol": threshold, "ftol": 0, "maxcor": 20},
    )
    # A line search sees values, which hide gradients below √ε of the greatest possible.
    hidden = 1e-7 * np.sqrt(loss.mean_square()) * loss.weights.sum() / 2
    done = np.abs(loss.gradient(found.x, alpha)).max() <= max(10 * threshold, hidden)
    ending = None, None, None, int(found.nit), bool(done)
    return Minimum(found.x, loss.logits(found.x), float(found.fun), *ending)
