"""Expectations over p = sigmoid(s), s normal: an answer whose logit is uncertain.

The trapezoidal rule converges exponentially for analytic functions that decay
(Trefethen and Weideman, SIAM Review 56, 2014). It runs over the normal's own scale
where that is narrower than the function, over the function's scale where it is wider,
so it is exact to 1e-12 whatever the variance, where Gauss–Hermite nodes of a wide
normal would step over the function.
"""

import numpy as np
from scipy.special import expit, ndtr, xlog1py, xlogy

__all__ = [
    "answer_of_logit",
    "bald_information",
    "binary_entropy",
    "mean_probability",
    "probability_variance",
]

_STEP = 0.5
_Z = np.arange(-9, 9 + _STEP, _STEP)  # in standard deviations
_S = np.arange(-40, 40 + _STEP, _STEP)  # in nats: |s| e^{-|s|} < 2e-16 beyond
#: Slope of the probit that resembles the logistic function best at zero variance.
_PROBIT = np.sqrt(np.pi / 8)


def binary_entropy(p):
    """-p log p - (1 - p) log(1 - p), in nats; 0 at 0 and 1."""
    return -xlogy(p, p) - xlog1py(1 - p, -p)


def answer_of_logit(s):
    """P(answer 1) and its binary entropy at logit s, exact however large |s|."""
    size = np.abs(s)
    decay = np.exp(-size)
    unlikely = decay / (1 + decay)
    p = np.where(s < 0, unlikely, 1 - unlikely)
    return p, np.log1p(decay) + size * unlikely


def mean_probability(logits, variances):
    """E[sigmoid(s)] for s ~ N(logits, variances).

    Parameters
    ----------
    logits, variances : ndarray of shape (n,)
        Mean and variance of the logit.

    Returns
    -------
    p : ndarray of shape (n,)
        Within 1e-12.
    """
    # A probit has a closed form; what is left decays.
    probit = ndtr(_PROBIT * logits / np.sqrt(1 + _PROBIT**2 * variances))
    rest = _expect(lambda s: expit(s) - ndtr(_PROBIT * s), logits, variances)
    return np.clip(probit + rest, 0, 1)


def probability_variance(logits, variances):
    """Var[sigmoid(s)] for s ~ N(logits, variances).

    Parameters
    ----------
    logits, variances : ndarray of shape (n,)
        Mean and variance of the logit.

    Returns
    -------
    v : ndarray of shape (n,)
        In [0, 1/4], within 1e-12.
    """
    p = mean_probability(logits, variances)
    aleatoric = _expect(lambda s: expit(s) * expit(-s), logits, variances)
    return np.maximum(p * (1 - p) - aleatoric, 0)


def bald_information(logits, variances):
    """Mutual information between the answer and its logit s ~ N(logits, variances).

    H(E[p]) - E[H(p)], H the binary entropy.

    Parameters
    ----------
    logits, variances : ndarray of shape (n,)
        Mean and variance of the logit.

    Returns
    -------
    information : ndarray of shape (n,)
        In nats, in [0, log 2], within 1e-11.
    """
    predictive = binary_entropy(mean_probability(logits, variances))
    return np.maximum(predictive - _expect(_entropy, logits, variances), 0)


def _entropy(s):
    return answer_of_logit(s)[1]


def _expect(function, mean, variance):
    """E[function(s)], s ~ N(mean, variance), of an analytic function that decays."""
    mean, variance = np.broadcast_arrays(mean, variance)
    out = np.zeros(mean.shape)
    narrow = variance <= 1
    m, sd = mean[narrow], np.sqrt(np.maximum(variance[narrow], 0))
    weights = np.exp(-(_Z**2) / 2)
    weights /= weights.sum()
    nodes = zip(weights, _Z, strict=True)
    out[narrow] = sum(weight * function(m + sd * z) for weight, z in nodes)
    m, sd = mean[~narrow], np.sqrt(variance[~narrow])
    scale = _STEP / (sd * np.sqrt(2 * np.pi))
    out[~narrow] = scale * sum(
        function(s) * np.exp(-(((s - m) / sd) ** 2) / 2) for s in _S
    )
    return out
