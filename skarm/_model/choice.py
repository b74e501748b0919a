"""Whether a network earns its place: held-out answers judge it against a linear head.

Features that were learned from the answers flatter the evidence, which sees the same
answers twice. Comparisons that were held out do not. The linear head is the one that a
model without hidden layers would have, so that to ask for a network costs little, but
for its prior where features are many.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch

from skarm._model.linear import MAX_TURNED, prepare
from skarm._threads import one_torch_thread

__all__ = ["linear_head", "network_pays", "side_by_side"]

#: A network must gain more than so many standard errors: the answers that judge it also
#: stopped its training, and flatter it,
ERRORS = 1.5
#: the more the fewer they are; with so many it takes √2 as much.
FEW = 30


def linear_head(solve, problem, mask, prior, moment):
    """What a linear head says of held-out answers, and how to fit it to all of them.

    Parameters
    ----------
    solve : callable
        :func:`~skarm._model.linear.fit_linear`, but for alpha and the limits.
    problem : tuple
        Items, pairs, y and weights.
    mask : ndarray of shape (n_pairs,), bool
        The comparisons held out.
    prior, moment : str, callable
        Of such a fit; of more than `MAX_TURNED` features they would take longer than
        the network, and the prior is normal.

    Returns
    -------
    logits : ndarray of shape (n_held_out,)
        Of the comparisons held out, by a fit to the others. None in place of all, if
        there are none.
    fit : callable
        Returns the fit to all of them, and the problem in the form that was fitted.
    """
    if not mask.any():
        return None
    items, *answers = problem
    as_alone = {"prior": prior, "moment": moment and cache(moment)}
    if items.shape[1] > MAX_TURNED:
        whole = prepare(*problem)
        found = solve(*whole, held_out=mask)
        return found.held_out_logits, lambda: (found, whole)
    seen = solve(*prepare(items, *(a[~mask] for a in answers)), **as_alone)
    logits = np.subtract(*(items @ seen.coef)[answers[0][mask].T])

    def fit():
        whole = prepare(*problem)
        return solve(*whole, **as_alone), whole

    return logits, fit


def network_pays(linear_logits, network_logits, y, weights):
    """Whether a learned embedding predicts held-out answers clearly better than items.

    The simpler stays unless the mean gain in log-likelihood clearly exceeds its
    standard error, because a few held-out answers tell a small gain from luck badly.

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
    n_effective = 1 / (share @ share)
    errors = ERRORS * np.sqrt(1 + FEW / n_effective)
    return bool(mean > errors * np.linalg.norm(share * (gains - mean)))


def side_by_side(train, solve, at_once):
    """Train a network and solve for the linear head, at once where two threads are.

    Steps on mini-batches gain little from a second thread, and a small fit takes only
    one; together they take the time of the longer.

    Parameters
    ----------
    train, solve : callable
        Without arguments, independent; `train` keeps the calling thread.
    at_once : bool
        Whether they may take a thread each.

    Returns
    -------
    trained, linear : object
        What they return.
    """
    if not at_once or torch.get_num_threads() == 1:
        return train(), solve()
    with one_torch_thread(), ThreadPoolExecutor(1) as pool:
        linear = pool.submit(solve)
        return train(), linear.result()
