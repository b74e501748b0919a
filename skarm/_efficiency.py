"""`design_efficiency`: how good a batch of pairs is, beside the best there could be."""

import numpy as np
import torch
from sklearn.utils import check_random_state

from skarm import _candidates
from skarm._data.checks import check_some_pairs
from skarm._information import certificate, pair_pool
from skarm._pool_design import make_design

__all__ = ["design_efficiency"]


def design_efficiency(
    picks, pool, *, estimator=None, past=None, candidates=None, n_rounds=20
):
    """Provable lower bound on the D-efficiency of a batch of pairs.

    With M(S) = alpha I + Σ_past v x xᵀ + Σ_S v x xᵀ for a batch S, v = p (1 - p) and d
    features of the last layer, the D-efficiency is

        (det M(S) / det M(S*))^(1/d),

    S* the best batch of as many distinct candidates. It is not known, but det M(S*) is
    bounded from above by the dual of its relaxation to weights in [0, 1], so that 0.96
    says: at least 0.96 of the best possible batch.

    Parameters
    ----------
    picks : array-like of shape (n_pairs,), int
        The batch: distinct indices into `pool`, as `query` returns them.
    pool : Comparisons or array of shape (n, 2, n_features)
        The pool; also a lazy one of every pair, however many.
    estimator : estimator, default=None
        Fitted reward model, or what holds it. Without one, v = 1/4, the items
        themselves are the features, and alpha is that of a cold start.
    past : Comparisons or array, default=None
        The comparisons already asked; by default those the estimator remembers.
    candidates : array-like of int or bool, default=None
        Indices or mask of the pairs that the best batch may choose from, such as those
        not yet asked; the batch itself joins them. By default all of the pool.
    n_rounds : int, default=20
        Rounds that tighten the bound; fewer, once it hardly moves.

    Returns
    -------
    efficiency : float
        In (0, 1].

    Raises
    ------
    ValueError
        If `picks` are not distinct indices into the pool.

    See Also
    --------
    skarm.ActiveComparisonSampler : Chooses batches.

    Notes
    -----
    A round costs one look at all candidates, O(n_candidates d), or a scan of a lazy
    pool as for a batch of every pair, and O(n_pairs d²) times a few hundred. Memory in
    bytes, for N listed candidates: ``8 (2 n_items d + 8 N) + 8 m (3 d + 8)`` with m at
    most 8 n_rounds n_pairs; on a lazy pool of more than 200,000 pairs, instead of the
    part in N, that of a batch of every pair.

    Rules that leave outlying pairs alone (`eligible`) are measured here against all
    candidates, outlying ones too; pass those that count as `candidates`.

    References
    ----------
    .. [1] Kiefer and Wolfowitz, "The equivalence of two extremum problems", Canadian
       Journal of Mathematics 12, 1960.

    Examples
    --------
    >>> import numpy as np
    >>> from skarm import ActiveComparisonSampler, Comparisons
    >>> from skarm.metrics import design_efficiency
    >>> items = np.random.RandomState(0).standard_normal((40, 4))
    >>> pool = Comparisons.all_pairs(items)
    >>> sampler = ActiveComparisonSampler(
    ...     "greedy_d_optimal", strategy_params={"eligible": 1.0}, random_state=0
    ... )
    >>> design_efficiency(sampler.query(pool, n_pairs=30), pool) > 0.95
    True
    """
    pool = check_some_pairs(pool)
    picks = _candidates.as_indices(picks, len(pool), "picks")
    if len(picks) == 0 or len(np.unique(picks)) < len(picks):
        raise ValueError(
            f"picks must be distinct indices, one at least. Got {len(picks)}, "
            f"{len(np.unique(picks))} of them distinct. Pass what query returned."
        )
    is_vast = pool.is_lazy and len(pool) > _candidates.MAX_CANDIDATES
    is_vast = is_vast and candidates is None
    if is_vast:  # a sample, for the alpha of a cold start
        sample = pool._pairs.sample(_candidates.MAX_CANDIDATES, check_random_state(0))
        index = np.concatenate([picks, np.setdiff1d(sample, picks)])
    else:
        index = np.arange(len(pool))
        if candidates is not None:
            index = _candidates.as_indices(candidates, len(pool), "candidates")
        index = np.concatenate([picks, np.setdiff1d(index, picks)])
    design = make_design(pool, index, estimator, past=past, whole=is_vast)
    embedding = design.tensor("embedding").double()
    matrix = design.tensor("past_information").double().clone()
    matrix += design.tensor("prior").double()
    first, second = design.tensor("pairs").T
    weights = design.tensor("variances").double()
    n_pairs = len(picks)
    batch = first[:n_pairs], second[:n_pairs]
    if is_vast:
        scope, rewards = pool._pairs.scope, design.tensor("rewards").double()
        items = pair_pool.make_pool(embedding, rewards, design.groups, scope, None)
        place = items.item.argsort()
        keys = items.code(*(place[side] for side in batch))
        top = certificate.top_of_pool(items, n_pairs)
    else:
        keys = torch.arange(n_pairs, device=first.device)
        top = certificate.top_of_list(embedding, first, second, weights, n_pairs)
    rows = certificate.rows_of(embedding, *batch, weights[:n_pairs])
    return certificate.d_efficiency(matrix, rows, keys, top, n_rounds)
