"""The paper's reward model, as its code trains it: GELU layers, no regularizer."""

from itertools import pairwise

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import BaseEstimator
from torch.nn.functional import softplus

__all__ = ["PaperModel"]


class PaperModel(BaseEstimator):
    """Three 64-unit GELU layers, a bias-free last one; Adam, full batch, 1,000 steps.

    Learning rate 1e-3, no weight decay, no early stopping, trained afresh on all
    answers. It has what a query strategy reads of a fitted model; `alpha_` is the 1e-6
    that the paper adds to its information matrix.

    References
    ----------
    .. [1] Shen, Sun and Ton, "Active reward modeling", ICML 2025, arXiv 2502.04354.
    """

    def __init__(self, seed, *, width=64, n_steps=1000, learning_rate=1e-3):
        self.seed, self.width = seed, width
        self.n_steps, self.learning_rate = n_steps, learning_rate

    def fit(self, comparisons, y):
        compact = comparisons.compact()
        items = torch.as_tensor(np.asarray(compact.items), dtype=torch.float32)
        first, second = torch.as_tensor(np.asarray(compact.pairs)).T
        y = torch.as_tensor(y, dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            sizes = (items.shape[1], self.width, self.width, self.width)
            layers = []
            for n_in, n_out in pairwise(sizes):
                layers += [torch.nn.Linear(n_in, n_out), torch.nn.GELU()]
            self.body_ = torch.nn.Sequential(*layers)
            self.last_ = torch.nn.Linear(self.width, 1, bias=False)
        parameters = [*self.body_.parameters(), *self.last_.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate)
        for _ in range(self.n_steps):
            optimizer.zero_grad()
            rewards = self.last_(self.body_(items))[:, 0]
            logits = rewards[first] - rewards[second]
            (softplus(logits) - y * logits).mean().backward()
            optimizer.step()
        self.coef_ = self.last_.weight.detach().double().numpy().reshape(-1)
        self.alpha_ = 1e-6
        x = self.embed(compact.items)[compact.pairs]
        x = x[:, 0] - x[:, 1]
        p = expit(x @ self.coef_)
        self.information_ = (x * (p * (1 - p))[:, None]).T @ x
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coef_")

    @torch.no_grad()
    def embed(self, items):
        items = torch.as_tensor(np.asarray(items), dtype=torch.float32)
        return self.body_(items).double().numpy()

    def predict(self, items):
        return self.embed(items) @ self.coef_
