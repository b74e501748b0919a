"""ActiveComparisonSampler: which comparisons to ask next."""

import inspect
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skarm import _candidates
from skarm._data.checks import Interval, check_n_pairs, check_some_pairs
from skarm._pool_design import make_design
from skarm.exceptions import PoolExhaustedError
from skarm.strategies import EVERY_PAIR, Picks, Selection, get_strategy

__all__ = ["ActiveComparisonSampler"]


class ActiveComparisonSampler(BaseEstimator):
    """Query strategy over pairs of items.

    Parameters
    ----------
    strategy : str or callable, default="auto"
        A name of :func:`skarm.strategies.get_strategy_names`, or a function
        ``f(design, n_pairs, *, rng, **params)`` returning positions among the
        candidates. "auto" is the default that measurements favour,
        :func:`~skarm.strategies.adaptive`; `explain_` says what it did and why.
    strategy_params : dict, default=None
        Keyword arguments of the strategy, such as ``{"eligible": 1.0}``.
    max_pairs_per_item, max_pairs_per_group : int, default=None
        In how many pairs of one batch an item, or a group, may occur; a pair inside a
        group is one occurrence of it. Groups are those of the pool's items.
    random_fraction : float, default=0.0
        Share of each batch that is drawn uniformly from what the strategy left; see
        `explain_`. Where it is not a whole number of pairs, chance decides.
    random_state : int, RandomState or None, default=None
        Breaks ties between equal utilities, and draws what is random. An int makes
        every ``query`` of an unchanged pool return the same pairs.

    Attributes
    ----------
    explain_ : dict
        About the last query: the ``strategy`` and ``why`` it chose as it did, how many
        ``n_candidates`` there were, and which picks ``is_random``, a boolean array.

    See Also
    --------
    ActiveRewardLearner : The loop around it.
    skarm.strategies : The strategies, each with formula, cost and source.

    Notes
    -----
    Memory is O(n_candidates + n_items d) for the items that the candidates name. From a
    lazy pool of more than 200,000 pairs, ``"greedy_d_optimal"`` and ``"v_optimal"``
    pick exactly among all of them (:mod:`skarm.strategies.every_pair`); for other
    strategies, other pools, and where pairs have costs, that many candidates are first
    drawn at random, unless `candidates` names them.

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
        "max_pairs_per_item": [Interval(Integral, 1, None, closed="left"), None],
        "max_pairs_per_group": [Interval(Integral, 1, None, closed="left"), None],
        "random_fraction": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        strategy="auto",
        *,
        strategy_params=None,
        max_pairs_per_item=None,
        max_pairs_per_group=None,
        random_fraction=0.0,
        random_state=None,
    ):
        self.strategy = strategy
        self.strategy_params = strategy_params
        self.max_pairs_per_item = max_pairs_per_item
        self.max_pairs_per_group = max_pairs_per_group
        self.random_fraction = random_fraction
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
        target=None,
        cost=None,
        return_utilities=False,
        executor=None,
        progress=None,
    ):
        """Choose the pairs to ask next.

        Parameters
        ----------
        X_pool : Comparisons or array of shape (n, 2, n_features)
            The pairs that may be asked; lazy pools are welcome. Of a question that is
            listed twice, one copy is chosen.
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
        target : Comparisons, or items as the pool's, default=None
            What the model will be used on, for the strategies that aim at something
            (``"v_optimal"``, ``"bait"``): these pairs, or every pair of these items.
            None is the pool.
        cost : array-like of shape (n,) or callable, default=None
            What asking each pair of the pool costs, positive, in any unit; strategies
            weigh utility per cost. A callable gets Comparisons and returns their costs.
        return_utilities : bool, default=False
            Also return the utility of each choice.
        executor : concurrent.futures.Executor, default=None
            Its ``map`` embeds the items in parallel blocks.
        progress : bool, default=None
            Show a bar for what takes more than two seconds; None does on a terminal.

        Returns
        -------
        indices : ndarray of shape (n_pairs,), intp
            Into `X_pool`, distinct, in the order of choice.
        utilities : ndarray of shape (n_pairs,)
            Only if `return_utilities`: of each pair when it was chosen, in the
            strategy's unit; zero for those drawn at random.

        Raises
        ------
        PoolExhaustedError
            If fewer than `n_pairs` candidates are left, or the caps leave fewer.
        NotFittedError
            If `estimator` is not fitted.
        ValueError
            If the strategy or a parameter is unknown, the pool is empty, costs are not
            positive, groups are capped but not known, or the items are not finite
            numbers.
        """
        self._validate_params()
        strategy = get_strategy(self.strategy)
        params = self._check_strategy_params(strategy)
        pool = check_some_pairs(X_pool)
        n_pairs = check_n_pairs(n_pairs)
        if self.max_pairs_per_group is not None and pool.groups is None:
            raise ValueError(
                "max_pairs_per_group needs the groups of the items. Got a pool without "
                "groups. Pass Comparisons(items, pairs, groups=prompt_ids)."
            )
        rng = check_random_state(self.random_state)
        index = _candidates.candidate_indices(pool, candidates, exclude, n_pairs, rng)
        n_random = _round_at_random(self.random_fraction * n_pairs, rng)
        is_vast = pool.is_lazy and len(pool) > _candidates.MAX_CANDIDATES
        every_pair = None
        if is_vast and candidates is None and cost is None:
            every_pair = EVERY_PAIR.get(strategy)
        with _progress(n_pairs, progress) as report:
            design = make_design(
                *(pool, index, estimator),
                past=past,
                target=target,
                executor=executor,
                whole=every_pair is not None,
                costs=None if cost is None else _costs(cost, pool, index),
                max_pairs_per_item=self.max_pairs_per_item,
                max_pairs_per_group=self.max_pairs_per_group,
                progress=report,
            )
            n_chosen = n_pairs - n_random
            if every_pair is None or n_chosen == 0:
                picks = _pick(design, strategy, n_chosen, rng, params)
                chosen, pairs = index[picks.positions], design.pairs[picks.positions]
            else:
                scope = _scope(pool, design, exclude)
                picks = every_pair(design, n_chosen, rng=rng, **scope, **params)
                chosen, pairs = pool._pairs.index_of(picks.positions), picks.positions
            extra = _pick_at_random(design, n_random, pairs, rng)
        indices = np.concatenate([chosen, index[extra]])
        if len(indices) < n_pairs:
            raise PoolExhaustedError(
                f"n_pairs must be at most what the strategy's limits leave. Got n_pairs"
                f"={n_pairs}, of which {len(indices)} could be chosen with "
                f"max_pairs_per_item={self.max_pairs_per_item} and max_pairs_per_group="
                f"{self.max_pairs_per_group}. Ask for fewer, or raise the limit."
            )
        self.explain_ = {
            "strategy": getattr(strategy, "__name__", repr(strategy)),
            "why": picks.why,
            "n_candidates": len(pool) if every_pair else len(index),
            "is_random": np.arange(n_pairs) >= len(chosen),
        }
        utilities = np.concatenate([picks.utilities, np.zeros(len(extra))])
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
        if not params:
            return params
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


# -------------------------------------------------------------------- the choosing


def _pick(design, strategy, n_pairs, rng, params):
    """What a strategy picks, as positions and utilities; callables are checked."""
    if n_pairs == 0:
        return Picks(np.empty(0, dtype=np.intp), np.empty(0))
    picks = strategy(design, n_pairs, rng=rng, **params)
    if not isinstance(picks, Picks):
        positions = np.asarray(picks)
        picks = Picks(positions, np.full(positions.size, np.nan))
    positions, name = np.asarray(picks.positions), getattr(strategy, "__name__", "?")
    n_least = 0 if design.caps else n_pairs
    valid = (
        positions.ndim == 1
        and n_least <= len(positions) <= n_pairs
        and positions.dtype.kind in "iu"
        and len(set(positions.tolist())) == len(positions)
        and positions.min(initial=0) >= 0
        and positions.max(initial=-1) < design.n_pairs
    )
    if not valid:
        raise ValueError(
            f"a strategy must return {n_pairs} distinct positions from 0 to "
            f"{design.n_pairs - 1}. {name!r} returned "
            f"{np.array2string(positions, threshold=10)}."
        )
    if design.caps:
        selection = Selection(design)
        for position in positions:
            if not selection.open[position]:
                raise ValueError(
                    "a strategy must keep to design.max_pairs_per_item and "
                    f"max_pairs_per_group. {name!r} returned position {position} after "
                    "its item or group was full. Pick through strategies.Selection or "
                    "strategies.top_n, which keep to them."
                )
            selection.take(position)
    return picks._replace(utilities=np.asarray(picks.utilities, dtype=np.float64))


def _pick_at_random(design, n_pairs, chosen, rng):
    """Positions drawn uniformly from what these chosen pairs of items leave."""
    if n_pairs == 0:
        return np.empty(0, dtype=np.intp)
    taken = {tuple(sorted(pair)) for pair in chosen.tolist()}
    selection = Selection(design)
    selection.count(chosen)
    for position in rng.permutation(design.n_pairs):
        pair = tuple(sorted(design.pairs[position].tolist()))
        if selection.open[position] and pair not in taken:
            selection.take(position)
            if len(selection) == n_pairs:
                break
    return selection.picks().positions


def _round_at_random(value, rng):
    """A whole number with this mean, one of the two nearest."""
    whole = int(value)
    return whole + int(value > whole and rng.random_sample() < value - whole)


def _costs(cost, pool, index):
    """Costs of the candidates."""
    costs = cost(pool[index]) if callable(cost) else cost
    try:
        costs = np.asarray(costs, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"cost must give one number per pair. Got {error}.") from error
    n_expected = len(index) if callable(cost) else len(pool)
    if costs.shape != (n_expected,) or not (np.isfinite(costs) & (costs > 0)).all():
        raise ValueError(
            f"cost must give one positive, finite number per pair, {n_expected}. Got "
            f"shape {costs.shape} with values from {costs.min(initial=np.inf):g} to "
            f"{costs.max(initial=-np.inf):g}."
        )
    return costs if callable(cost) else costs[index]


def _scope(pool, design, exclude):
    """What a rule over every pair must know of a lazy pool."""
    excluded = None
    if exclude is not None:
        excluded = pool[_candidates.excluded_indices(pool, exclude)].pairs
    groups = design.groups
    return {"scope": pool._pairs.scope, "groups": groups, "excluded": excluded}


@contextmanager
def _progress(n_pairs, shown):
    """A bar for what takes more than two seconds, by default on a terminal."""
    from tqdm.auto import tqdm

    disable = None if shown is None else not shown
    with tqdm(
        desc="choosing pairs", unit="pair", total=n_pairs, delay=2, disable=disable
    ) as bar:
        yield lambda n_done, *_: bar.update(n_done - bar.n)
