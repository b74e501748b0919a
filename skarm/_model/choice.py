"""Whether a network earns its place: held-out answers judge it against a linear head.

Features that were learned from the answers flatter the evidence, which sees the same
answers twice. Comparisons that were held out do not.
"""

import numpy as np

__all__ = ["network_pays"]


def network_pays(fits, pairs, y, weights, mask):
    """Whether a learned embedding predicts held-out answers clearly better than items.

    The simpler stays unless the mean gain in log-likelihood exceeds its standard error,
    because a few held-out answers tell a small gain from luck badly.

    Parameters
    ----------
    fits : sequence of (ndarray, callable)
        Features (n_items, n_features) of the items, then the embedding, which was
        trained without the held-out comparisons; each with ``solve(features, pairs, y,
        weights)``, which returns the coefficients of its last layer.
    pairs, y, weights
        Comparisons.
    mask : ndarray of shape (n_pairs,), bool
        Comparisons held out.

    Returns
    -------
    pays : bool
        Also True where nothing was held out: then nothing speaks against it.
    """
    if not mask.any():
        return True
    train = pairs[~mask], y[~mask], weights[~mask]
    first, second = pairs[mask].T
    losses = []
    for features, solve in fits:
        rewards = features @ solve(features, *train)
        logits = rewards[first] - rewards[second]
        losses.append(np.logaddexp(0, logits) - y[mask] * logits)
    gains = losses[0] - losses[1]
    share = weights[mask] / weights[mask].sum()
    mean = share @ gains
    return bool(mean > np.linalg.norm(share * (gains - mean)))
