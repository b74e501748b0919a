"""An ensemble of last layers on one embedding: exact fits to perturbed problems.

Each head minimises

    Σ_k e_k c_k [log(1 + exp(s_k)) - y_k s_k] + alpha/2 ‖w - w₀‖²

with e_k ~ Exp(1), the weights of a Bayesian bootstrap, and an anchor w₀ drawn from the
prior N(0, 1 / alpha). What the answers settle, the bootstrap varies; what they leave
open, the anchor does: where there are no answers a head is a draw from the prior.
"""

from functools import partial

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.optimize import minimize

from skarm._model.graph import is_large
from skarm._model.likelihood import BradleyTerryLoss
from skarm._model.prior import as_matrix

__all__ = ["fit_heads"]


def fit_heads(items, pairs, y, weights, fit, information, *, n_heads, rng, tol=1e-8):
    """Fit an ensemble of last layers.

    Parameters
    ----------
    items : ndarray or CSR of shape (n_items, d)
        Embedding of each item, once.
    pairs : ndarray of shape (n_pairs, 2)
        First and second item of each comparison.
    y, weights : ndarray of shape (n_pairs,)
        Outcomes in [0, 1], and positive weights.
    fit : LinearFit
        That without perturbations: where to start, and the prior precision.
    information : ndarray of shape (d, d) or None
        Fisher information at the fit, which conditions the fits; None does without.
    n_heads : int
        How many.
    rng : RandomState
        Perturbations. Swapping a pair together with its outcome changes nothing.
    tol : float, default=1e-8
        A fit stops when the gradient, in standard deviations of the posterior, falls
        below this times the root of the number of comparisons.

    Returns
    -------
    heads : ndarray of shape (n_heads, d)
        Last layers.

    Notes
    -----
    Cost O(d³) once, then O(n_items d + n_pairs + d²) for each step of L-BFGS, some tens
    per head; memory O(d²) beside the items.

    References
    ----------
    .. [1] Newton, Polson and Xu, "Weighted Bayesian bootstrap for scalable posterior
       distributions", Canadian Journal of Statistics 49, 2021.
    .. [2] Pearce, Leibfried and Brintrup, "Uncertainty in neural networks:
       approximately Bayesian ensembling", AISTATS 2020, for the anchors.
    """
    coef, alpha, d = fit.coef, fit.alpha, len(fit.coef)
    if not sparse.issparse(items) and not is_large(items):
        items = items.astype(np.float64, copy=False)
    lower = None
    if information is not None:
        try:
            lower = cholesky(information + as_matrix(alpha, d), lower=True)
        except LinAlgError:  # alpha drowns in rounding
            lower = None
    spread, precise = _prior(alpha)

    def color(u):  # from standard deviations of the posterior to coefficients
        if lower is None:
            return spread(u, trans="T")
        return solve_triangular(lower, u, lower=True, trans="T")

    def whiten(gradient):
        if lower is None:
            return spread(gradient)
        return solve_triangular(lower, gradient, lower=True)

    heads = np.empty((n_heads, d))
    for head in heads:
        anchor = spread(rng.standard_normal(d), trans="T")
        loss = BradleyTerryLoss(
            items, pairs, y, weights * rng.standard_exponential(len(pairs))
        )

        def objective(u, loss=loss, anchor=anchor):
            w = coef + color(u)
            pull = w - anchor
            value = loss.value(w, 0.0) + precise(pull) @ pull / 2
            return value, whiten(loss.gradient(w, 0.0) + precise(pull))

        limits = {"maxiter": 1000, "gtol": tol * np.sqrt(len(pairs)), "ftol": 0}
        found = minimize(
            objective, np.zeros(d), jac=True, method="L-BFGS-B", options=limits
        )
        head[:] = coef + color(found.x)
    return heads


def _prior(alpha):
    """Products with the inverse root, and with all of a prior precision."""
    if np.ndim(alpha) == 2:
        root = cholesky(alpha, lower=True)
        return partial(solve_triangular, root, lower=True), partial(np.matmul, alpha)
    return lambda u, trans="N": u / np.sqrt(alpha), partial(np.multiply, alpha)
