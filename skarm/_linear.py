"""Exact fit of a linear Bradley–Terry reward, and its prior precision by evidence.

The penalised likelihood is strictly convex. Newton's method solves it in the smallest
of three equivalent coordinate systems: the features, or an orthonormal basis of the
span of the items or of the differences (the solution lies in that span, and penalty
and evidence do not change under rotation). Beyond `MAX_DENSE` coordinates L-BFGS takes
over, which never forms a matrix.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh
from scipy.optimize import minimize, minimize_scalar

from skarm._likelihood import BradleyTerryLoss, incidence

__all__ = ["LinearFit", "fit_linear"]

#: Largest number of coordinates for which a dense Hessian is formed (128 MiB).
MAX_DENSE = 4096
#: "auto" searches prior standard deviations of the reward difference in this range.
PRIOR_SD_RANGE = (1e-2, 1e2)
#: Median of its prior, in nats, and the standard deviation of its logarithm.
PRIOR_SD, PRIOR_LOG_SD = 1.5, 1.0


class LinearFit(NamedTuple):
    """What a fit found."""

    coef: np.ndarray
    alpha: float
    n_iter: int
    converged: bool
    log_evidence: float


def fit_linear(items, pairs, y, weights, *, alpha, tol, max_iter, coef_init=None):
    """Minimise Σ c [log(1 + eˢ) - y s] + alpha/2 ‖w‖².

    Parameters
    ----------
    items : ndarray or CSR of shape (n_items, n_features), float64
        Each item once.
    pairs : ndarray of shape (n_pairs, 2)
        First and second item of each comparison.
    y, weights : ndarray of shape (n_pairs,)
        Outcomes in [0, 1], and positive weights.
    alpha : float or "auto"
        Prior precision; "auto" maximises the Laplace evidence.
    tol : float
        Stop when no entry of the gradient exceeds ``tol`` times its largest entry at
        w = 0 (or its typical length for answers by chance, if that is larger).
    max_iter : int
        Newton or L-BFGS iterations.
    coef_init : ndarray of shape (n_features,), default=None
        Where to start; zero if None. The solution does not depend on it.

    Returns
    -------
    fit : LinearFit
        With `log_evidence` NaN where it was not needed.
    """
    loss, expand, contract = _coordinates(items, pairs, y, weights)
    start, threshold = contract(coef_init), _threshold(loss, tol)
    if alpha == "auto":
        if loss.items.shape[1] > MAX_DENSE:
            alpha = _alpha_of_subset(items, pairs, y, weights, tol, max_iter)
        else:
            return _fit_by_evidence(loss, start, expand, threshold, max_iter)
    solve = _newton if loss.items.shape[1] <= MAX_DENSE else _lbfgs
    coef, n_iter, converged = solve(loss, start, float(alpha), threshold, max_iter)
    return LinearFit(expand(coef), float(alpha), n_iter, converged, np.nan)


def _fit_by_evidence(loss, start, expand, threshold, max_iter):
    """Maximise the Laplace log evidence, and a weak prior, over log alpha.

    log Z(alpha) = -f(ŵ) + d/2 log alpha - 1/2 log det(H + alpha I), MacKay (1992). A
    coarse scan from strong to weak priors, each fit warm-started from the last, then
    a bounded search about the best. A few answers say next to nothing about alpha, and
    the evidence may rise all the way to "all rewards are equal, for certain". So
    τ = sqrt(mean ‖x‖² / alpha), the prior standard deviation of a reward difference,
    has a log-normal prior; a hundred answers outweigh it. τ stays within
    `PRIOR_SD_RANGE`.
    """
    scale = loss.mean_square() or 1.0
    state = {"coef": start, "n_iter": 0, "converged": True}

    def log_evidence(log_alpha):
        alpha = np.exp(log_alpha)
        found = _newton(loss, state["coef"], alpha, threshold, max_iter)
        coef, n_iter, converged = found
        state.update(coef=coef, n_iter=state["n_iter"] + n_iter, converged=converged)
        factor = _factor(loss.information(coef), alpha)[0]
        half_log_det = np.log(np.diag(factor)).sum()
        return (
            -loss.value(coef, alpha) + len(coef) / 2 * log_alpha - half_log_det
        ).item()

    def objective(log_alpha):
        log_sd = (np.log(scale) - log_alpha) / 2
        misfit = (log_sd - np.log(PRIOR_SD)) / PRIOR_LOG_SD
        return log_evidence(log_alpha) - misfit**2 / 2

    weakest, strongest = (np.log(scale / sd**2) for sd in reversed(PRIOR_SD_RANGE))
    grid = np.linspace(strongest, weakest, 9)
    values = []
    for log_alpha in grid:
        values.append(objective(log_alpha))
        if max(values) - values[-1] > 10:  # e¹⁰ times less likely, and falling
            break
    best = int(np.argmax(values))
    state["coef"] = np.zeros_like(start)
    search = minimize_scalar(
        lambda t: -objective(t),
        bounds=(grid[min(best + 1, len(grid) - 1)], grid[max(best - 1, 0)]),
        method="bounded",
        options={"xatol": 0.02},
    )
    log_alpha = search.x if -search.fun >= values[best] else grid[best]
    value = log_evidence(log_alpha)
    return LinearFit(
        expand(state["coef"]),
        float(np.exp(log_alpha)),
        state["n_iter"],
        state["converged"],
        value,
    )


def _alpha_of_subset(items, pairs, y, weights, tol, max_iter):
    """Evidence's alpha from evenly spaced comparisons, few enough for a dense Hessian.

    The prior belongs to the coefficients, not to the sample: a subset estimates the
    same number.
    """
    keep = np.unique(np.linspace(0, len(pairs) - 1, MAX_DENSE // 2).astype(int))
    fit = fit_linear(
        *(items, pairs[keep], y[keep], weights[keep]),
        alpha="auto",
        tol=tol,
        max_iter=max_iter,
    )
    return fit.alpha


# ---------------------------------------------------------------------- solvers


def _threshold(loss, tol):
    """The gradient below which a fit has converged, whatever alpha is."""
    at_zero = np.abs(loss.gradient(np.zeros(loss.items.shape[1]), 0.0)).max(initial=0)
    by_chance = np.sqrt(loss.mean_square()) * np.linalg.norm(loss.weights) / 2
    return tol * max(at_zero, by_chance, np.finfo(float).tiny)


def _factor(information, alpha):
    """Cholesky factor of information + alpha I.

    Where alpha drowns in rounding, a larger ridge takes its place. That makes a Newton
    step shorter in directions that no answer informs, and moves no solution.
    """
    diagonal = np.diag_indices_from(information)
    largest = information[diagonal].max(initial=0)
    while True:
        hessian = information.copy()
        hessian[diagonal] += alpha
        try:
            return cho_factor(hessian, lower=True, overwrite_a=True)
        except LinAlgError:
            alpha = max(10 * alpha, np.finfo(float).eps * largest)


def _newton(loss, coef, alpha, threshold, max_iter):
    """Newton's method with backtracking; quadratic near the solution."""
    value = loss.value(coef, alpha)
    for n_iter in range(max_iter):
        gradient = loss.gradient(coef, alpha)
        if np.abs(gradient).max(initial=0) <= threshold:
            return coef, n_iter, True
        step = cho_solve(_factor(loss.information(coef), alpha), gradient)
        decrement = gradient @ step
        rate = 1.0
        while True:
            candidate = coef - rate * step
            new = loss.value(candidate, alpha)
            # Near the solution the decrease drowns in rounding: accept the step.
            if new <= value - 1e-4 * rate * decrement + 1e-12 * abs(value):
                break
            rate /= 2
        coef, value = candidate, new
    done = np.abs(loss.gradient(coef, alpha)).max(initial=0) <= threshold
    return coef, max_iter, bool(done)


def _lbfgs(loss, coef, alpha, threshold, max_iter):
    """L-BFGS, for more coordinates than a dense Hessian allows."""
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
    return found.x, int(found.nit), bool(done)


# -------------------------------------------------------------- coordinate systems


def _coordinates(items, pairs, y, weights):
    """Loss in the smallest coordinates, with the maps back to and from features."""
    (n_items, n_features), n_pairs = items.shape, len(pairs)
    smallest = min(n_items, n_pairs)
    if n_features <= 64 or n_features <= smallest or smallest > MAX_DENSE:
        if sparse.issparse(items) and n_features <= MAX_DENSE // 4:
            items = items.toarray()
        start = lambda w: np.zeros(n_features) if w is None else w  # noqa: E731
        return BradleyTerryLoss(items, pairs, y, weights), lambda w: w, start
    gram = items @ items.T
    gram = gram.toarray() if sparse.issparse(gram) else gram
    rows = None
    if n_pairs < n_items:  # the span of the differences is smaller than of the items
        rows = incidence(pairs, n_items)
        gram = rows @ (rows @ gram).T
    squares, vectors = eigh(gram)
    keep = squares > 1e-13 * squares[-1]
    singular = np.sqrt(squares[keep])
    coordinates = vectors[:, keep] * singular
    back = vectors[:, keep] / singular
    if rows is not None:  # a pair is now an item against the origin
        back = rows.T @ back
        coordinates = np.vstack([coordinates, np.zeros(coordinates.shape[1])])
        pairs = np.column_stack([np.arange(n_pairs), np.full(n_pairs, n_pairs)])

    def expand(z):
        return items.T @ (back @ z)

    def contract(w):
        return np.zeros(back.shape[1]) if w is None else back.T @ (items @ w)

    return BradleyTerryLoss(coordinates, pairs, y, weights), expand, contract
