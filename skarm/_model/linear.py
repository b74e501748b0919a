"""Exact fit of a linear Bradley–Terry reward.

The penalised likelihood is strictly convex. Newton's method solves it in the smallest
of three equivalent coordinate systems: the features; an orthonormal basis of the span
of the items; or the dual, one weight per comparison. The solution lies in the span of
the items and of the differences, and penalty and evidence do not change under rotation.

Where items are large, a Hessian costs as much as many gradients: L-BFGS, preconditioned
by the Hessian at the start and in the precision of the items, goes most of the way, and
Newton's method finishes in float64 with one Hessian. Beyond `MAX_DENSE` coordinates
L-BFGS is alone, and no matrix is formed.
"""

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import softmax

from skarm._data.items import to_dense
from skarm._model.evidence import maximize_evidence
from skarm._model.graph import LARGE, aggregate, information, is_crowded
from skarm._model.likelihood import COSTLY, BradleyTerryLoss, DualLoss
from skarm._model.newton import descend, lbfgs
from skarm._model.prior import roots
from skarm._model.student import student_precisions
from skarm._threads import one_thread

__all__ = ["LinearFit", "fit_linear", "is_alone", "prepare"]

#: Largest number of coordinates for which a dense Hessian is formed (128 MiB).
MAX_DENSE = 4096
#: Differences of no more numbers than this are formed even where items are fewer, but
#: not where they are few.
SMALL = 2**18
#: With more comparisons than this per feature Student's t would no longer matter.
MANY = 32
#: Coordinates are turned where features are no more: the root of A costs 20 d³.
MAX_TURNED = 1024
#: A prior with a smaller share of the evidence is left out.
NEGLIGIBLE = 0.01
#: With no more features than this one thread factors a Hessian soon enough.
MAX_ALONE = 2048
#: The tolerance of a fit that only predicts held-out comparisons.
ENOUGH_TO_JUDGE = 1e-6


class LinearFit(NamedTuple):
    """What a fit found."""

    coef: np.ndarray
    alpha: float | np.ndarray
    n_iter: int
    converged: bool
    log_evidence: float
    information: np.ndarray | None  # of the misfit, in features
    terms: tuple | None  # or what `graph.information` makes it of, if smaller
    held_out_logits: np.ndarray | None


def prepare(items, pairs, y, weights):
    """The same comparisons in the form that is fastest and most exact to fit.

    Parameters
    ----------
    items, pairs, y, weights
        As for :func:`fit_linear`; items of any precision.

    Returns
    -------
    items, pairs, y, weights
        Without repetitions; the items in float64 about their mean, unless they are
        large, or only their differences are needed: then they stay as they are.
    """
    pairs, y, weights = aggregate(pairs, y, weights, items.shape[0])
    if sparse.issparse(items):
        items = items.astype(np.float64)
    elif items.size <= LARGE and not _in_dual(items, pairs):
        # The same differences, with less rounding.
        items = items - items.mean(axis=0, dtype=np.float64)
    return items, pairs, y, weights


def fit_linear(
    items,
    pairs,
    y,
    weights,
    *,
    alpha,
    scale=1.0,
    tol,
    max_iter,
    coef_init=None,
    held_out=None,
    prior="normal",
    moment=None,
):
    """Minimise Σ c [log(1 + eˢ) - y s] + wᵀ alpha w / 2.

    Parameters
    ----------
    items : ndarray or CSR of shape (n_items, n_features)
        Each item once, as :func:`prepare` leaves them.
    pairs : ndarray of shape (n_pairs, 2)
        First and second item of each comparison.
    y, weights : ndarray of shape (n_pairs,)
        Outcomes in [0, 1], and positive weights.
    alpha : float or "auto"
        Prior precision; "auto" maximises the Laplace evidence.
    scale : float, default=1.0
        What the precision is then multiplied by, that of every coefficient.
    tol : float
        Stop when no entry of the gradient exceeds ``tol`` times its largest entry at
        w = 0 (or its typical length for answers by chance, if that is larger).
    max_iter : int
        Newton or L-BFGS iterations.
    coef_init : ndarray of shape (n_features,), default=None
        Where to start; zero if None, or not of this shape. The solution does not depend
        on it.
    held_out : ndarray of shape (n_pairs,), bool, default=None
        Comparisons to predict by a fit to the others at the same alpha, to about 1e-4
        nats. Not with Student's t.
    prior : {"normal", "student_t"}, default="normal"
        "student_t" then gives each coefficient an alpha of its own, see
        :func:`~skarm._model.student.student_precisions`, where alpha is "auto", items
        are dense, features at most `MAX_DENSE`, and comparisons no more than `MANY` per
        feature.
    moment : callable, default=None
        Returns A of :mod:`skarm._model.prior`, (d, d), or None. With Student's t and
        at most `MAX_TURNED` features, there is then a second prior: coefficients are
        A^½ u with such a prior on u. Both count by their evidence under a normal prior:
        the covariance is the mean of theirs, and alpha, its inverse, is a matrix.

    Returns
    -------
    fit : LinearFit
        With `log_evidence`, that of a normal prior, NaN where it was not needed,
        `information` and `terms` None where features are more than `MAX_DENSE`, and
        `held_out_logits` if asked for.
    """
    in_student = (
        prior == "student_t"
        and alpha == "auto"
        and not sparse.issparse(items)
        and items.shape[1] <= MAX_DENSE
        and len(pairs) <= MANY * items.shape[1]
    )
    is_small = np.prod(items.shape) <= LARGE
    if sparse.issparse(items) and is_small:
        items = items.toarray()  # so small, that sparse costs more
    data = items, pairs, y, weights
    if coef_init is not None and len(coef_init) != items.shape[1]:
        coef_init = None
    limits = tol, max_iter, coef_init
    # Threads wait for each other longer than small products take, and blocks are small.
    with one_thread() if is_small or items.shape[1] <= MAX_ALONE else nullcontext():
        if in_student:
            return _fit_student(*data, *limits, moment, scale)
        return _fit(*data, alpha, *limits, held_out, scale)


def is_alone(items, pairs):
    """Whether a fit takes one thread, and long enough to be worth another beside it."""
    return items.size <= LARGE and len(pairs) >= COSTLY


def _fit(
    items, pairs, y, weights, alpha, tol, max_iter, start, held_out=None, scale=1.0
):
    if held_out is not None:  # these come last
        order = np.argsort(held_out, kind="stable")
        pairs, y, weights = pairs.T[:, order].T, y[order], weights[order]
    loss, expand, contract = _coordinates(items, pairs, y, weights)
    threshold = _threshold(loss, tol)
    if loss.n_coordinates > MAX_DENSE and alpha == "auto":
        alpha = scale * _alpha_of_subset(items, pairs, y, weights, tol, max_iter)
    start = contract(start, loss.mean_square() if alpha == "auto" else alpha)
    log_evidence = np.nan
    if alpha == "auto":
        alpha, log_evidence, minimum, n_iter = maximize_evidence(
            loss, start, threshold, max_iter
        )
        if scale != 1:
            alpha *= scale
            minimum = _minimize(loss, minimum.coef, alpha, threshold, max_iter)
            n_iter += minimum.n_iter
    else:
        minimum = _minimize(loss, start, alpha, threshold, max_iter)
        n_iter = minimum.n_iter
    logits = None
    if held_out is not None:
        n_seen = np.count_nonzero(~held_out)
        rest, near = loss.first(n_seen, minimum)
        threshold = _threshold(rest, max(tol, ENOUGH_TO_JUDGE))
        coef = _minimize(rest, near.coef, alpha, threshold, max_iter, near).coef
        logits = loss.logits_after(n_seen, coef)
    minimum = minimum._replace(factor=None)  # makes room
    return LinearFit(
        expand(minimum.coef),
        float(alpha),
        n_iter,
        minimum.converged,
        log_evidence,
        *_information(items, pairs, loss, minimum),
        logits,
    )


def _fit_student(items, pairs, y, weights, tol, max_iter, coef_init, moment, scale):
    """With a precision for each coefficient, chosen near the fit with one for all.

    In the features as they are and in those turned by the root of the moment; the
    covariances that come out count by the evidence.
    """
    data, items = (pairs, y, weights), _about_mean(items)
    fits = [_fit(items, *data, "auto", tol, max_iter, coef_init)]
    is_wide = items.shape[1] > MAX_TURNED
    moment = None if moment is None or is_wide else moment()
    if moment is not None:
        root, inverse = roots(moment)
        turned = items @ root.astype(items.dtype)
        start = None if coef_init is None else inverse @ coef_init
        fits.append(_fit(turned, *data, "auto", tol, max_iter, start))
    shares = softmax([fit.log_evidence for fit in fits])
    shares = np.where(shares < NEGLIGIBLE, 0.0, shares)
    shares /= shares.sum()
    covariance, coef = np.zeros(items.shape[1]), 0.0
    if shares[0]:
        covariance = shares[0] * _student_variances(items, data, fits[0])
        coef = shares[0] * fits[0].coef
    if shares[1:].any():
        variances = shares[1] * _student_variances(turned, data, fits[1])
        covariance = root * variances @ root + np.diag(covariance)
        coef = coef + shares[1] * (root @ fits[1].coef)
    fit = _fit_under(covariance / scale, items, *data, tol, max_iter, coef)
    return fit._replace(
        n_iter=fit.n_iter + sum(known.n_iter for known in fits),
        log_evidence=max(known.log_evidence for known in fits),
    )


def _about_mean(items):
    """The same differences; products with the items then round less."""
    narrow = np.promote_types(items.dtype, np.float32)
    items = items.astype(np.float64 if items.size <= LARGE else narrow, copy=False)
    return items - items.mean(axis=0)


def _student_variances(items, data, fit):
    """Variances of the coefficients under Student's t, near the fit with one alpha."""
    loss, expand, _ = _coordinates(items, *data)
    curvature, mean_square = _curvature(loss, expand, fit), loss.mean_square()
    return 1 / student_precisions(curvature, fit.coef, fit.alpha, mean_square or 1.0)


def _fit_under(covariance, items, pairs, y, weights, tol, max_iter, near):
    """Under N(0, covariance), a matrix or its diagonal; N(0, I) on other features."""
    data = pairs, y, weights
    if covariance.ndim == 1:
        scale = np.sqrt(covariance)
        scaled = items * scale.astype(items.dtype)
        fit = _fit(scaled, *data, 1.0, tol, max_iter, near / scale)
        terms, known = fit.terms, fit.information
        if terms is not None:
            terms = (terms[0] / scale, *terms[1:])
        if known is not None:
            known = known / scale / scale[:, None]
        coef, alpha = fit.coef * scale, 1 / covariance
        return fit._replace(coef=coef, alpha=alpha, information=known, terms=terms)
    lower = cholesky(covariance, lower=True)
    start = solve_triangular(lower, near, lower=True)
    turned = items @ lower.astype(items.dtype)
    fit = _fit(turned, *data, 1.0, tol, max_iter, start)
    coef = lower @ fit.coef
    rows, ends = items, pairs
    if fit.terms is not None:
        rows, ends = _differences(items, pairs), None
    seen = BradleyTerryLoss(rows, ends, y, weights)
    terms = rows, ends, seen.variance(seen.logits(coef))
    inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
    return fit._replace(
        coef=coef,
        alpha=inverse.T @ inverse,
        information=information(*terms) if fit.terms is None else None,
        terms=None if fit.terms is None else terms,
    )


def _curvature(loss, expand, fit):
    """Hessian of the misfit in features, or if that is smaller, R with RᵀR equal it."""
    if loss.n_coordinates >= len(fit.coef):
        return fit.information if fit.terms is None else information(*fit.terms)
    if isinstance(loss, DualLoss):
        gaps = loss.rows @ fit.coef
        return np.sqrt(loss.variance(gaps))[:, None] * loss.rows
    basis = expand(np.eye(loss.n_coordinates)).T  # orthonormal rows
    values, vectors = eigh(loss.information(basis @ fit.coef))
    return (np.sqrt(np.maximum(values, 0))[:, None] * vectors.T) @ basis


def _minimize(loss, start, alpha, threshold, max_iter, near=None):
    """By Newton's method, if a dense Hessian is not too large for that."""
    if loss.n_coordinates > MAX_DENSE:
        return lbfgs(loss, start, float(alpha), threshold, max_iter)
    return descend(loss, start, float(alpha), threshold, max_iter, known=near)


def _information(items, pairs, loss, minimum):
    """Fisher information at the minimum, or its terms where they are fewer numbers.

    The Hessian at hand is used where it is that.
    """
    n_features = items.shape[1]
    if n_features > MAX_DENSE:
        return None, None
    in_features = isinstance(loss, BradleyTerryLoss)
    in_features = in_features and loss.n_coordinates == n_features
    # A large Hessian is worth using at very nearly the same probabilities.
    allowed = 1e-4 if loss.is_large else 0.0
    if in_features:
        if (
            minimum.seen is not None
            and np.abs(minimum.logits - minimum.seen).max() <= allowed
        ):
            return minimum.hessian.matrix, None
        items, pairs = loss.items, loss.pairs
    elif isinstance(loss, DualLoss):
        items, pairs = loss.rows, None
    terms = items, pairs, loss.variance(minimum.logits)
    if pairs is None and len(terms[2]) <= n_features:
        return None, terms
    return information(*terms), None


def _threshold(loss, tol):
    """The gradient below which a fit has converged, whatever alpha is."""
    rest, zero = np.zeros(loss.n_coordinates), np.zeros(len(loss.weights))
    at_zero = loss.size(loss.gradient_at(rest, zero, 0.0))
    by_chance = loss.typical_length() * np.linalg.norm(loss.weights) / 2
    return tol * max(at_zero, by_chance, np.finfo(float).tiny)


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


def _coordinates(items, pairs, y, weights):
    """Loss in the smallest coordinates, with the maps back to and from features."""
    (n_items, n_features), n_pairs = items.shape, len(pairs)
    if _in_dual(items, pairs):
        return _dual(items, pairs, y, weights)
    if n_items < n_features and n_items <= MAX_DENSE:
        return _span(items, pairs, y, weights)
    rows, ends = items, pairs
    is_small = n_pairs * n_features <= SMALL and not is_crowded(n_items, n_pairs)
    if n_pairs <= n_items or is_small:
        rows, ends = _differences(items, pairs), None

    def expand(coef):
        return coef

    def contract(coef, alpha):
        return np.zeros(n_features) if coef is None else coef

    return BradleyTerryLoss(rows, ends, y, weights), expand, contract


def _in_dual(items, pairs):
    """Whether comparisons are fewer than items and features."""
    return len(pairs) <= min(*items.shape, MAX_DENSE)


def _dual(items, pairs, y, weights):
    """One coordinate per comparison."""
    rows = _differences(items, pairs)
    kernel = to_dense(rows @ rows.T)
    loss = DualLoss(kernel, y, weights, rows)

    def expand(dual):
        return rows.T @ dual

    def contract(coef, alpha):
        if coef is None:
            return np.zeros(len(y))
        return -loss.residual(rows @ coef) / alpha  # as it is at the solution

    return loss, expand, contract


def _differences(items, pairs):
    first, second = (items[ends] for ends in pairs.T)
    if sparse.issparse(items):
        return first - second
    return np.subtract(first, second, dtype=np.float64)


def _span(items, pairs, y, weights):
    """Coordinates in an orthonormal basis of the span of the items about their mean."""
    gram = to_dense(items @ items.T)
    largest = gram.diagonal().max()
    gram = gram - gram.mean(axis=0)
    gram -= gram.mean(axis=1)[:, None]
    squares, vectors = eigh(gram)
    keep = squares > 1e-13 * largest
    singular = np.sqrt(squares[keep])
    back = vectors[:, keep] / singular

    def expand(coef):
        return items.T @ (back @ coef)

    def contract(coef, alpha):
        return np.zeros(back.shape[1]) if coef is None else back.T @ (items @ coef)

    loss = BradleyTerryLoss(vectors[:, keep] * singular, pairs, y, weights)
    return loss, expand, contract
