"""The Laplace posterior of the last layer: N(coef, (information + alpha)⁻¹).

The likelihood's information and the prior's precision are kept apart: pseudo-data never
counts as data. The algebra is torch's, as that of the designs beside it: the threads of
several libraries would wait for each other.
"""

import numpy as np
import torch
from numpy.polynomial.hermite import hermgauss

from skarm._model.networks import to_torch
from skarm._model.prior import as_matrix

__all__ = ["LastLayerPosterior", "mean_bernoulli_variance"]

_NODES, _WEIGHTS = hermgauss(16)

# The logistic density p (1 - p) is, within 2e-8, the mixture of normals
# Σ share · rate · φ(rate · s): Monahan and Stefanski, "Normal scale mixture
# approximations to F*(z) and computation of the logistic-normal integral", 1992, k = 8.
_SHARES = (
    *(0.003246343272134, 0.051517477033972, 0.195077912673858, 0.315569823632818),
    *(0.274149576158423, 0.131076880695470, 0.027912418727972, 0.001449567805354),
)
_RATES = (
    *(1.365340806296348, 1.059523971016916, 0.830791313765644, 0.650732166639391),
    *(0.508135425366489, 0.396313345166341, 0.308904252267995, 0.238212616409306),
)


class LastLayerPosterior:
    """Gaussian posterior over the last layer's coefficients.

    Parameters
    ----------
    coef : ndarray of shape (d,)
        Mean.
    information : ndarray of shape (d, d)
        Fisher information of the answers so far.
    alpha : float or ndarray of shape (d,) or (d, d)
        Prior precision, positive, of all coefficients or of each, or a matrix.

    Raises
    ------
    ValueError
        If alpha is so small beside the information that the sum is singular.
    """

    def __init__(self, coef, information, alpha):
        self.coef = coef
        matrix = _tensor(information + as_matrix(alpha, len(coef)))
        self._lower, failed = torch.linalg.cholesky_ex(matrix)
        if failed:
            raise ValueError(
                "the posterior needs a prior precision alpha that does not drown in "
                f"rounding. Got alpha={np.min(alpha):.3g} beside an information of up "
                f"to {np.diag(information).max():.3g}. Raise alpha, or use 'auto'."
            )

    def whiten(self, embedding):
        """Rows u = L⁻¹ φ: the posterior covariance of rewards i and j is uᵢᵀ uⱼ."""
        phi = _tensor(embedding)
        u = torch.linalg.solve_triangular(self._lower, phi.T, upper=False).T
        return u.numpy()

    def variances(self, embedding):
        """Posterior variance of each reward, squared nats, (n_items,)."""
        return np.square(self.whiten(embedding)).sum(axis=1)

    def draws(self, rng, n_draws):
        """Coefficients drawn from the posterior, (n_draws, d)."""
        normal = _tensor(rng.standard_normal((len(self.coef), n_draws)))
        spread = torch.linalg.solve_triangular(self._lower.T, normal, upper=True)
        return self.coef + spread.T.numpy()


def _tensor(array):
    return to_torch(array, torch.device("cpu"), torch.float64)


def mean_bernoulli_variance(logits, variances):
    """E[p (1 - p)] for p = sigmoid(s), s ~ N(logits, variances).

    Up to variance 1 by Gauss–Hermite quadrature. Wider normals step over the peak of
    p (1 - p); there it is written as a mixture of normals, whose mean is closed form.

    Parameters
    ----------
    logits, variances : ndarray of shape (n_pairs,)
        Mean and variance of the reward difference.

    Returns
    -------
    v : ndarray of shape (n_pairs,)
        In [0, 0.25], within 1e-7; the plug-in p (1 - p) where the variance is 0.
    """
    logits, variances = np.broadcast_arrays(logits, np.maximum(variances, 0.0))
    out = np.empty(logits.shape)
    narrow = variances <= 1
    out[narrow] = _by_quadrature(logits[narrow], variances[narrow])
    mean, variance = logits[~narrow], variances[~narrow]
    rates = [1 / np.sqrt(rate**-2 + variance) for rate in _RATES]
    out[~narrow] = sum(
        share * rate / np.sqrt(2 * np.pi) * np.exp(-((rate * mean) ** 2) / 2)
        for share, rate in zip(_SHARES, rates, strict=True)
    )
    return out


def _by_quadrature(mean, variance):
    """Gauss–Hermite, a node t and its mirror image together.

    With p (1 - p) = 1 / (2 + 2 cosh s) and r = 1 / cosh m, the two at m ± t add up to
    r (r + cosh t) / (1 + r cosh t)²: one exponential a node, and nothing cancels.
    """
    decay, sd = np.exp(-np.abs(mean)), np.sqrt(2 * variance)
    r = 2 * decay / (1 + decay**2)
    out = np.zeros(len(mean))
    for node, weight in zip(_NODES[_NODES > 0], _WEIGHTS[_NODES > 0], strict=True):
        cosh = np.exp(sd * node)
        cosh += 1 / cosh
        cosh /= 2
        out += (weight / np.sqrt(np.pi)) * (r + cosh) / np.square(1 + r * cosh)
    return out * r
