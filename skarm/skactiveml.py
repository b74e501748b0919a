"""A query strategy of scikit-activeml, for comparisons.

Importing this module needs the package scikit-activeml, ``skarm[skactiveml]``. Its
words live here and nowhere else in skarm: ``batch_size`` is `n_pairs`, a *sample* is a
comparison, and a missing label is an outcome not asked yet.
"""

from functools import partial

import numpy as np
from sklearn.base import clone

from skarm._data.checks import check_comparisons, check_some_pairs
from skarm._optional import import_optional
from skarm.sampler import ActiveComparisonSampler
from skarm.strategies import get_strategy
from skarm.strategies._registry import _REGISTRY

__all__ = ["ComparisonSampler"]

# Absolute, and so the installed package, not this module.
_base = import_optional(
    "skactiveml.base", needed_by="skarm.skactiveml", extra="skactiveml"
)
_utils = import_optional(
    "skactiveml.utils", needed_by="skarm.skactiveml", extra="skactiveml"
)

#: Parameters of a sampler under which it ranks every candidate.
_UNLIMITED = {
    "random_fraction": 0.0,
    "max_pairs_per_item": None,
    "max_pairs_per_group": None,
}


class ComparisonSampler(_base.SingleAnnotatorPoolQueryStrategy):
    """Choose comparisons as a single-annotator pool strategy of scikit-activeml.

    Parameters
    ----------
    sampler : ActiveComparisonSampler, default=None
        The query strategy; cloned. None is ``ActiveComparisonSampler()``.
    missing_label
        Marks a comparison that has not been asked; NaN unless given.
    random_state : int, RandomState or None, default=None
        Seeds the sampler. As everywhere in scikit-activeml, the same seed draws
        otherwise once more labels are known.

    See Also
    --------
    skarm.ActiveComparisonSampler : What it wraps.

    Examples
    --------
    >>> import numpy as np
    >>> from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
    >>> from skarm.skactiveml import ComparisonSampler
    >>> pool = Comparisons.all_pairs([[0.0], [1.0], [3.0]])
    >>> y = np.array([0.0, np.nan, np.nan])
    >>> model = BradleyTerryRegressor(alpha=1.0)
    >>> longest = ComparisonSampler(ActiveComparisonSampler("xtx"), random_state=0)
    >>> longest.query(pool, y, reg=model, batch_size=1)
    array([1])
    """

    def __init__(
        self, sampler=None, *, missing_label=_utils.MISSING_LABEL, random_state=None
    ):
        super().__init__(missing_label=missing_label, random_state=random_state)
        self.sampler = sampler

    def query(
        self,
        X,
        y,
        reg=None,
        fit_reg=True,
        sample_weight=None,
        candidates=None,
        batch_size=1,
        return_utilities=False,
    ):
        """Choose the comparisons to ask next.

        Parameters
        ----------
        X : Comparisons or array of shape (n_samples, 2, n_features)
            All comparisons, asked and not.
        y : array-like of shape (n_samples,)
            Their outcomes; `missing_label` where not asked.
        reg : estimator, default=None
            The reward model or pipeline; None is a cold start.
        fit_reg : bool, default=True
            Whether to fit a clone of `reg` to the outcomes there are. With no outcome
            yet it is a cold start.
        sample_weight : array-like of shape (n_samples,), default=None
            For that fit.
        candidates : array-like of int, Comparisons or array (n, 2, n_features), \
default=None
            Indices into `X`, or comparisons themselves. None is what has no outcome.
        batch_size : int, default=1
            How many to choose; more than there are candidates warns and gives all.
        return_utilities : bool, default=False
            Also return utilities.

        Returns
        -------
        query_indices : ndarray of shape (batch_size,)
            Into `X`, or into `candidates` where these are comparisons.
        utilities : ndarray of shape (batch_size, n_samples or n_candidates)
            Only if `return_utilities`. Row k holds the utilities when pick k was made:
            NaN for what is no candidate or was picked before, and minus infinity for
            the rest where the rule does not go by utilities of single candidates.

        Raises
        ------
        ValueError
            If an argument is not what it must be, as in scikit-activeml, or from the
            sampler.
        """
        X = check_some_pairs(X)
        y, index, pool, batch_size = self._check(
            X, y, candidates, batch_size, return_utilities
        )
        asked = _utils.is_labeled(y, self.missing_label_)
        answers = np.where(asked, y, np.nan).astype(np.float64)
        if reg is not None and fit_reg:
            weights = {} if sample_weight is None else {"sample_weight": sample_weight}
            reg = clone(reg).fit(X, answers, **weights) if asked.any() else None
        sampler = ActiveComparisonSampler() if self.sampler is None else self.sampler
        seed = self.random_state_.randint(2**31 - 1)
        sampler = clone(sampler).set_params(random_state=seed)
        past = X[asked] if asked.any() else None
        query = partial(
            *(sampler.query, pool),
            estimator=reg,
            past=past,
            candidates=index,
            return_utilities=True,
        )
        picks, worth = query(n_pairs=batch_size)
        if not return_utilities:
            return picks
        utilities = np.full((batch_size, len(pool)), np.nan)
        utilities[:, index] = -np.inf
        if _is_pointwise(sampler.strategy):
            sampler.set_params(**_UNLIMITED)
            ranking, every = query(n_pairs=len(index))
            if (np.diff(every) <= 0).all():  # it goes by utility alone
                utilities[:, ranking] = every
        for k, pick in enumerate(picks):
            utilities[k, pick] = worth[k]
            utilities[k + 1 :, pick] = np.nan
        return picks, utilities

    def _check(self, X, y, candidates, batch_size, return_utilities):
        """Outcomes, indices of the candidates, the pool they index, how many."""
        pool, index = X, candidates
        if hasattr(candidates, "pairs") or getattr(candidates, "ndim", 1) > 1:
            pool, index = check_comparisons(candidates), None
        # scikit-activeml checks the rest, on rows that stand for the comparisons.
        rows = np.zeros((len(X), 1))
        _, y, index, n_most, _ = self._validate_data(
            *(rows, y, index, batch_size, return_utilities)
        )
        self.n_features_in_ = X.shape[2] if X.ndim == 3 else None
        if pool is not X:
            return y, np.arange(len(pool)), pool, min(batch_size, len(pool))
        if index is None:
            index = _utils.unlabeled_indices(y, self.missing_label_)
        return y, index, pool, n_most


def _is_pointwise(strategy):
    """Whether a registered strategy values each candidate by itself."""
    function = get_strategy(strategy)
    function = getattr(function, "func", function)  # an alias is a partial
    return any(
        entry.function is function and not entry.batch_aware
        for entry in _REGISTRY.values()
    )
