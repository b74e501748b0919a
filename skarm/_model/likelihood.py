"""The Bradley–Terry likelihood of a linear reward: value, gradient, information.

With items Z (m, d), coefficients w, pairs (a, b) and logits s = (Z w)_a - (Z w)_b, the
penalised negative log-likelihood is

    f(w) = Σ_k c_k [ log(1 + exp(s_k)) - y_k s_k ] + alpha/2 ‖w‖²

with comparison weights c_k. Everything goes through the items: with the signed
incidence matrix B (n, m) of the pairs, s = B Z w, the gradient is Zᵀ Bᵀ c(p - y), and
the information is Zᵀ (Bᵀ diag(c v) B) Z, v = p (1 - p), see :mod:`skarm._model.graph`:
the (n, d) differences are never formed, and B neither.

Two losses share one interface, so that one Newton's method serves both:
`BradleyTerryLoss` in the coefficients w, and `DualLoss` in the weights u of the
differences, w = Xᵀ u, which is smaller where comparisons are fewer than features.
"""

from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, get_blas_funcs
from scipy.special import expit

from skarm._model.graph import blocks, information, is_large

__all__ = ["BradleyTerryLoss", "DualLoss"]

#: With this many coordinates a Hessian is worth using more than once.
COSTLY = 256
#: Comparisons per block, which stay in the cache.
BLOCK_PAIRS = 2**14


class Factor(NamedTuple):
    """Cholesky factor of a Hessian plus alpha I; what is above the diagonal is void."""

    lower: np.ndarray
    root: np.ndarray | None

    def solve(self, gradient):
        """Newton's step."""
        if not len(gradient):
            return gradient
        right = gradient if self.root is None else gradient / self.root
        right = right.astype(self.lower.dtype, copy=False)
        # cho_solve is made for many right sides, and slow for one.
        (trsv,) = get_blas_funcs(["trsv"], [self.lower])
        step = trsv(self.lower, trsv(self.lower, right, lower=1), lower=1, trans=1)
        return step if self.root is None else self.root * step

    def half_log_det(self):
        """Half the log determinant of the factored matrix."""
        return np.log(self.lower.diagonal().astype(np.float64)).sum()


class Hessian(NamedTuple):
    """Of the misfit: H itself, or for the dual S K S and the diagonal of S."""

    matrix: np.ndarray
    root: np.ndarray | None = None

    def factor(self, alpha):
        """Factor the sum with alpha I.

        Where alpha drowns in rounding, a larger ridge takes its place. That makes a
        Newton step shorter in directions that no answer informs, and moves no solution.
        """
        diagonal = self.matrix.diagonal().copy()
        largest = diagonal.max(initial=0)
        while True:
            np.fill_diagonal(self.matrix, diagonal + alpha)
            try:
                # Of a symmetric matrix the transpose is the same, in LAPACK's order.
                lower = cho_factor(self.matrix.T, lower=True, check_finite=False)[0]
                break
            except LinAlgError:
                alpha = max(10 * alpha, np.finfo(float).eps * largest)
        np.fill_diagonal(self.matrix, diagonal)
        return Factor(lower, self.root)


class _Outcomes:
    """What depends on the logits alone."""

    def __init__(self, y, weights):
        self.y, self.weights = y, weights

    def misfit(self, logits):
        """Σ c [log(1 + eˢ) - y s]."""
        return self._misfit(logits, None)

    def residual(self, logits):
        """C (p - y)."""
        residual = expit(logits)
        residual -= self.y
        residual *= self.weights
        return residual

    def misfit_and_residual(self, logits):
        """Both, from one exponential."""
        residual = np.empty(len(logits))
        return self._misfit(logits, residual), residual

    def _misfit(self, logits, residual):
        misfit = 0.0
        for start in range(0, len(logits), BLOCK_PAIRS):
            block = slice(start, start + BLOCK_PAIRS)
            s, y, weights = logits[block], self.y[block], self.weights[block]
            decay = np.exp(-np.abs(s))
            terms = np.maximum(s, 0) + np.log1p(decay) - y * s
            misfit += (weights * terms).sum()  # BLAS would start threads for this
            if residual is not None:
                p = np.abs((s > 0) - decay / (1 + decay))  # without a branch
                residual[block] = weights * (p - y)
        return misfit

    def variance(self, logits):
        """C p (1 - p)."""
        p = expit(logits)
        return self.weights * p * (1 - p)

    def value(self, coef, alpha):
        """f, the penalised negative log-likelihood."""
        logits = self.logits(coef)
        return self.misfit(logits) + alpha / 2 * self.inner(coef, coef, logits)


class BradleyTerryLoss(_Outcomes):
    """Penalised negative log-likelihood of comparisons under a linear reward.

    Parameters
    ----------
    items : ndarray or CSR of shape (n_items, n_features)
        Z. Float64, or larger than `graph.LARGE` numbers and of any precision: then the
        gradient is still computed in float64, block by block.
    pairs : ndarray of shape (n_pairs, 2) or None
        First and second item; None where the items are differences already.
    y : ndarray of shape (n_pairs,)
        Outcomes in [0, 1].
    weights : ndarray of shape (n_pairs,)
        Comparison weights c.
    """

    def __init__(self, items, pairs, y, weights):
        super().__init__(y, weights)
        self.items, self.pairs = items, pairs
        self.n_coordinates = items.shape[1]
        self.is_large = is_large(items)
        self.is_costly = self.is_large or self.n_coordinates >= COSTLY

    def logits(self, coef):
        """Logits s = B Z w."""
        if not self.is_large:
            return self._gap(self.items @ coef)
        blocks = [block @ coef for _, block in self._blocks()]
        return self._gap(np.concatenate(blocks))

    def gradient_at(self, coef, logits, alpha):
        """∇f(w) = Zᵀ Bᵀ c (p - y) + alpha w."""
        flow = self._flow(self.residual(logits))
        if not self.is_large:
            return self.items.T @ flow + alpha * coef
        return (
            sum(block.T @ flow[rows] for rows, block in self._blocks()) + alpha * coef
        )

    def rough(self, coef, alpha):
        """Value and gradient by products in the precision of the items."""
        dtype = self.items.dtype
        logits = self._gap((self.items @ coef.astype(dtype)).astype(np.float64))
        misfit, residual = self.misfit_and_residual(logits)
        flow = self._flow(residual).astype(dtype)
        value = misfit + alpha / 2 * coef @ coef
        return value, self.items.T @ flow + alpha * coef

    def gradient(self, coef, alpha):
        """∇f(w), from w alone."""
        return self.gradient_at(coef, self.logits(coef), alpha)

    def information(self, coef):
        """∇²f(w) - alpha I = Σ c p (1 - p) x xᵀ."""
        return self.hessian_at(self.logits(coef)).matrix

    def hessian_at(self, logits):
        """Hessian of the misfit."""
        return Hessian(information(self.items, self.pairs, self.variance(logits)))

    def inner(self, left, right, logits_of_right):
        """Inner product of coefficients."""
        return left @ right

    def first(self, n_pairs, minimum):
        """The loss of the first comparisons, and what is nearly its minimum."""
        ends = None if self.pairs is None else self.pairs[:n_pairs]
        rows = self.items[:n_pairs] if ends is None else self.items
        y, weights = self.y[:n_pairs], self.weights[:n_pairs]
        return BradleyTerryLoss(rows, ends, y, weights), minimum

    def with_rough_hessians(self, alpha):
        """The same loss: its Hessians are already as rough as they may be."""
        return self

    def logits_after(self, n_pairs, coef):
        """Logits of the others by coefficients fitted to the first comparisons."""
        return self.logits(coef)[n_pairs:]

    def size(self, gradient):
        """The largest entry of a gradient."""
        return np.abs(gradient).max(initial=0)

    @cached_property
    def moment(self):
        """Σ c x xᵀ, four times the Hessian where all logits are 0."""
        return information(self.items, self.pairs, self.weights)

    def mean_square(self):
        """Weighted mean of ‖x‖² over the comparisons, the scale of the features."""
        if self.is_large:
            return np.trace(self.moment) / self.weights.sum()
        return _mean_square(self._rows(slice(None)), self.weights)

    def sketch(self):
        """The Hessian where all logits are 0, from eight comparisons per coordinate."""
        matrix = np.zeros((self.n_coordinates,) * 2)
        for rows, weights in self._sample():
            matrix += information(rows, None, (weights / 4).astype(rows.dtype))
        return Hessian(matrix)

    def typical_length(self):
        """Root mean square of ‖x‖; of a large loss, over a sample."""
        if not self.is_large:
            return np.sqrt(self.mean_square())
        means = [_mean_square(*some) * some[1].sum() for some in self._sample()]
        return np.sqrt(np.sum(means) / self.weights.sum())

    def _sample(self):
        """Blocks of eight differences per coordinate, with the weight of them all."""
        n_pairs = len(self.weights)
        n_kept = min(8 * self.n_coordinates, n_pairs)
        keep = np.linspace(0, n_pairs - 1, n_kept).astype(np.intp)
        scale = self.weights.sum() / self.weights[keep].sum()
        for rows in blocks(n_kept):
            some = keep[rows]
            yield self._rows(some), scale * self.weights[some]

    def _rows(self, keep):
        if self.pairs is None:
            return self.items[keep]
        first, second = self.pairs[keep].T
        return self.items[first] - self.items[second]

    def _gap(self, rewards):
        if self.pairs is None:
            return rewards
        gap = rewards[self.pairs[:, 0]]
        gap -= rewards[self.pairs[:, 1]]
        return gap

    def _flow(self, values):
        """Bᵀ values: what an item gains as first, less what it gains as second."""
        if self.pairs is None:
            return values
        m = self.items.shape[0]
        first, second = self.pairs.T
        return np.bincount(first, values, m) - np.bincount(second, values, m)

    def _blocks(self):
        """Float64 copies of the items, a block at a time."""
        for rows in blocks(len(self.items), 4):
            yield rows, self.items[rows].astype(np.float64)


class DualLoss(_Outcomes):
    """The same loss in the weights u of the differences X: w = Xᵀ u, s = K u, K = X Xᵀ.

    The solution has this form, with alpha u = c (y - p). A Newton step costs one
    Cholesky factor of S K S + alpha I, S = diag(√(c v)), of which the log determinant
    is that of the Hessian less (d - n) log alpha [1]_.

    Parameters
    ----------
    kernel : ndarray of shape (n_pairs, n_pairs)
        K.
    y, weights : ndarray of shape (n_pairs,)
        As for :class:`BradleyTerryLoss`.
    rows : ndarray or CSR of shape (n_pairs, n_features), default=None
        X, only kept.

    References
    ----------
    .. [1] C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine
       Learning", 2006, section 3.4.
    """

    is_large = False

    def __init__(self, kernel, y, weights, rows=None):
        super().__init__(y, weights)
        self.rows = rows
        self.kernel, self.n_coordinates = kernel, len(kernel)
        self.hessian_kernel = kernel
        self.is_costly = self.n_coordinates >= COSTLY

    def logits(self, dual):
        """Logits s = K u."""
        return self.kernel @ dual

    def gradient_at(self, dual, logits, alpha):
        """The e of which Xᵀ e is the gradient in w."""
        return self.residual(logits) + alpha * dual

    def hessian_at(self, logits):
        """S K S."""
        # Where an answer is certain its root is kept from 0, which would divide.
        root = np.sqrt(np.maximum(self.variance(logits), 1e-60 * self.weights))
        narrow = root.astype(self.hessian_kernel.dtype, copy=False)
        matrix = self.hessian_kernel * narrow
        matrix *= narrow[:, None]
        return Hessian(matrix, root)

    def with_rough_hessians(self, alpha):
        """The same loss, its Hessians in float32 where that is safe and worth it.

        Their factors take half the time, and lead to the same minimum. While alpha is
        no less than a hundredth of their diagonal, log determinants are within 1e-6 a
        coordinate.
        """
        largest = (self.weights * self.kernel.diagonal()).max()
        if not self.is_costly or alpha < largest / 400:
            return self
        rough = copy(self)
        rough.hessian_kernel = self._narrow_kernel
        return rough

    @cached_property
    def _narrow_kernel(self):
        return self.kernel.astype(np.float32)

    def inner(self, left, right, logits_of_right):
        """Inner product of the coefficients that two duals stand for."""
        return left @ logits_of_right

    def first(self, n_pairs, minimum):
        """The loss of the first comparisons, and what is nearly its minimum."""
        some = slice(n_pairs)
        rest = DualLoss(self.kernel[some, some], self.y[some], self.weights[some])
        rest._narrow_kernel = self._narrow_kernel[some, some]
        factor = minimum.factor
        if factor is not None:  # the first rows of a factor are that of the first rows
            lower = np.asfortranarray(factor.lower[some, some])
            factor = Factor(lower, factor.root[some])
        return rest, minimum._replace(coef=minimum.coef[some], factor=factor)

    def logits_after(self, n_pairs, dual):
        """Logits of the others by a dual fitted to the first comparisons."""
        return self.kernel[n_pairs:, :n_pairs] @ dual

    def size(self, gradient):
        """Euclidean length of the gradient in w, no less than its largest entry."""
        return np.sqrt(max(gradient @ (self.kernel @ gradient), 0.0))

    def mean_square(self):
        """Weighted mean of ‖x‖² over the comparisons, the scale of the features."""
        return self.weights @ self.kernel.diagonal() / self.weights.sum()

    def typical_length(self):
        """Root mean square of ‖x‖."""
        return np.sqrt(self.mean_square())


def _mean_square(rows, weights):
    if sparse.issparse(rows):
        squares = np.asarray(rows.multiply(rows).sum(axis=1)).reshape(-1)
    else:
        squares = np.einsum("ij,ij->i", rows, rows)
    return weights @ squares / weights.sum()
