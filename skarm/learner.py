"""ActiveRewardLearner: the loop of asking, answering and refitting."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import _check_method_params

from skarm._callbacks import CallbackSupportMixin, rounds, with_callbacks
from skarm._candidates import excluded_indices
from skarm._data.checks import (
    HasMethods,
    Interval,
    check_n_pairs,
    check_outcomes,
    check_some_pairs,
)
from skarm._data.items import same_items
from skarm._data.reprs import progress_text
from skarm._fit_params import join_fit_params, route_fit_params
from skarm._model.prior import mean_variance
from skarm._persistence import load, save
from skarm.comparisons import Comparisons
from skarm.exceptions import PoolExhaustedError
from skarm.metrics import pairwise_accuracy

__all__ = ["ActiveRewardLearner"]


class ActiveRewardLearner(
    CallbackSupportMixin, MetaEstimatorMixin, RegressorMixin, BaseEstimator
):
    """Active learning of a reward model.

    With people: ``query`` a batch, show it, ``teach`` the answers, repeat. With
    recorded answers: ``fit(X, y)`` replays that loop within a budget, as if each answer
    were given only when asked for, so that ``GridSearchCV`` can compare strategies.

    Parameters
    ----------
    estimator : estimator
        The reward model, or a pipeline that ends in one; cloned. The item steps of a
        pipeline see no answer: they are fitted once, on the first pool.
    sampler : ActiveComparisonSampler
        The query strategy; cloned.
    budget : int, default=None
        Most comparisons to ask in all, skipped ones included; None asks as long as
        there are candidates. A search over strategies needs a budget well below the
        recorded answers of a fold: asking for all of them leaves nothing to choose.
    n_initial : int, default=32
        Pairs of the first round of a replay, chosen without a model.
    n_pairs : int, default=32
        Pairs of each later round of a replay.
    random_state : int, RandomState or None, default=None
        Seeds each round's query; None leaves that to the sampler's `random_state`.

    Attributes
    ----------
    estimator_ : estimator or Pipeline
        Fitted on all answers so far; absent before the first answer.
    asked_ : Comparisons
        The comparisons taught so far, in order.
    y_ : ndarray of shape (n_asked,)
        Their outcomes, NaN where the person would not say.
    asked_indices_ : ndarray of shape (n_asked,)
        After a replay: the same as indices into its `X`.
    asked_at_random_ : ndarray of shape (n_asked,), bool
        After a replay: which of them the sampler's `random_fraction` drew.
    explain_ : dict
        About the last query, from the sampler.
    n_left_ : int
        Pairs that could still be asked after the last query or replay: of its pool, and
        within the budget.
    history_ : list of dict
        One entry per round: ``n_labels``, ``n_new``, ``accuracy_before`` (pairwise
        accuracy on the new answers before learning them, an honest running estimate;
        NaN in the first round) and ``alpha``, one over the mean prior variance.

    See Also
    --------
    skarm.annotators : Who answers.

    Examples
    --------
    >>> from skarm import ActiveComparisonSampler, ActiveRewardLearner
    >>> from skarm import BradleyTerryRegressor, Comparisons
    >>> items = [[0.0], [1.0], [2.0], [3.0]]
    >>> learner = ActiveRewardLearner(
    ...     BradleyTerryRegressor(alpha=1.0), ActiveComparisonSampler(random_state=0)
    ... )
    >>> pool = Comparisons.all_pairs(items)
    >>> indices, asked = learner.query(pool, n_pairs=2)
    >>> answers = (asked.pairs[:, 0] > asked.pairs[:, 1]).astype(float)
    >>> bool(learner.teach(asked, answers).predict(items).argmax() == 3)
    True
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"])],
        "sampler": [HasMethods(["query"])],
        "budget": [Interval(Integral, 1, None, closed="left"), None],
        "n_initial": [Interval(Integral, 1, None, closed="left")],
        "n_pairs": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        sampler,
        *,
        budget=None,
        n_initial=32,
        n_pairs=32,
        random_state=None,
    ):
        self.estimator = estimator
        self.sampler = sampler
        self.budget = budget
        self.n_initial = n_initial
        self.n_pairs = n_pairs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimator_")

    # ------------------------------------------------------------------ with people

    def query(self, X_pool, n_pairs=1, **query_params):
        """Choose the pairs to show next.

        Parameters
        ----------
        X_pool : Comparisons or array of shape (n, 2, n_features)
            What may be asked. Pairs already taught are left out where the pool has the
            same items; with other items, leave them out yourself.
        n_pairs : int, default=1
            How many.
        **query_params : dict
            For :meth:`ActiveComparisonSampler.query`, such as ``cost`` or ``target``.

        Returns
        -------
        indices : ndarray of shape (n_pairs,)
            Into `X_pool`.
        asked : Comparisons
            ``X_pool[indices]``.

        Raises
        ------
        PoolExhaustedError
            If the pool, or the budget, has fewer pairs left.
        ValueError
            As for :meth:`ActiveComparisonSampler.query`.
        """
        self._validate_params()
        pool, n_pairs = check_some_pairs(X_pool), check_n_pairs(n_pairs)
        n_asked = len(getattr(self, "y_", ()))
        if self.budget is not None and n_asked + n_pairs > self.budget:
            raise PoolExhaustedError(
                f"the budget must cover the pairs asked. Got budget={self.budget} "
                f"for {n_asked} asked and n_pairs={n_pairs} more. Raise the budget, or "
                "stop."
            )
        exclude = [query_params.pop("exclude", None)]
        if n_asked and same_items(self.asked_.items, pool.items):
            exclude.append(self.asked_)
        exclude = [excluded_indices(pool, e) for e in exclude if e is not None]
        exclude = np.unique(np.concatenate(exclude)) if exclude else None
        if exclude is not None:
            query_params["exclude"] = exclude
        indices = self._choose(pool, n_pairs, **query_params)
        n_left = len(pool) - (0 if exclude is None else len(exclude))
        if self.budget is not None:
            n_left = min(n_left, self.budget - n_asked)
        self.n_left_ = n_left - n_pairs
        return indices, pool[indices]

    def teach(self, X, y, **fit_params):
        """Learn answers: keep them, and refit on all answers so far.

        Parameters
        ----------
        X : Comparisons or array of shape (n, 2, n_features)
            The comparisons that were answered.
        y : array-like of shape (n,)
            Outcomes in [0, 1]; NaN for a pair the person would not judge, which is
            then neither learned nor asked again.
        **fit_params : dict
            For the ``fit`` of the reward model, one entry per comparison, such as
            ``sample_weight``; the same ones every time.

        Returns
        -------
        self : ActiveRewardLearner
            Refitted.

        Raises
        ------
        ValueError
            If `y` is not valid or the model cannot be fitted; the learner is then as
            it was before.
        """
        self._validate_params()
        asked = check_some_pairs(X)
        y = check_outcomes(y, len(asked))
        known = getattr(self, "_fit_params", None)
        fit_params = join_fit_params(known, fit_params, len(y))
        before = dict(self.__dict__)
        if not hasattr(self, "item_steps_"):
            self._fit_item_steps(asked)
        accuracy = np.nan
        if hasattr(self, "model_") and not np.isnan(y).all():
            probability = self.model_.predict(self._transformed(asked))
            if not np.isin(y[~np.isnan(y)], 0.5).all():
                accuracy = pairwise_accuracy(y, probability)
        if hasattr(self, "asked_"):
            asked = Comparisons.concatenate([self.asked_, asked])
            y = np.concatenate([self.y_, y])
        n_new = len(y) - len(getattr(self, "y_", ()))
        self.asked_, self.y_, self._fit_params = asked, y, fit_params
        if np.isnan(y).all():  # nothing to learn from yet
            return self
        try:
            model = clone(self._final_step())
            self.model_ = model.fit(self._transformed(self.asked_), y, **fit_params)
        except BaseException:  # an interrupt too
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        self.estimator_ = self._assemble()
        record = {
            "n_labels": int(np.isfinite(y).sum()),
            "n_new": n_new,
            "accuracy_before": float(accuracy),
            "alpha": 1 / mean_variance(getattr(self.model_, "alpha_", np.nan)),
        }
        self.history_ = [*getattr(self, "history_", []), record]
        return self

    # ------------------------------------------------------------------- the replay

    @with_callbacks
    def fit(self, X, y, **fit_params):
        """Replay recorded answers: start afresh, and ask within the budget.

        Parameters
        ----------
        X : Comparisons or array of shape (n, 2, n_features)
            Comparisons whose answers were recorded.
        y : array-like of shape (n,)
            The outcomes. One is used only once its comparison is asked; comparisons
            with NaN are not candidates.
        **fit_params : dict
            For the ``fit`` of the reward model, one entry per comparison, such as
            ``sample_weight``. Item steps are never given any. With scikit-learn's
            metadata routing, what the model requests is handed on.

        Returns
        -------
        self : ActiveRewardLearner
            Fitted on at most `budget` answers.

        Raises
        ------
        ValueError
            If there is no recorded answer, or as for :meth:`teach`.
        """
        self._validate_params()
        X = check_some_pairs(X)
        y = check_outcomes(y, len(X))
        fit_params = route_fit_params(self, fit_params)
        recorded = np.flatnonzero(~np.isnan(y))
        if not len(recorded):
            raise ValueError(
                "y must hold recorded answers to replay. "
                f"Got {len(y)} comparisons, all NaN."
            )
        self._forget()
        pool, answers = X[recorded].compact(), y[recorded]
        fit_params = _check_method_params(X, fit_params, indices=recorded)
        self._fit_item_steps(pool)
        budget = min(self.budget or len(pool), len(pool))
        left = np.ones(len(pool), dtype=bool)
        order, is_random = np.empty(0, dtype=np.intp), []
        n_rounds = 1 + max(0, -((self.n_initial - budget) // self.n_pairs))
        with rounds(self, n_rounds) as each_round:
            for n_round in each_round:
                size = self.n_pairs if n_round else self.n_initial
                size = min(size, budget - len(order))
                new = self._choose(pool, size, candidates=np.flatnonzero(left))
                left[new] = False
                order = np.concatenate([order, new])
                no = np.zeros(size, dtype=bool)
                is_random.append(self.explain_.get("is_random", no))
                params = _check_method_params(pool, fit_params, indices=new)
                self.teach(pool[new], answers[new], **params)
        self.n_left_ = budget - len(order)
        self.asked_indices_ = recorded[order]
        self.asked_at_random_ = np.concatenate(is_random)
        return self

    def predict(self, X, **predict_params):
        """Rewards of items, or preference probabilities of comparisons.

        Parameters
        ----------
        X : items, Comparisons, or array (n, 2, n_features)
            What to predict, as raw as what the pipeline was given.
        **predict_params : dict
            For the model, such as ``return_std=True``.

        Returns
        -------
        prediction : ndarray
            As for :meth:`BradleyTerryRegressor.predict`.

        Raises
        ------
        NotFittedError
            Before the first answer.
        """
        self._check_taught()
        return self.estimator_.predict(X, **predict_params)

    def score(self, X, y, sample_weight=None):
        """Pairwise accuracy of the model on comparisons.

        Parameters
        ----------
        X, y
            Comparisons and their outcomes.
        sample_weight : array-like of shape (n,), default=None
            For the ``score`` of the model.

        Returns
        -------
        accuracy : float
            Between 0 and 1.
        """
        self._check_taught()
        params = {} if sample_weight is None else {"sample_weight": sample_weight}
        if params and _routing_enabled():
            params = process_routing(self, "score", **params).estimator.score
        return self.estimator_.score(X, y, **params)

    def get_metadata_routing(self):
        """How scikit-learn hands metadata through: to ``estimator``.

        Returns
        -------
        routing : MetadataRouter
            ``fit`` and ``score`` to those of the estimator.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="score", callee="score")
        router = MetadataRouter(owner=self)
        return router.add(estimator=self.estimator, method_mapping=mapping)

    # ------------------------------------------------------------ showing and keeping

    def __repr__(self, N_CHAR_MAX=700):
        progress = progress_text(self)
        text = super().__repr__(N_CHAR_MAX)
        return f"{text}  # {progress}" if progress else text

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        progress = progress_text(self)
        if "text/html" in bundle and progress:
            bundle["text/html"] = f"<p>{progress}</p>{bundle['text/html']}"
        return bundle

    def save(self, path):
        """Save everything: answers, models, the state of the random draws.

        Parameters
        ----------
        path : path-like
            A file; one that is there is replaced, and whole at every moment.

        Notes
        -----
        The file is a pickle after a first line of text. Load only what you trust; to
        share a learner, ``skops.io`` works too.
        """
        save(path, self)

    @classmethod
    def load(cls, path):
        """Load a saved learner, which goes on as if nothing had happened.

        Parameters
        ----------
        path : path-like
            A file written by :meth:`save`, from a source you trust.

        Returns
        -------
        learner : ActiveRewardLearner
            As it was.

        Raises
        ------
        ValueError
            If the file is another, damaged, or written by a newer skarm.
        """
        return load(path, cls)

    # -------------------------------------------------------------------- machinery

    def __getstate__(self):
        state = super().__getstate__().copy()
        state.pop("_store", None)  # a cache
        return state

    def _check_taught(self):
        if not hasattr(self, "estimator_"):
            raise NotFittedError(
                "This ActiveRewardLearner has learned no answer yet. Call teach(asked, "
                "answers) after query, or fit(X, y) to replay recorded answers."
            )

    def _forget(self):
        for name in list(vars(self)):
            if name.endswith("_") or name in ("_store", "_rng", "_fit_params"):
                delattr(self, name)

    def _final_step(self):
        is_pipeline = isinstance(self.estimator, Pipeline)
        return self.estimator[-1] if is_pipeline else self.estimator

    def _fit_item_steps(self, comparisons):
        """Fit what comes before the reward model, once, without answers."""
        steps = None
        if isinstance(self.estimator, Pipeline) and len(self.estimator) > 1:
            steps = clone(self.estimator[:-1]).fit(comparisons)
        self.item_steps_ = steps  # not before they are fitted

    def _assemble(self):
        if self.item_steps_ is None:
            return self.model_
        name = self.estimator.steps[-1][0]
        return Pipeline([*self.item_steps_.steps, (name, self.model_)])

    def _transformed(self, comparisons):
        """Comparisons after the item steps, transforming an item store only once."""
        if self.item_steps_ is None:
            return comparisons
        items, transformed = getattr(self, "_store", (None, None))
        if items is not comparisons.items:
            items, transformed = comparisons.items, None
        if transformed is None:
            transformed = self.item_steps_.transform(items)
            self._store = (items, transformed)
        return comparisons.with_items(transformed)

    def _choose(self, pool, n_pairs, **query_params):
        if not hasattr(self, "item_steps_"):
            self._fit_item_steps(pool)
        sampler = clone(self.sampler)
        if "random_state" in sampler.get_params():
            if not hasattr(self, "_rng"):
                seed = self.random_state
                seed = self.sampler.random_state if seed is None else seed
                self._rng = check_random_state(seed)
            sampler.set_params(random_state=self._rng.randint(2**31 - 1))
        transformed = self._transformed(pool)
        if self.item_steps_ is not None and query_params.get("target") is not None:
            target = self.item_steps_.transform(query_params["target"])
            query_params["target"] = target
        cost = query_params.get("cost")
        if callable(cost):  # of the pairs as the user knows them
            query_params["cost"] = lambda asked: cost(asked.with_items(pool.items))
        model = getattr(self, "model_", None)
        if model is not None and getattr(model, "information_", None) is None:
            query_params["past"] = self._transformed(self.asked_)
        indices = sampler.query(
            transformed, estimator=model, n_pairs=n_pairs, **query_params
        )
        self.explain_ = getattr(sampler, "explain_", {})
        return indices
