"""What a comparison estimator must do, as checks that anyone can run on theirs."""

import inspect
import pickle
import warnings

import numpy as np
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from skarm.comparisons import Comparisons

__all__ = ["check_comparison_estimator"]

#: What two fits to the same answers may differ by, in nats and in probability.
TOLERANCE = 1e-4


def check_comparison_estimator(estimator, *, on_fail="raise"):
    """Run every check of the comparison convention on an estimator.

    The convention: ``fit(X, y)`` takes Comparisons, or an array (n, 2, n_features), and
    outcomes in [0, 1] (1 = first preferred, NaN = not asked); ``predict(items)`` gives
    rewards and ``predict(comparisons)`` gives P(first preferred) = sigmoid of their
    difference. What passes works with :class:`skarm.ActiveRewardLearner`, the samplers
    that need no more than ``predict``, the metrics and the displays. scikit-learn's own
    ``check_estimator`` checks the rest.

    Parameters
    ----------
    estimator : estimator
        Not fitted; it is cloned. Every ``random_state`` in it is set to 0.
    on_fail : {"raise", "warn"} or None, default="raise"
        Whether a failed check raises, warns, or is only recorded.

    Returns
    -------
    records : list of dict
        For each check ``check_name``, ``status`` ("passed", "failed" or "skipped") and
        ``exception`` (why).

    Raises
    ------
    AssertionError
        If a check fails and `on_fail` is "raise": says what must hold and what was got.
    ValueError
        If `on_fail` is unknown.

    Examples
    --------
    >>> from skarm import BradleyTerryRegressor
    >>> from skarm.utils import check_comparison_estimator
    >>> records = check_comparison_estimator(BradleyTerryRegressor())
    >>> {record["status"] for record in records}
    {'passed'}
    """
    if on_fail not in ("raise", "warn", None):
        raise ValueError(f"on_fail must be 'raise', 'warn' or None. Got {on_fail!r}.")
    records = []
    for name, check in _CHECKS.items():
        record = {"check_name": name, "status": "passed", "exception": None}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                check(estimator)
        except _Skipped as reason:
            record |= {"status": "skipped", "exception": reason}
        except Exception as error:
            failure = AssertionError(
                f"{type(estimator).__name__} fails {name}: {error}"
            )
            record |= {"status": "failed", "exception": failure}
            if on_fail == "raise":
                raise failure from error
            if on_fail == "warn":
                warnings.warn(str(failure), stacklevel=2)
        records.append(record)
    return records


class _Skipped(Exception):
    """A check that does not apply, and why."""


# ------------------------------------------------------------------------ the problem


def _problem(n_items=24, n_features=3, n_pairs=90):
    """Comparisons answered by a noisy linear reward."""
    rng = np.random.RandomState(0)
    items = rng.standard_normal((n_items, n_features))
    X = Comparisons.random_pairs(items, n_pairs, random_state=rng)
    reward = items @ np.linspace(2.0, -1.0, n_features)
    gap = reward[X.pairs[:, 0]] - reward[X.pairs[:, 1]]
    return X, (rng.random_sample(n_pairs) < expit(gap)).astype(np.float64)


def _fresh(estimator):
    """A clone with every random_state set."""
    estimator = clone(estimator)
    seeds = {
        name: 0
        for name in estimator.get_params()
        if name.rpartition("__")[2] == "random_state"
    }
    return estimator.set_params(**seeds)


def _fit(estimator, X, y, **fit_params):
    model = _fresh(estimator)
    if isinstance(model, Pipeline):
        last = model.steps[-1][0]
        fit_params = {f"{last}__{name}": v for name, v in fit_params.items()}
    return model.fit(X, y, **fit_params)


def _must_agree(got, expected, what):
    """Equal up to the tolerance, or say by how much not."""
    gap = np.max(np.abs(np.asarray(got) - np.asarray(expected)), initial=0.0)
    if not gap <= TOLERANCE:
        raise AssertionError(f"{what} Got a difference of up to {gap:.3g}.")


def _must_raise(types, function, what):
    """Returns the error, or says that none or another came."""
    try:
        function()
    except types as error:
        return error
    except Exception as error:
        raise AssertionError(f"{what} Got {type(error).__name__}: {error}") from error
    raise AssertionError(f"{what} Got no error.")


# ------------------------------------------------------------------------- the checks


def check_parameters_stay_as_they_are(estimator):
    X, y = _problem()
    model = _fresh(estimator)  # clone itself complains of an __init__ that changes them
    before = str(model.get_params())
    if str(model.fit(X, y).get_params()) != before:
        raise AssertionError("fit must leave the parameters as they are. They changed.")


def check_fit_returns_self_and_counts_features(estimator):
    X, y = _problem()
    model = _fresh(estimator)
    if model.fit(X, y) is not model:
        raise AssertionError("fit must return self. It did not.")
    n = getattr(model, "n_features_in_", None)
    if n != X.shape[2]:
        raise AssertionError(
            f"n_features_in_ must be {X.shape[2]}, features of an item, after fit. "
            f"Got {n!r}."
        )


def check_not_fitted(estimator):
    X, _ = _problem()
    what = "predict must raise NotFittedError before fit."
    for data in (X, X.items):
        _must_raise(
            NotFittedError, lambda data=data: _fresh(estimator).predict(data), what
        )


def check_shapes_and_ranges(estimator):
    X, y = _problem()
    model = _fit(estimator, X, y)
    rewards, p = np.asarray(model.predict(X.items)), np.asarray(model.predict(X))
    for name, values, n in (("items", rewards, X.n_items), ("comparisons", p, len(X))):
        if values.shape != (n,) or not np.isfinite(values).all():
            raise AssertionError(
                f"predict({name}) must give {n} finite numbers. Got shape "
                f"{values.shape}, {np.sum(~np.isfinite(values))} not finite."
            )
    if p.min() < 0 or p.max() > 1:
        raise AssertionError(
            "predict(comparisons) must give probabilities. Got values from "
            f"{p.min():.3g} to {p.max():.3g}."
        )


def check_probabilities_of_both_orders_sum_to_one(estimator):
    X, y = _problem()
    model = _fit(estimator, X, y)
    both = model.predict(X) + model.predict(X.swap())
    _must_agree(both, 1.0, "P(i, j) + P(j, i) must be 1.")


def check_probabilities_come_from_rewards(estimator):
    X, y = _problem()
    model = _fit(estimator, X, y)
    rewards = model.predict(X.items)
    gap = rewards[X.pairs[:, 0]] - rewards[X.pairs[:, 1]]
    what = "predict(comparisons) must be sigmoid(reward of first - reward of second)."
    _must_agree(model.predict(X), expit(gap), what)


def check_answers_do_not_depend_on_the_order_of_a_pair(estimator):
    X, y = _problem()
    flip = np.arange(len(y)) % 3 == 0
    pairs = np.where(flip[:, None], X.pairs[:, ::-1], X.pairs)
    turned = _fit(estimator, Comparisons(X.items, pairs), np.where(flip, 1 - y, y))
    what = "swapping first and second with y -> 1 - y must change no reward difference."
    _must_agree(turned.predict(X), _fit(estimator, X, y).predict(X), what)


def check_arrays_are_comparisons(estimator):
    X, y = _problem()
    model = _fit(estimator, X, y)
    what = "an array (n, 2, n_features) must be predicted as the Comparisons it holds."
    _must_agree(model.predict(np.asarray(X)), model.predict(X), what)
    held = Comparisons.from_array(np.asarray(X))
    what = "an array (n, 2, n_features) must be fitted as the Comparisons it holds."
    got, expected = (
        _fit(estimator, data, y).predict(X) for data in (np.asarray(X), held)
    )
    _must_agree(got, expected, what)


def check_answers_not_asked_are_ignored(estimator):
    X, y = _problem()
    asked = np.arange(len(y)) % 3 > 0
    some = _fit(estimator, X, np.where(asked, y, np.nan))
    what = "a comparison with y = NaN must be ignored."
    _must_agree(some.predict(X), _fit(estimator, X[asked], y[asked]).predict(X), what)


def check_nothing_asked_is_refused(estimator):
    X, y = _problem()
    what = "fit must raise ValueError where every y is NaN: there is nothing to learn."
    _must_raise(ValueError, lambda: _fit(estimator, X, np.full(len(y), np.nan)), what)


def check_soft_labels(estimator):
    X, y = _problem()
    twice = Comparisons(X.items, np.repeat(X.pairs, 2, axis=0))
    split = np.repeat(y, 2)
    split[:20] = np.tile([1.0, 0.0], 10)  # ten pairs with an answer either way
    shared = np.repeat(y, 2)
    shared[:20] = 0.5
    what = "two answers of 0.5 must count as one of 1 and one of 0."
    _must_agree(
        _fit(estimator, twice, shared).predict(X),
        _fit(estimator, twice, split).predict(X),
        what,
    )


def check_weights_are_repetitions(estimator):
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not has_fit_parameter(last, "sample_weight"):
        raise _Skipped("fit takes no sample_weight")
    X, y = _problem()
    weights = 1 + np.arange(len(y)) % 2  # every item stays, for steps that see items
    rows = np.repeat(np.arange(len(y)), weights)
    weighted = _fit(estimator, X, y, sample_weight=weights.astype(np.float64))
    what = "a comparison of weight 2 must count as two."
    _must_agree(weighted.predict(X), _fit(estimator, X[rows], y[rows]).predict(X), what)


def check_one_class(estimator):
    X, y = _problem()
    pairs = np.where(y[:, None] == 1, X.pairs, X.pairs[:, ::-1])
    won = Comparisons(X.items, pairs)
    p = _fit(estimator, won, np.ones(len(y))).predict(won)
    if not np.isfinite(p).all() or p.mean() <= 0.5:
        raise AssertionError(
            "data in which the first item always won are legitimate, and winners must "
            f"be preferred. Got a mean P(first preferred) of {np.mean(p):.3g}."
        )


def check_bad_outcomes_are_refused(estimator):
    X, y = _problem()
    what = "fit must raise ValueError for y outside [0, 1], such as -1 or 2."
    for bad in (-1.0, 2.0):
        wrong = np.where(np.arange(len(y)) == 3, bad, y)
        _must_raise(ValueError, lambda wrong=wrong: _fit(estimator, X, wrong), what)
    what = "fit must raise ValueError where y has another length than X."
    _must_raise(ValueError, lambda: _fit(estimator, X, y[:-1]), what)


def check_texts_are_refused_clearly(estimator):
    if get_tags(estimator).input_tags.string:
        raise _Skipped("takes texts, by its tags")
    X = Comparisons([f"answer {k}" for k in range(6)], [[0, 1], [2, 3], [4, 5]])
    what = "fit must raise ValueError or TypeError for texts."
    error = _must_raise(
        (ValueError, TypeError), lambda: _fit(estimator, X, [1, 0, 1]), what
    )
    words = ("text", "str", "numeric", "number")
    if not any(word in str(error).lower() for word in words):
        raise AssertionError(
            "the error for texts must say that numbers are needed, in one of the words "
            f"{words}. Got {error}"
        )


def check_other_features_are_refused(estimator):
    X, y = _problem()
    model = _fit(estimator, X, y)
    what = "predict must raise ValueError for items of another number of features."
    _must_raise(ValueError, lambda: model.predict(X.items[:, :-1]), what)


def check_pickles(estimator):
    X, y = _problem()
    model = _fit(estimator, X, y)
    again = pickle.loads(pickle.dumps(model))
    _must_agree(again.predict(X), model.predict(X), "a pickle must predict the same.")


def check_inputs_stay_as_they_are(estimator):
    X, y = _problem()
    items, pairs, answers = X.items.copy(), X.pairs.copy(), y.copy()
    _fit(estimator, X, y).predict(X)
    same = (
        (X.items == items).all() and (X.pairs == pairs).all() and (y == answers).all()
    )
    if not same:
        raise AssertionError("fit and predict must not write into what they are given.")


_CHECKS = {
    name: function
    for name, function in globals().items()
    if name.startswith("check_")
    and inspect.isfunction(function)
    and function is not check_comparison_estimator
}
