"""The active learner of modAL, for comparisons and on current scikit-learn.

A loop written for modAL needs one other import line::

    from modAL.models import ActiveLearner  # before
    from skarm.modal import ActiveLearner   # after

modAL itself is not needed. Its words live here and nowhere else in skarm:
``n_instances`` is `n_pairs`, and an *instance* is a comparison.
"""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_method_params

from skarm._data.checks import check_comparisons, is_comparisons
from skarm._data.items import stack_items
from skarm.comparisons import Comparisons
from skarm.sampler import ActiveComparisonSampler

__all__ = ["ActiveLearner"]


def _gives_probabilities(learner):
    return hasattr(learner.estimator, "predict_proba") or hasattr(
        learner.estimator, "predict"
    )


class ActiveLearner(BaseEstimator):
    """Loop of asking and learning with the contract of modAL's ``ActiveLearner``.

    Takes comparisons, and whatever else the estimator takes: the shape of the data is
    the estimator's business. As in modAL, and unlike in skarm's own learner, the given
    estimator itself is fitted, at once if there is training data.

    Parameters
    ----------
    estimator : estimator
        The model; fitted in place.
    query_strategy : callable, default=None
        ``f(learner, X_pool, *args, **kwargs) -> indices`` or ``(indices, metrics)``:
        an :class:`skarm.ActiveComparisonSampler`, a function of modAL that needs no
        more than ``predict`` or ``predict_proba``, or your own. None is
        ``ActiveComparisonSampler()``.
    X_training, y_training : Comparisons or array-like of n rows, default=None
        What is known at the start; the model is then fitted.
    bootstrap_init : bool, default=False
        Fit the training data given here on a bootstrap sample of it.
    on_transformed : bool, default=False
        For strategies of modAL that ask for it.
    random_state : int, RandomState or None, default=None
        Draws bootstrap samples; None is numpy's global state, as in modAL.
    **fit_kwargs : dict
        For the ``fit`` of the training data given here.

    Attributes
    ----------
    X_training, y_training
        What was taught so far; None before.

    Raises
    ------
    TypeError
        If `query_strategy` is not callable.

    See Also
    --------
    skarm.ActiveRewardLearner : The learner of skarm itself: skips what was asked,
        replays recorded answers, works in searches, can be saved.

    Examples
    --------
    >>> from skarm import BradleyTerryRegressor, Comparisons
    >>> from skarm.modal import ActiveLearner
    >>> pool = Comparisons.all_pairs([[0.0], [1.0], [3.0]])
    >>> learner = ActiveLearner(estimator=BradleyTerryRegressor(alpha=1.0))
    >>> indices, asked = learner.query(pool, n_instances=2)
    >>> learner.teach(asked, [0, 0])
    >>> learner.X_training.shape, learner.predict([[3.0], [0.0]]).shape
    ((2, 2, 1), (2,))
    """

    def __init__(
        self,
        estimator,
        query_strategy=None,
        X_training=None,
        y_training=None,
        bootstrap_init=False,
        on_transformed=False,
        *,
        random_state=None,
        **fit_kwargs,
    ):
        if query_strategy is not None and not callable(query_strategy):
            raise TypeError(
                "query_strategy must be callable, such as ActiveComparisonSampler(). "
                f"Got {query_strategy!r}."
            )
        self.estimator = estimator
        self.query_strategy = query_strategy
        self.X_training = X_training
        self.y_training = y_training
        self.bootstrap_init = bootstrap_init
        self.on_transformed = on_transformed
        self.random_state = random_state
        self.fit_kwargs = fit_kwargs
        if X_training is not None:
            self._fit(X_training, y_training, bootstrap_init, fit_kwargs)

    def get_params(self, deep=True):
        """Parameters by name, those for the first fit among them.

        Parameters
        ----------
        deep : bool, default=True
            Also those of the estimator.

        Returns
        -------
        params : dict
            What the constructor takes: a clone learns the same training data afresh.
        """
        return {**super().get_params(deep=deep), **self.fit_kwargs}

    def query(self, X_pool, *query_args, return_metrics=False, **query_kwargs):
        """Choose what to ask next.

        Parameters
        ----------
        X_pool : Comparisons, or array-like
            The pool. What was asked is not left out: as in modAL, take it out.
        *query_args
            For the strategy.
        return_metrics : bool, default=False
            Also return the strategy's metrics (utilities).
        **query_kwargs : dict
            For the strategy; ``n_instances`` says how many to ask.

        Returns
        -------
        indices : ndarray of shape (n_instances,)
            Into `X_pool`.
        asked : Comparisons or array-like
            ``X_pool[indices]``.
        metrics : ndarray or None
            Only if `return_metrics`; None where the strategy gives none.
        """
        strategy = self.query_strategy or ActiveComparisonSampler()
        answer = strategy(self, X_pool, *query_args, **query_kwargs)
        indices, metrics = answer if isinstance(answer, tuple) else (answer, None)
        asked = _safe_indexing(X_pool, indices)
        return (indices, asked, metrics) if return_metrics else (indices, asked)

    def teach(self, X, y, bootstrap=False, only_new=False, **fit_kwargs):
        """Add answers to the training data, and fit again.

        Parameters
        ----------
        X : Comparisons or array-like of n rows
            What was asked.
        y : array-like of shape (n,)
            The answers.
        bootstrap : bool, default=False
            Fit on a bootstrap sample.
        only_new : bool, default=False
            Fit on these answers alone, and do not keep them.
        **fit_kwargs : dict
            For ``fit``; one entry per row of all training data, where it has entries.

        Raises
        ------
        ValueError
            If lengths disagree or the data do not go with what was taught before, or
            from the estimator. The training data are then as they were before.
        """
        if only_new:
            self._fit(X, y, bootstrap, fit_kwargs)
            return
        check_consistent_length(X, y)
        if self.X_training is not None:
            X = _stack([self.X_training, X])
            y = np.concatenate([np.asarray(self.y_training), np.asarray(y)])
        self.fit(X, y, bootstrap=bootstrap, **fit_kwargs)

    def fit(self, X, y, bootstrap=False, **fit_kwargs):
        """Forget what was taught, and learn this.

        Parameters
        ----------
        X, y, bootstrap, **fit_kwargs
            As for :meth:`teach`.

        Returns
        -------
        self : ActiveLearner
            Fitted.
        """
        self._fit(X, y, bootstrap, fit_kwargs)
        self.X_training, self.y_training = X, y
        return self

    def predict(self, X, **predict_kwargs):
        """Predictions of the estimator.

        Parameters
        ----------
        X : items, Comparisons or array-like
            What to predict.
        **predict_kwargs : dict
            For the estimator, such as ``return_std=True``.

        Returns
        -------
        prediction : ndarray
            Of a reward model: rewards of items, P(first preferred) of comparisons.
        """
        return self.estimator.predict(X, **predict_kwargs)

    @available_if(_gives_probabilities)
    def predict_proba(self, X, **predict_proba_kwargs):
        """Probabilities of the answers 0 and 1.

        Parameters
        ----------
        X : Comparisons or array-like
            What to predict.
        **predict_proba_kwargs : dict
            For the estimator.

        Returns
        -------
        probabilities : ndarray of shape (n, 2)
            From the estimator's ``predict_proba``; a reward model has none, and its
            P(first preferred) of comparisons fills the second column.

        Raises
        ------
        TypeError
            If the estimator has no ``predict_proba`` and `X` is no comparisons.
        """
        if hasattr(self.estimator, "predict_proba"):
            return self.estimator.predict_proba(X, **predict_proba_kwargs)
        if not is_comparisons(X):
            raise TypeError(
                "X must be comparisons, because a reward model gives items a reward "
                f"and no probability. Got {type(X).__name__}. Pass Comparisons or an "
                "array of shape (n, 2, n_features)."
            )
        first = self.estimator.predict(X, **predict_proba_kwargs)
        return np.column_stack([1 - first, first])

    def score(self, X, y, **score_kwargs):
        """Score of the estimator; of a reward model, pairwise accuracy.

        Parameters
        ----------
        X, y
            Comparisons and their outcomes.
        **score_kwargs : dict
            For the estimator.

        Returns
        -------
        score : float
            Greater is better.
        """
        return self.estimator.score(X, y, **score_kwargs)

    def transform_without_estimating(self, X):
        """Data as the last step of a pipeline sees them.

        Parameters
        ----------
        X : Comparisons or array-like
            What to transform.

        Returns
        -------
        transformed : Comparisons or array-like
            `X` itself where the estimator is no pipeline.
        """
        is_pipeline = isinstance(self.estimator, Pipeline) and len(self.estimator) > 1
        return self.estimator[:-1].transform(X) if is_pipeline else X

    def _fit(self, X, y, bootstrap, fit_kwargs):
        check_consistent_length(X, y)
        if bootstrap:
            if not hasattr(self, "_rng"):
                self._rng = check_random_state(self.random_state)
            n = len(y)
            rows = self._rng.randint(n, size=n)
            fit_kwargs = _check_method_params(X, fit_kwargs, indices=rows)
            X, y = _safe_indexing(X, rows), _safe_indexing(y, rows)
        self.estimator.fit(X, y, **fit_kwargs)


def _stack(parts):
    """Rows of both parts; comparisons if one of them is."""
    if any(isinstance(part, Comparisons) for part in parts):
        return Comparisons.concatenate([check_comparisons(part) for part in parts])
    return stack_items([p if hasattr(p, "shape") else np.asarray(p) for p in parts])
