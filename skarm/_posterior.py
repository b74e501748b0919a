"""The Laplace posterior of the last layer: N(coef, (information + alpha I)⁻¹).

The likelihood's information and the prior's precision are kept apart: pseudo-data never
counts as data.
"""

import numpy as np
from numpy.polynomial.hermite import hermgauss
from scipy.linalg import cho_factor, solve_triangular
from scipy.special import expit

__all__ = ["LastLayerPosterior", "mean_bernoulli_variance"]

_NODES, _WEIGHTS = hermgauss(16)


class LastLayerPosterior:
    """Gaussian posterior over the last layer's coefficients.

    Parameters
    ----------
    coef : ndarray of shape (d,)
        Mean.
    information : ndarray of shape (d, d)
        Fisher information of the answers so far.
    alpha : float
        Prior precision, positive.
    """

    def __init__(self, coef, information, alpha):
        self.coef = coef
        matrix = information + alpha * np.eye(len(coef))
        self._lower = np.tril(cho_factor(matrix, lower=True)[0])

    def whiten(self, embedding):
        """Rows u = L⁻¹ φ: the posterior covariance of rewards i and j is uᵢᵀ uⱼ."""
        return solve_triangular(self._lower, embedding.T, lower=True).T

    def variances(self, embedding):
        """Posterior variance of each reward, squared nats, (n_items,)."""
        return np.square(self.whiten(embedding)).sum(axis=1)

    def draws(self, rng, n_draws):
        """Coefficients drawn from the posterior, (n_draws, d)."""
        normal = rng.standard_normal((len(self.coef), n_draws))
        return self.coef + solve_triangular(self._lower.T, normal, lower=False).T


def mean_bernoulli_variance(logits, variances):
    """E[p (1 - p)] for p = sigmoid(s), s ~ N(logits, variances), by Gauss–Hermite.

    Parameters
    ----------
    logits, variances : ndarray of shape (n_pairs,)
        Mean and variance of the reward difference.

    Returns
    -------
    v : ndarray of shape (n_pairs,)
        In (0, 0.25]; equals the plug-in p (1 - p) where the variance is 0.
    """
    sd = np.sqrt(2 * np.maximum(variances, 0))
    total = np.zeros_like(logits, dtype=np.float64)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        p = expit(logits + sd * node)
        total += weight * p * (1 - p)
    return total / np.sqrt(np.pi)
