"""The conformance suite: passes what keeps the convention, names what breaks it."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skarm import BradleyTerryRegressor, make_reward_pipeline
from skarm._data.checks import check_comparisons, check_numeric, is_comparisons
from skarm.utils import check_comparison_estimator


class Theirs(RegressorMixin, BaseEstimator):
    """As little as a third party needs: a linear reward, by gradient descent."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def fit(self, X, y, sample_weight=None):
        X, y = self.read(X), np.asarray(y, dtype=float)
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        if len(y) != len(X) or np.any((y < 0) | (y > 1)) or np.isnan(y).all():
            raise ValueError("y must hold an outcome in [0, 1] per comparison")
        asked = ~np.isnan(y)
        x, y, weight = X.differences()[asked], y[asked], np.asarray(weight)[asked]
        self.n_features_in_ = x.shape[1]

        def loss(w):
            s = x @ w
            value = weight @ (np.logaddexp(0, s) - y * s) + self.alpha / 2 * w @ w
            return value, x.T @ (weight * (expit(s) - y)) + self.alpha * w

        start = np.zeros(x.shape[1])
        self.coef_ = minimize(loss, start, jac=True, tol=1e-10).x
        return self

    def read(self, X):
        X = check_comparisons(X)
        check_numeric(X.items, "Theirs")
        return X

    def rewards(self, items):
        check_is_fitted(self)
        return items @ self.coef_

    def predict(self, X):
        check_is_fitted(self)
        if not is_comparisons(X):
            return self.rewards(X)
        X = check_comparisons(X)
        rewards = self.rewards(X.items)
        return self.probability(rewards[X.pairs[:, 0]], rewards[X.pairs[:, 1]])

    def probability(self, first, second):
        return expit(first - second)


def failures(estimator):
    return {
        record["check_name"]: str(record["exception"])
        for record in check_comparison_estimator(estimator, on_fail=None)
        if record["status"] == "failed"
    }


@pytest.mark.parametrize(
    "estimator",
    [
        BradleyTerryRegressor(),
        BradleyTerryRegressor(alpha=0.1),
        pytest.param(
            BradleyTerryRegressor(hidden_layer_sizes=(6,), device="cpu", max_iter=200),
            marks=pytest.mark.slow,
        ),
        make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
        Theirs(),
        make_reward_pipeline(StandardScaler(), Theirs()),
    ],
    ids=["linear", "fixed-alpha", "network", "pipeline", "theirs", "their-pipeline"],
)
def test_estimators_that_keep_the_convention_pass_every_check(estimator):
    records = check_comparison_estimator(estimator)
    assert {record["status"] for record in records} == {"passed"}
    assert len(records) >= 18


# Each class breaks one thing; the check that must notice, and what it must say.


class HasIntercept(Theirs):
    def probability(self, first, second):
        return expit(first - second + 0.1)


class OtherLink(Theirs):
    def probability(self, first, second):
        return expit(2 * (first - second))


class ReturnsNothing(Theirs):
    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)


class CountsBothItems(Theirs):
    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.n_features_in_ *= 2
        return self


class PredictsUnfitted(Theirs):
    def predict(self, X):
        if not hasattr(self, "coef_"):
            return np.zeros(len(X))
        return super().predict(X)


class PredictsColumns(Theirs):
    def predict(self, X):
        return super().predict(X)[:, None]


class PredictsMargins(Theirs):
    def probability(self, first, second):
        return first - second


class FavorsFirst(Theirs):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, np.where(np.equal(y, 0), 0.3, y), sample_weight)


class ReadsNaNAsTie(Theirs):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, np.nan_to_num(y, nan=0.5), sample_weight)


class RoundsSoftLabels(Theirs):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, np.where(np.isnan(y), y, np.ceil(y)), sample_weight)


class IgnoresWeights(Theirs):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y)


class NeedsTwoClasses(Theirs):
    def fit(self, X, y, sample_weight=None):
        if len(np.unique(y)) < 2:
            raise ValueError("This solver needs samples of at least 2 classes")
        return super().fit(X, y, sample_weight)


class ClipsOutcomes(Theirs):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, np.clip(y, 0, 1), sample_weight)


class ObscureAboutTexts(Theirs):
    def read(self, X):
        try:
            return super().read(X)
        except ValueError:
            raise ValueError("bad input") from None


class TakesAnyWidth(Theirs):
    def rewards(self, items):
        check_is_fitted(self)
        return items @ self.coef_[: items.shape[1]]


class ChangesItsParameters(Theirs):
    def fit(self, X, y, sample_weight=None):
        self.alpha = 2 * self.alpha
        return super().fit(X, y, sample_weight)


class CannotBePickled(Theirs):
    def fit(self, X, y, sample_weight=None):
        self.hook_ = lambda: None
        return super().fit(X, y, sample_weight)


class WritesIntoItems(Theirs):
    def rewards(self, items):
        check_is_fitted(self)
        items *= 1.5
        return items @ self.coef_


class RefusesArrays(Theirs):
    def predict(self, X):
        if getattr(X, "ndim", 2) == 3 and isinstance(X, np.ndarray):
            return np.full(len(X), 0.5)
        return super().predict(X)


class DoublesArrays(Theirs):
    def fit(self, X, y, sample_weight=None):
        weight = 2.0 if isinstance(X, np.ndarray) else 1.0
        return super().fit(X, y, np.full(len(y), weight))


class LearnsFromNothing(Theirs):
    def fit(self, X, y, sample_weight=None):
        y = np.asarray(y, dtype=float)
        if np.isnan(y).all():
            self.coef_ = np.zeros(check_comparisons(X).shape[2])
            return self
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize(
    "broken, check, message",
    [
        (ReturnsNothing, "fit_returns_self", "fit must return self"),
        (CountsBothItems, "counts_features", "must be 3, features of an item"),
        (PredictsUnfitted, "not_fitted", "must raise NotFittedError before fit"),
        (PredictsColumns, "shapes", r"24 finite numbers. Got shape (24, 1)"),
        (PredictsMargins, "ranges", "must give probabilities. Got values from -"),
        (HasIntercept, "both_orders", "P(i, j) + P(j, i) must be 1"),
        (OtherLink, "come_from_rewards", "must be sigmoid(reward of first"),
        (FavorsFirst, "order_of_a_pair", "must change no reward difference"),
        (RefusesArrays, "arrays", "must be predicted as the Comparisons"),
        (DoublesArrays, "arrays", "must be fitted as the Comparisons"),
        (ReadsNaNAsTie, "not_asked", "y = NaN must be ignored"),
        (LearnsFromNothing, "nothing_asked", "there is nothing to learn"),
        (RoundsSoftLabels, "soft_labels", "two answers of 0.5 must count as one"),
        (IgnoresWeights, "repetitions", "of weight 2 must count as two"),
        (NeedsTwoClasses, "one_class", "needs samples of at least 2 classes"),
        (ClipsOutcomes, "bad_outcomes", "for y outside [0, 1]"),
        (ObscureAboutTexts, "texts", "must say that numbers are needed"),
        (TakesAnyWidth, "other_features", "of another number of features"),
        (ChangesItsParameters, "parameters_stay", "They changed"),
        (CannotBePickled, "pickles", "pickle"),
        (WritesIntoItems, "inputs_stay", "must not write into what they are given"),
    ],
)
def test_a_broken_estimator_is_told_what_it_breaks(broken, check, message):
    found = failures(broken())
    names = [name for name in found if check in name]
    assert names, f"{check} passed; failed: {list(found)}"
    assert message in found[names[0]]
    assert found[names[0]].startswith(f"{broken.__name__} fails check_")


def test_failures_raise_warn_or_are_recorded():
    with pytest.raises(AssertionError, match=r"HasIntercept fails check_.*must be 1"):
        check_comparison_estimator(HasIntercept())
    with pytest.warns(UserWarning, match="HasIntercept fails check_"):
        records = check_comparison_estimator(HasIntercept(), on_fail="warn")
    assert [r["check_name"] for r in records if r["status"] == "failed"] == [
        "check_probabilities_of_both_orders_sum_to_one",
        "check_probabilities_come_from_rewards",
    ]
    with pytest.raises(ValueError, match="on_fail must be 'raise', 'warn' or None"):
        check_comparison_estimator(Theirs(), on_fail="ignore")


def test_checks_that_do_not_apply_are_skipped_with_a_reason():
    class Unweighted(Theirs):
        def fit(self, X, y):
            return super().fit(X, y)

        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.input_tags.string = True
            return tags

        __reduce__ = None  # a local class cannot be pickled anyway

    records = check_comparison_estimator(Unweighted(), on_fail=None)
    reasons = [str(r["exception"]) for r in records if r["status"] == "skipped"]
    assert reasons == ["fit takes no sample_weight", "takes texts, by its tags"]


def test_the_given_estimator_is_not_fitted():
    model = BradleyTerryRegressor()
    check_comparison_estimator(model)
    with pytest.raises(NotFittedError):
        model.predict(np.eye(3))
