"""The answers of a batch, jointly: exact while they can be enumerated, then sampled."""

import numpy as np

from skarm._model.logit_normal import binary_entropy

__all__ = ["JointAnswers"]


class JointAnswers:
    """What the answers to the pairs picked so far would say about which draw is true.

    Every configuration of answers carries its probability and, by Bayes' rule, weights
    of the K draws. Up to `n_most` configurations there are all 2^m of them; beyond,
    `n_most` sampled ones, each new answer drawn given the ones before it.

    Parameters
    ----------
    n_draws : int
        K, equally likely a priori.
    n_most : int
        Configurations kept.
    rng : RandomState
        Samples them.

    Attributes
    ----------
    weights : ndarray of shape (n_configurations, n_draws)
        P(draw | configuration).
    shares : ndarray of shape (n_configurations,)
        P(configuration), or equal shares of a sample.
    """

    def __init__(self, n_draws, n_most, rng):
        self.weights = np.full((1, n_draws), 1 / n_draws)
        self.shares = np.ones(1)
        self._n_most, self._rng, self._sampled = n_most, rng, False

    def information(self, p, entropies):
        """I(answer; draw | answers of the batch) of candidates, in nats.

        Parameters
        ----------
        p : ndarray of shape (n, n_draws)
            P(answer 1) of each candidate under each draw.
        entropies : ndarray of shape (n, n_draws)
            Their binary entropies.

        Returns
        -------
        information : ndarray of shape (n,)
            Non-negative up to rounding: Σ_c P(c) [H(E[p | c]) - E[H(p) | c]].
        """
        predictive = binary_entropy(np.clip(p @ self.weights.T, 0, 1)) @ self.shares
        return predictive - entropies @ (self.shares @ self.weights)

    def add(self, p):
        """Let the batch hold one more pair.

        Parameters
        ----------
        p : ndarray of shape (n_draws,)
            P(answer 1) under each draw.
        """
        if not self._sampled and 2 * len(self.shares) > self._n_most:
            # Systematic resampling: each configuration about as often as its share.
            steps = (np.arange(self._n_most) + self._rng.random_sample()) / self._n_most
            chosen = np.searchsorted(np.cumsum(self.shares), steps)
            self.weights = self.weights[np.minimum(chosen, len(self.shares) - 1)]
            self.shares = np.full(self._n_most, 1 / self._n_most)
            self._sampled = True
        likely = np.clip(self.weights @ p, 0, 1)
        if self._sampled:
            yes = self._rng.random_sample(len(likely)) < likely
            self.weights = self.weights * np.where(yes[:, None], p, 1 - p)
        else:
            self.weights = np.vstack([self.weights * p, self.weights * (1 - p)])
            both = np.concatenate([likely, 1 - likely])
            self.shares = np.tile(self.shares, 2) * both
        total = self.weights.sum(axis=1, keepdims=True)
        self.weights /= np.maximum(total, np.finfo(float).tiny)
