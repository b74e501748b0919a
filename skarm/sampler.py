"""ActiveComparisonSampler: which comparisons to ask next."""

import inspect
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skarm import _fisher
from skarm._checks import check_numeric, check_some_pairs
from skarm._enumeration import PairEnumeration, sample_indices
from skarm._items import same_items
from skarm._networks import resolve_device, to_torch
from skarm.exceptions import PoolExhaustedError
from skarm.strategies import EVERY_PAIR, Design, Picks, get_strategy

__all__ = ["ActiveComparisonSampler"]

#: Pools with more candidates than this are thinned to a random subset of this size.
MAX_CANDIDATES = 200_000
#: Items per call of an executor.
BLOCK_SIZE = 4096


class ActiveComparisonSampler(BaseEstimator):
    """Query strategy over pairs of items.

    Parameters
    ----------
    strategy : str or callable, default="auto"
        A name of :func:`skarm.strategies.get_strategy_names`, or a function
        ``f(design, n_pairs, *, rng, **params)`` returning positions among the
        candidates. "auto" is the default that measurements favour, at present
        ``"greedy_d_optimal"``.
    strategy_params : dict, default=None
        Keyword arguments of the strategy, such as ``{"eligible": 1.0}``.
    random_state : int, RandomState or None, default=None
        Breaks ties between equal utilities, and draws what is random. An int makes
        every ``query`` of an unchanged pool return the same pairs.

    See Also
    --------
    ActiveRewardLearner : The loop around it.
    skarm.strategies : The strategies, each with formula, cost and source.

    Notes
    -----
    Memory is O(n_candidates + n_items d) for the items that the candidates name. From a
    lazy pool of more than 200,000 pairs, ``"greedy_d_optimal"`` picks exactly among all
    of them, see :func:`skarm._all_pairs.greedy_d_all_pairs`; for other strategies, and
    other pools, that many candidates are first drawn at random, unless `candidates`
    names them.

    Examples
    --------
    >>> import numpy as np
    >>> from skarm import ActiveComparisonSampler, Comparisons
    >>> items = np.array([[0.0], [1.0], [5.0]])
    >>> pool = Comparisons.all_pairs(items)
    >>> sampler = ActiveComparisonSampler("xtx", random_state=0)
    >>> pool.pairs[sampler.query(pool, n_pairs=1)]
    array([[0, 2]])
    """

    _parameter_constraints = {
        "strategy": [str, callable],
        "strategy_params": [dict, None],
        "random_state": ["random_state"],
    }

    def __init__(self, strategy="auto", *, strategy_params=None, random_state=None):
        self.strategy = strategy
        self.strategy_params = strategy_params
        self.random_state = random_state

    def query(
        self,
        X_pool,
        *,
        estimator=None,
        past=None,
        n_pairs=1,
        candidates=None,
        exclude=None,
        return_utilities=False,
        executor=None,
    ):
        """Choose the pairs to ask next.

        Parameters
        ----------
        X_pool : Comparisons or array of shape (n, 2, n_features)
            The pairs that may be asked; lazy pools are welcome.
        estimator : estimator, default=None
            The fitted reward model, or a pipeline that ends in one, or a search or
            learner that holds one. None is a cold start: the items must be numbers,
            every answer counts as open, and designs are label-free.
        past : Comparisons or array of shape (n, 2, n_features), default=None
            The comparisons already asked; their information counts. None takes the
            estimator's own ``information_``, where it has one.
        n_pairs : int, default=1
            How many pairs to choose.
        candidates : array-like of int or bool, default=None
            Restrict the choice to these pairs of the pool.
        exclude : Comparisons, or array-like of int or bool, default=None
            Pairs that must not be chosen: pairs of the same items in either order, or
            indices into the pool.
        return_utilities : bool, default=False
            Also return the utility of each choice.
        executor : concurrent.futures.Executor, default=None
            Its ``map`` embeds the items in parallel blocks.

        Returns
        -------
        indices : ndarray of shape (n_pairs,), intp
            Into `X_pool`, distinct, in the order of choice.
        utilities : ndarray of shape (n_pairs,)
            Only if `return_utilities`: of each pair when it was chosen, in the
            strategy's unit.

        Raises
        ------
        PoolExhaustedError
            If fewer than `n_pairs` candidates are left.
        NotFittedError
            If `estimator` is not fitted.
        ValueError
            If the strategy or a parameter is unknown, the pool is empty, or the items
            are not finite numbers.
        """
        self._validate_params()
        strategy = get_strategy(self.strategy)
        params = self._check_strategy_params(strategy)
        pool = check_some_pairs(X_pool)
        if not isinstance(n_pairs, Integral) or n_pairs < 1:
            raise ValueError(f"n_pairs must be a positive integer. Got {n_pairs!r}.")
        rng = check_random_state(self.random_state)
        index = _candidate_indices(pool, candidates, exclude, n_pairs, rng)
        every_pair = None
        if pool.is_lazy and candidates is None and len(pool) > MAX_CANDIDATES:
            every_pair = EVERY_PAIR.get(strategy)
        design = _make_design(
            *(pool, index, estimator, past, executor), whole=every_pair is not None
        )
        if every_pair is not None:
            with _progress() as progress:
                indices, utilities = every_pair(
                    *(design, int(n_pairs)),
                    rng=rng,
                    **_every_pair_params(pool, exclude),
                    progress=progress,
                    **params,
                )
            indices = pool._pairs.index_of(indices)
        else:
            picks = strategy(design, int(n_pairs), rng=rng, **params)
            picks = _check_picks(picks, n_pairs, design.n_pairs, strategy)
            indices, utilities = index[picks.positions], picks.utilities
        return (indices, utilities) if return_utilities else indices

    def __call__(self, learner, X_pool, n_instances=1, **query_params):
        """Query strategy of a modAL learner.

        Parameters
        ----------
        learner : modAL ActiveLearner
            Its ``estimator`` is the reward model (not yet fitted is a cold start) and
            its ``X_training`` the comparisons asked so far.
        X_pool : Comparisons or array of shape (n, 2, n_features)
            The pool.
        n_instances : int, default=1
            How many pairs to choose.
        **query_params : dict
            Further arguments of :meth:`query`.

        Returns
        -------
        indices : ndarray of shape (n_instances,)
            Into `X_pool`.
        utilities : ndarray of shape (n_instances,)
            Always returned: modAL misreads a bare array of two indices.

        Raises
        ------
        TypeError
            If the learner has no single ``estimator`` (a modAL Committee).
        """
        if not hasattr(learner, "estimator"):
            raise TypeError(
                "the learner must have one estimator. "
                f"Got {type(learner).__name__}; a committee has several."
            )
        estimator, past = learner.estimator, getattr(learner, "X_training", None)
        try:
            check_is_fitted(estimator)
        except NotFittedError:
            estimator = None
        return self.query(
            X_pool,
            **{"estimator": estimator, "past": past, **query_params},
            n_pairs=n_instances,
            return_utilities=True,
        )

    def _check_strategy_params(self, strategy):
        params = dict(self.strategy_params or {})
        known = inspect.signature(strategy).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
        names = [n for n, p in known.items() if p.kind is p.KEYWORD_ONLY and n != "rng"]
        unknown = [name for name in params if name not in names]
        if unknown and not takes_any:
            name = getattr(strategy, "__name__", repr(strategy))
            raise ValueError(
                f"strategy_params of {name!r} may hold {names or 'nothing'}. "
                f"Got {unknown}."
            )
        return params


# ------------------------------------------------------------------ the candidates


def _candidate_indices(pool, candidates, exclude, n_pairs, rng):
    """Indices into the pool that may be chosen, thinned to `MAX_CANDIDATES`."""
    n_pool = len(pool)
    n_most = max(MAX_CANDIDATES, n_pairs)
    banned = np.empty(0, dtype=np.int64)
    if exclude is not None:
        banned = _excluded_indices(pool, exclude)
    if candidates is not None:
        index = np.unique(_as_indices(candidates, n_pool, "candidates"))
    elif n_pool > n_most:
        # Enough that what is left after the exclusions is still a full draw.
        size = min(n_pool, n_most + len(banned))
        index = np.sort(sample_indices(n_pool, size, rng))
    else:
        index = np.arange(n_pool)
    index = index[~np.isin(index, banned)]
    if len(index) > n_most and candidates is None:
        index = np.sort(rng.permutation(index)[:n_most])
    if n_pairs > len(index):
        raise PoolExhaustedError(
            f"n_pairs must be at most the number of candidates left, {len(index)} of "
            f"{n_pool} in the pool. Got n_pairs={n_pairs}. Ask for fewer, or offer a "
            "larger pool."
        )
    return index


def _as_indices(index, n_pool, name):
    index = np.asarray(index)
    if index.dtype == bool:
        if index.shape != (n_pool,):
            raise ValueError(
                f"a boolean {name} must have one entry per pair of the pool, {n_pool}. "
                f"Got shape {index.shape}."
            )
        return np.flatnonzero(index)
    if index.size == 0:
        return np.empty(0, dtype=np.int64)
    if index.dtype.kind not in "iu" or index.ndim != 1:
        raise ValueError(
            f"{name} must be indices into the pool. "
            f"Got dtype {index.dtype} and shape {index.shape}."
        )
    outside = (index < 0) | (index >= n_pool)
    if outside.any():
        raise ValueError(
            f"{name} must be indices from 0 to {n_pool - 1}. Got {index[outside][0]}."
        )
    return index.astype(np.int64)


def _excluded_indices(pool, exclude):
    if not hasattr(exclude, "pairs"):
        return _as_indices(exclude, len(pool), "exclude")
    if not same_items(exclude.items, pool.items):
        raise ValueError(
            "exclude must be comparisons of the pool's own items, because pairs are "
            f"matched by item index. Got other items ({exclude!r} against {pool!r}). "
            "Pass indices into the pool instead."
        )
    everything = PairEnumeration(pool.n_items)
    banned = everything.index_of(exclude.pairs)
    if pool.is_lazy:
        index = pool._pairs.index_of(exclude.pairs)
        return index[index >= 0]
    return np.flatnonzero(np.isin(everything.index_of(pool.pairs), banned))


# ---------------------------------------------------------------------- the design


def _make_design(pool, index, estimator, past, executor, whole=False):
    """Describe the candidates to a strategy, through the model if there is one.

    `whole` keeps every item of a lazy pool, not only those that the candidates name.
    """
    item_steps, estimator = _open(estimator)
    chosen = pool if whole else pool[index]
    for steps in item_steps:
        chosen = steps.transform(chosen)
    chosen = chosen.compact()
    pairs = chosen[index].pairs if whole else chosen.pairs
    device = _device_of(estimator)

    if estimator is None:

        def embed(items):
            check_numeric(items, "a query without an estimator")
            items = check_array(items, accept_sparse="csr", dtype=np.float64)
            return items.toarray() if hasattr(items, "toarray") else items

        reward = None
    else:

        def embed(items):
            if not hasattr(estimator, "embed"):
                raise TypeError(
                    "this strategy needs an estimator with embed(items), such as "
                    f"BradleyTerryRegressor. Got {type(estimator).__name__}."
                )
            return _map_blocks(executor, estimator.embed, items)

        def reward():
            return column_or_1d(_map_blocks(executor, estimator.predict, chosen.items))

    def past_information():
        if past is None:
            if getattr(estimator, "information_", 0) is None:
                raise ValueError(
                    "past must be given, because the estimator kept no information_ "
                    "(its embedding is too wide). Got None. Pass the comparisons "
                    "asked so far, or reduce the items first."
                )
            nothing = np.zeros((design.embedding.shape[1],) * 2)
            return getattr(estimator, "information_", nothing)
        asked = check_some_pairs(past)
        for steps in item_steps:
            asked = steps.transform(asked)
        asked = asked.compact()
        first, second = to_torch(asked.pairs, device).T
        embedding = to_torch(embed(asked.items), device, torch.float64)
        gap = np.zeros(len(asked))
        if estimator is not None:
            rewards = column_or_1d(estimator.predict(asked.items))
            gap = rewards[asked.pairs[:, 0]] - rewards[asked.pairs[:, 1]]
        v = torch.as_tensor(expit(gap) * expit(-gap)).to(device)
        return _fisher.information(embedding, first, second, v).cpu().numpy()

    design = Design(
        pairs,
        lambda: embed(chosen.items),
        reward=reward,
        coef=getattr(estimator, "coef_", None),
        alpha=getattr(estimator, "alpha_", None),
        past=past_information,
        device=device,
    )
    return design


def _open(estimator):
    """The item steps (fitted pipelines), and the fitted model that follows them."""
    item_steps = []
    if estimator is not None:
        check_is_fitted(estimator)
    while True:
        if hasattr(estimator, "best_estimator_"):  # a search
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "teach") and hasattr(estimator, "estimator_"):
            # A learner. Without teach, estimator_ is an ensemble's unfitted template.
            estimator = estimator.estimator_
        elif isinstance(estimator, Pipeline):
            item_steps += [estimator[:-1]] if len(estimator) > 1 else []
            estimator = estimator[-1]
        else:
            return item_steps, estimator


def _device_of(estimator):
    """The model's device, or the CPU where it is not here or means something else."""
    try:
        return resolve_device(getattr(estimator, "device", None) or "auto")
    except (TypeError, ValueError):
        return resolve_device("cpu")


def _map_blocks(executor, function, items):
    if executor is None or items.shape[0] <= BLOCK_SIZE:
        return function(items)
    starts = range(0, items.shape[0], BLOCK_SIZE)
    blocks = [items[start : start + BLOCK_SIZE] for start in starts]
    return np.concatenate(list(executor.map(function, blocks)))


def _check_picks(picks, n_pairs, n_candidates, strategy):
    """What a strategy returned, as positions and utilities; callables are checked."""
    if not isinstance(picks, Picks):
        picks = Picks(np.asarray(picks), np.full(n_pairs, np.nan))
    positions = np.asarray(picks.positions)
    valid = (
        positions.shape == (n_pairs,)
        and positions.dtype.kind in "iu"
        and len(np.unique(positions)) == n_pairs
        and positions.min() >= 0
        and positions.max() < n_candidates
    )
    if not valid:
        raise ValueError(
            f"a strategy must return {n_pairs} distinct positions from 0 to "
            f"{n_candidates - 1}. {getattr(strategy, '__name__', strategy)!r} returned "
            f"{np.array2string(positions, threshold=10)}."
        )
    return Picks(positions, np.asarray(picks.utilities, dtype=np.float64))


# ------------------------------------------------------------- every pair of a pool


def _every_pair_params(pool, exclude):
    """What a rule over every pair must know of a lazy pool."""
    groups = pool.groups
    if groups is not None:
        groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
    excluded = None
    if exclude is not None:
        excluded = pool[_excluded_indices(pool, exclude)].pairs
    return {"scope": pool._pairs.scope, "groups": groups, "excluded": excluded}


@contextmanager
def _progress():
    """A bar on a terminal, for what takes more than two seconds."""
    from tqdm.auto import tqdm

    with tqdm(desc="choosing pairs", unit="pair", delay=2, disable=None) as bar:

        def progress(n_done, n_total):
            bar.total = n_total
            bar.update(n_done - bar.n)

        yield progress
