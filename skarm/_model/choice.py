"""Whether a network earns its place: held-out answers judge it against a linear head.

Features that were learned from the answers flatter the evidence, which sees the same
answers twice. Comparisons that were held out do not.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from skarm._threads import one_torch_thread

__all__ = ["network_pays", "side_by_side"]


def network_pays(linear_logits, network_logits, y, weights):
    """Whether a learned embedding predicts held-out answers clearly better than items.

    The simpler stays unless the mean gain in log-likelihood exceeds its standard error,
    because a few held-out answers tell a small gain from luck badly.

    Parameters
    ----------
    linear_logits, network_logits : ndarray of shape (n_pairs,)
        Logits of held-out comparisons by a linear head, and by the last layer on the
        embedding, both solved without these comparisons, as the embedding was trained.
    y, weights : ndarray of shape (n_pairs,)
        Their outcomes and weights.

    Returns
    -------
    pays : bool
        Whether to keep the embedding.
    """
    losses = [
        np.logaddexp(0, logits) - y * logits
        for logits in (linear_logits, network_logits)
    ]
    gains = losses[0] - losses[1]
    share = weights / weights.sum()
    mean = share @ gains
    return bool(mean > np.linalg.norm(share * (gains - mean)))


def side_by_side(train, solve, at_once):
    """Train a network and solve for the linear head, at once where two threads are.

    Steps on mini-batches gain little from a second thread, and a small fit takes only
    one; together they take the time of the longer.

    Parameters
    ----------
    train, solve : callable
        Without arguments, independent; `train` keeps the calling thread. `solve` may be
        None.
    at_once : bool
        Whether they may take a thread each.

    Returns
    -------
    trained, linear : object
        What they return.
    """
    if not at_once or torch.get_num_threads() == 1:
        return train(), solve and solve()
    with one_torch_thread(), ThreadPoolExecutor(1) as pool:
        linear = pool.submit(solve)
        return train(), linear.result()
