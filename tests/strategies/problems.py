"""Small problems that the tests of strategies share, and greedy by brute force."""

import numpy as np
from scipy.special import expit

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm._model.posterior import mean_bernoulli_variance
from skarm.strategies._design import COLD_START_SD


def fitted(seed, hidden_layer_sizes=(), n_past=40, n_pool=120, alpha=0.5):
    """A pool, the comparisons asked before, and a model of their answers."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((50, 4))
    past = Comparisons.random_pairs(items, n_past, random_state=seed)
    logits = past.differences() @ np.array([2.0, -1.0, 0.5, 0.0])
    y = (rng.random(n_past) < expit(logits)).astype(float)
    model = BradleyTerryRegressor(
        hidden_layer_sizes=hidden_layer_sizes,
        alpha=alpha,
        validation_fraction=0,
        max_iter=60,
        learning_rate=1e-2,
        random_state=0,
    )
    pool = Comparisons.random_pairs(items, n_pool, random_state=seed + 100)
    return pool, past, model.fit(past, y)


def query(strategy, pool, n_pairs, params=None, **arguments):
    sampler = ActiveComparisonSampler(strategy, strategy_params=params, random_state=0)
    return sampler.query(pool, n_pairs=n_pairs, return_utilities=True, **arguments)


def last_layer(model, comparisons):
    """Differences of the embedding, and p (1 - p), of each comparison."""
    z = model.embed(comparisons.items)
    r = model.predict(comparisons.items)
    first, second = comparisons.pairs.T
    p = expit(r[first] - r[second])
    return z[first] - z[second], p * (1 - p)


def known(pool, model, variance):
    """X, v and alpha I + past of a cold (None) or fitted linear model."""
    X = pool.differences()
    if model is None:
        alpha = np.mean((X**2).sum(axis=1)) / COLD_START_SD**2
        matrix, logits = alpha * np.eye(4), np.zeros(len(X))
    else:
        matrix = model.information_ + model.alpha_ * np.eye(4)
        logits = X @ model.coef_
    if variance == "plug_in":
        return X, expit(logits) * expit(-logits), matrix
    spread = np.einsum("ki,ij,kj->k", X, np.linalg.inv(matrix), X)
    return X, mean_bernoulli_variance(-np.abs(logits), spread), matrix


def brute_force(X, v, matrix, n_pairs, rise):
    """Greedy by recomputing the criterion of every candidate at every step."""
    terms = v[:, None, None] * X[:, :, None] * X[:, None, :]
    left = np.ones(len(X), dtype=bool)
    picks, gains = [], []
    for _ in range(n_pairs):
        gain = rise(matrix + terms, matrix)
        picks.append(int(np.argmax(np.where(left, gain, -np.inf))))
        gains.append(gain[picks[-1]])
        left[picks[-1]] = False
        matrix = matrix + terms[picks[-1]]
    return picks, gains


def rise_of_log_det(new, old):
    return np.linalg.slogdet(new)[1] - np.linalg.slogdet(old)[1]


def fall_of_trace(target):
    def fall(new, old):
        traces = [
            np.trace(np.linalg.inv(m) @ target, axis1=-2, axis2=-1) for m in (new, old)
        ]
        return traces[1] - traces[0]

    return fall
