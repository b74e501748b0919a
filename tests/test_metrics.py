"""Metrics against scipy, scikit-learn and plain enumeration."""

import itertools
import pickle
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from scipy.special import xlogy
from scipy.stats import spearmanr
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate

from skarm import Comparisons
from skarm.metrics import (
    SCORERS,
    best_of_n,
    brier_score,
    get_scorer,
    grouped_spearman,
    log_loss,
    make_reward_scorer,
    pairwise_accuracy,
)

PAIR_METRICS = [pairwise_accuracy, log_loss, brier_score]
SEEDS = range(20)


def random_answers(seed, n=60):
    """Soft, tied, missing and certain answers; some predictions at exactly 0.5."""
    rng = np.random.default_rng(seed)
    y = rng.choice([0.0, 1.0, 0.5, 0.25, np.nan, rng.random()], n)
    p = rng.choice([0.5, 0.0, 1.0, *rng.integers(0, 65, 5) / 64], n)
    return y, p, rng.random(n)


def random_rewards(seed, n=40, n_groups=5, levels=6):
    """Few levels, so that ties are common."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, n)
    return (
        rng.integers(0, levels, n) * 0.3,
        rng.integers(0, levels, n) * 0.7,
        groups,
    )


# ------------------------------------------------------------------ pair metrics


@pytest.mark.parametrize("seed", SEEDS)
def test_pair_metrics_equal_sklearn_on_hard_labels(seed):
    rng = np.random.default_rng(seed)
    y, p, weight = rng.integers(0, 2, 50), rng.random(50), rng.random(50)
    for w in (None, weight):
        expected = sk.accuracy_score(y, p > 0.5, sample_weight=w)
        assert pairwise_accuracy(y, p, sample_weight=w) == pytest.approx(expected)
        expected = sk.log_loss(y, p, sample_weight=w)
        assert log_loss(y, p, sample_weight=w) == pytest.approx(expected)
        expected = sk.brier_score_loss(y, p, sample_weight=w)
        assert brier_score(y, p, sample_weight=w) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_of_certain_mistakes_is_clipped_by_the_dtype(dtype):
    y, p = [1, 0], np.array([0, 1], dtype=dtype)
    assert log_loss(y, p) == pytest.approx(-np.log(np.finfo(dtype).eps))
    assert log_loss(y, p) == pytest.approx(sk.log_loss(y, p), rel=1e-6)
    assert log_loss(y, 1 - p) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_swapping_the_sides_changes_no_pair_metric(metric, seed):
    y, p, weight = random_answers(seed)
    swap = np.random.default_rng(seed).random(len(y)) < 0.5
    y_swapped, p_swapped = np.where(swap, 1 - y, y), np.where(swap, 1 - p, p)
    for w in (None, weight):
        before = metric(y, p, sample_weight=w)
        after = metric(y_swapped, p_swapped, sample_weight=w)
        assert after == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_integer_weights_equal_repeated_rows(metric, seed):
    y, p, _ = random_answers(seed)
    times = np.random.default_rng(seed).integers(0, 4, len(y))
    repeated = metric(np.repeat(y, times), np.repeat(p, times))
    assert metric(y, p, sample_weight=times) == pytest.approx(repeated)


@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_missing_answers_are_left_out(metric):
    y, p = np.array([1, np.nan, 0, np.nan]), np.array([0.9, 0.1, 0.6, 0.6])
    assert metric(y, p) == metric(y[[0, 2]], p[[0, 2]])
    assert metric([1, None, 0, None], p) == metric(y, p)
    assert metric(pd.Series([1, pd.NA, 0, pd.NA], dtype="Int64"), p) == metric(y, p)
    assert isinstance(metric(y, p), float)


def test_accuracy_ignores_ties_and_halves_undecided_predictions():
    assert pairwise_accuracy([1, 0.5, 0.5], [0.9, 0.1, 0.9]) == 1
    assert pairwise_accuracy([1, 0], [0.5, 0.5]) == 0.5
    assert pairwise_accuracy([0.6, 0.4, 0.6], [0.9, 0.4, 0.2]) == pytest.approx(2 / 3)
    assert pairwise_accuracy([True, False], [0.9, 0.9]) == 0.5


def test_log_loss_of_soft_labels_is_least_at_the_labels():
    y = np.linspace(0, 1, 11)
    entropy = np.mean(-xlogy(y, y) - xlogy(1 - y, 1 - y))
    assert log_loss(y, y) == pytest.approx(entropy)
    assert log_loss(y, np.clip(y + 0.01, 0, 1)) > entropy
    assert brier_score(y, y) == 0


@pytest.mark.parametrize(
    ("y", "weight"), [([np.nan, np.nan], None), ([], None), ([1, 0], [0, 0])]
)
@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_nothing_to_score_gives_nan_and_warns(metric, y, weight):
    with pytest.warns(UndefinedMetricWarning, match=f"{metric.__name__} is undefined"):
        assert np.isnan(metric(y, [0.2, 0.7][: len(y)], sample_weight=weight))


def test_accuracy_of_ties_alone_is_nan():
    with pytest.warns(UndefinedMetricWarning, match="pairwise_accuracy"):
        assert np.isnan(pairwise_accuracy([0.5, 0.5], [0.2, 0.7]))


@pytest.mark.parametrize("metric", PAIR_METRICS)
@pytest.mark.parametrize(
    ("y", "p", "weight", "match"),
    [
        ([1, 0, 1], [0.1, 0.2], None, r"inconsistent numbers of samples: \[3, 2"),
        ([1, 0], [0.1, 0.2], [1.0], "inconsistent numbers of samples"),
        ([1, -1], [0.1, 0.2], None, r"y_true must be in \[0, 1\] or NaN. Got -1.0 at "),
        ([1, np.inf], [0.1, 0.2], None, "y_true must be .* Got inf at position 1"),
        ([1, 0], [0.1, np.nan], None, r"y_pred must be P\(first.* Got nan at positi"),
        ([np.nan, 0], [np.nan, 0.1], None, "y_pred must be .* Got nan at position 0"),
        ([1, 0], [2.5, 0.1], None, r"Got 2.5 at position 0. Pass predict\(comparisons"),
        ([1, 0], [0.5, 0.1], [1, -2], "sample_weight must be finite and not negative"),
        ([1, 0], [0.5, 0.1], [1, np.nan], "sample_weight must be finite"),
        ([[1, 0]], [[0.5, 0.1]], None, r"y_true must be one-dimensional.*\(1, 2\)"),
        ([1, 0], [[0.5, 0.1]], None, "y_pred must be one-dimensional"),
    ],
)
def test_pair_metrics_refuse(metric, y, p, weight, match):
    with pytest.raises(ValueError, match=match):
        metric(y, p, sample_weight=weight)


# ------------------------------------------------------------------- rank metric


@pytest.mark.parametrize("seed", SEEDS)
def test_spearman_equals_scipy_in_every_group(seed):
    true, pred, groups = random_rewards(seed)
    ours = grouped_spearman(true, pred, groups=groups, aggregate=False)
    for group, value in zip(np.unique(groups), ours, strict=True):
        inside = groups == group
        if np.ptp(true[inside]) > 0 and np.ptp(pred[inside]) > 0:
            expected = spearmanr(true[inside], pred[inside]).statistic
            assert value == pytest.approx(expected, abs=1e-12)
    assert grouped_spearman(true, pred, groups=groups) == pytest.approx(
        np.nanmean(ours)
    )
    whole = spearmanr(true, pred).statistic
    assert grouped_spearman(true, pred) == pytest.approx(whole)


@pytest.mark.parametrize("seed", SEEDS)
def test_spearman_depends_on_ranks_only(seed):
    rng = np.random.default_rng(seed)
    true, pred, groups = random_rewards(seed)
    base = grouped_spearman(true, pred, groups=groups)
    assert grouped_spearman(np.exp(true), pred**3, groups=groups) == base
    shift = rng.normal(size=5)[groups]  # a prompt's own level does not matter
    assert grouped_spearman(true, pred + 100 * shift, groups=groups) == base
    assert grouped_spearman(true, -pred, groups=groups) == pytest.approx(-base)
    assert grouped_spearman(true, true, groups=groups) == 1
    order = rng.permutation(len(true))
    names = np.array([f"p{g}" for g in groups])
    permuted = grouped_spearman(true[order], pred[order], groups=names[order])
    assert permuted == pytest.approx(base)


def test_spearman_leaves_out_groups_without_a_true_ranking():
    groups = ["constant", "constant", "one", "tied", "tied", "up", "up", "void"]
    true = [1, 1, 1, 1, 2, 1, 2, np.nan]
    pred = [1, 2, 1, 7, 7, 3, 4, 5]
    per_group = grouped_spearman(true, pred, groups=groups, aggregate=False)
    np.testing.assert_array_equal(per_group, [np.nan, np.nan, 0, 1, np.nan])
    assert grouped_spearman(true, pred, groups=groups) == 0.5


def test_items_without_a_rating_are_left_out():
    true, pred, groups = random_rewards(3)
    rated = np.random.default_rng(0).random(len(true)) < 0.7
    holes, some = np.where(rated, true, np.nan), groups[rated]
    for metric in (grouped_spearman, best_of_n):
        np.testing.assert_allclose(
            metric(holes, pred, groups=groups),
            metric(true[rated], pred[rated], groups=some),
        )


@pytest.mark.parametrize("true", [[], [1], [1, 1], [np.nan, np.nan]])
def test_spearman_without_any_ranking_is_nan_and_warns(true):
    with pytest.warns(UndefinedMetricWarning, match="grouped_spearman is undefined"):
        assert np.isnan(grouped_spearman(true, np.arange(len(true))))


def test_metrics_of_20000_items_in_400_groups_are_fast():
    rng = np.random.default_rng(0)
    true, pred = rng.normal(size=(2, 20_000))
    groups = rng.integers(0, 400, 20_000)
    start = time.perf_counter()
    grouped_spearman(true, pred, groups=groups)
    best_of_n(true, pred, groups=groups)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("metric", [grouped_spearman, best_of_n])
@pytest.mark.parametrize(
    ("true", "pred", "groups", "match"),
    [
        ([1, 2, 3], [1, 2], None, r"inconsistent numbers of samples: \[3, 2\]"),
        ([1, 2], [1, 2], [0], r"inconsistent numbers of samples: \[2, 1\]"),
        ([1, np.inf], [1, 2], None, "reward_true must be finite or NaN. Got inf at po"),
        (
            [1, 2],
            [1, np.nan],
            None,
            "reward_pred must be finite. Got nan at position 1",
        ),
        ([1, 2], [1, np.inf], None, "reward_pred must be finite. Got inf"),
        ([[1, 2]], [1, 2], None, "reward_true must be one-dimensional"),
    ],
)
def test_item_metrics_refuse(metric, true, pred, groups, match):
    with pytest.raises(ValueError, match=match):
        metric(true, pred, groups=groups)


# --------------------------------------------------------------------- best of n


def enumerated_best_of_n(true, pred, n):
    """Mean over every subset of n items of the mean reward of its predicted best."""
    best = []
    for subset in itertools.combinations(range(len(true)), n):
        subset = np.array(subset)
        top = subset[pred[subset] == pred[subset].max()]
        best.append(true[top].mean())
    return np.mean(best) if best else np.nan


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize("seed", range(10))
def test_best_of_n_equals_enumeration_of_subsets(seed, levels):
    true, pred, groups = random_rewards(seed, n=21, n_groups=3, levels=levels)
    n_values = np.arange(1, 12)
    members = [groups == g for g in np.unique(groups)]
    expected = np.array(
        [[enumerated_best_of_n(true[g], pred[g], n) for n in n_values] for g in members]
    )
    scaled = [
        (row - true[g].mean()) / (true[g].max() - true[g].mean())
        for row, g in zip(expected, members, strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nanmean of nothing
        expected, scaled = np.nanmean(expected, axis=0), np.nanmean(scaled, axis=0)
    ours = best_of_n(true, pred, groups=groups, n_values=n_values)
    np.testing.assert_allclose(ours, expected, atol=1e-12)
    ours = best_of_n(true, pred, groups=groups, n_values=n_values, normalize=True)
    np.testing.assert_allclose(ours, scaled, atol=1e-12)


def test_best_of_n_from_mean_to_best():
    true, _, groups = random_rewards(0, n=50, n_groups=1, levels=1000)
    ours = best_of_n(true, true, groups=groups, n_values=[1, 5, 20, 50, 51])
    assert ours[0] == pytest.approx(true.mean())
    assert ours[3] == true.max()
    assert np.all(np.diff(ours[:4]) > 0)
    assert np.isnan(ours[4])
    scaled = best_of_n(true, true, n_values=[1, 50], normalize=True)
    np.testing.assert_allclose(scaled, [0, 1], atol=1e-12)


def test_best_of_n_stays_exact_in_a_large_group():
    m, n = 100_000, 30_000
    true = np.arange(m, dtype=float)
    (ours,) = best_of_n(true, true, n_values=n)
    # The largest of n numbers drawn from 1..m without replacement: n (m + 1) / (n + 1).
    assert ours + 1 == pytest.approx(n * (m + 1) / (n + 1), rel=1e-12)


def test_best_of_n_averages_the_groups_that_are_large_enough():
    groups = ["a", "a", "b", "b", "b", "c"]
    true, pred = [0, 1, 0, 0, 9, 5], [0, 1, 0, 1, 2, 3]
    ours = best_of_n(true, pred, groups=groups, n_values=(1, 2, 3, 4))
    np.testing.assert_allclose(ours, [(0.5 + 3 + 5) / 3, (1 + 6) / 2, 9, np.nan])
    ours = best_of_n(true, pred, groups=groups, n_values=(2, 3), normalize=True)
    np.testing.assert_allclose(ours, [(1 + 0.5) / 2, 1])


def test_normalized_best_of_n_leaves_out_constant_groups():
    true, pred = [0.1, 0.1, 0.1, 0, 1], [1, 2, 3, 0, 1]
    ours = best_of_n(true, pred, groups=[0, 0, 0, 1, 1], n_values=2, normalize=True)
    assert ours == [1.0]
    assert np.isnan(best_of_n([2, 2], [0, 1], n_values=2, normalize=True)).all()
    assert np.isnan(best_of_n([], [], n_values=[1, 2])).all()


@pytest.mark.parametrize("n_values", [0, [1, -2], [1.5], ["4"], [[1, 2]], [True]])
def test_best_of_n_refuses_other_than_positive_integers(n_values):
    with pytest.raises(ValueError, match="n_values must hold integers of at least 1"):
        best_of_n([1, 2], [1, 2], n_values=n_values)


# ----------------------------------------------------------------------- scorers


class StubRewardModel(BaseEstimator):
    """Reward = sharpness * items @ w, w the mean difference of the preferred sides."""

    def __init__(self, sharpness=1.0):
        self.sharpness = sharpness

    def fit(self, X, y, sample_weight=None):
        X = np.asarray(X)
        if X.ndim == 3:
            lean = np.nan_to_num(2 * np.asarray(y) - 1)
            self.w_ = lean @ (X[:, 0] - X[:, 1])
        else:
            y = np.nan_to_num(y, nan=np.nanmean(y))
            self.w_ = (y - y.mean()) @ X
        self.w_ /= np.linalg.norm(self.w_)
        return self

    def predict(self, X):
        X = np.asarray(X)
        reward = self.sharpness * (X @ self.w_)
        if X.ndim == 3:
            return 1 / (1 + np.exp(reward[:, 1] - reward[:, 0]))
        return reward


@pytest.fixture
def data():
    rng = np.random.default_rng(7)
    items, w = rng.normal(size=(80, 3)), np.array([2.0, -1.0, 0.5])
    pairs = Comparisons.random_pairs(items, 240, random_state=0).pairs
    difference = (items[pairs[:, 0]] - items[pairs[:, 1]]) @ w
    y = (rng.random(240) < 1 / (1 + np.exp(-difference))).astype(float)
    y[::11], y[::13] = 0.5, np.nan
    return items, items @ w, pairs, y


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize(
    "name", ["pairwise_accuracy", "neg_log_loss", "neg_brier_score"]
)
def test_scorers_inside_a_grid_search_with_missing_answers(data, name, n_jobs):
    items, _, pairs, y = data
    X, grid = items[pairs], {"sharpness": [-1.0, 0.01, 2.0]}
    search = GridSearchCV(
        StubRewardModel(), grid, scoring=get_scorer(name), cv=3, n_jobs=n_jobs
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["sharpness"] != -1.0
    metric = {"pairwise_accuracy": pairwise_accuracy, "neg_log_loss": log_loss}.get(
        name, brier_score
    )
    sign = -1 if name.startswith("neg_") else 1
    p = search.best_estimator_.predict(X)
    assert search.score(X, y) == pytest.approx(sign * metric(y, p))
    if sign == -1:
        assert search.best_params_["sharpness"] == 2.0


def test_scorers_take_comparisons_and_all_names_at_once(data):
    items, _, pairs, y = data
    scoring = {name: SCORERS[name] for name in SCORERS if name != "spearman"}
    native, dense = (
        cross_validate(StubRewardModel(), X, y, scoring=scoring, cv=3)
        for X in (Comparisons(items, pairs), items[pairs])
    )
    for name in scoring:
        np.testing.assert_allclose(native[f"test_{name}"], dense[f"test_{name}"])


def test_spearman_scorer_reads_items_with_ratings(data):
    items, reward, _, _ = data
    ratings = np.where(np.arange(80) % 9 == 0, np.nan, np.round(reward))
    scores = cross_validate(
        StubRewardModel(), items, ratings, scoring=get_scorer("spearman"), cv=4
    )
    assert (scores["test_score"] > 0.8).all()


def test_spearman_scorer_takes_groups_by_metadata_routing(data):
    items, reward, _, _ = data
    groups = np.arange(80) % 8
    with config_context(enable_metadata_routing=True):
        scorer = get_scorer("spearman").set_score_request(groups=True)
        scores = cross_validate(
            StubRewardModel(),
            items,
            reward,
            scoring=scorer,
            cv=GroupKFold(4),
            params={"groups": groups},
        )["test_score"]
        expected = [
            grouped_spearman(
                reward[test],
                StubRewardModel().fit(items[train], reward[train]).predict(items[test]),
                groups=groups[test],
            )
            for train, test in GroupKFold(4).split(items, reward, groups)
        ]
    np.testing.assert_allclose(scores, expected)
    fresh = get_scorer("spearman").get_metadata_routing().score.requests
    assert fresh["groups"] is None


def test_a_fold_of_ties_scores_nan_and_does_not_stop_the_search(data):
    items, _, pairs, _ = data
    y = np.r_[np.full(80, 0.5), np.zeros(80), np.ones(80)]
    with pytest.warns(UndefinedMetricWarning):
        scores = cross_validate(
            StubRewardModel(),
            items[pairs],
            y,
            scoring=get_scorer("pairwise_accuracy"),
            cv=3,
        )["test_score"]
    np.testing.assert_array_equal(np.isnan(scores), [True, False, False])


def test_unknown_scorer_is_refused():
    with pytest.raises(ValueError, match=r"one of \['pairwise_accuracy'.* Got 'auc'"):
        get_scorer("auc")


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("metric", ["spearman", "best_of_n"])
def test_reward_scorer_judges_every_candidate_on_the_same_items(data, metric, n_jobs):
    items, reward, pairs, y = data
    groups = np.arange(80) % 4
    scorer = make_reward_scorer(items, reward, groups=groups, metric=metric, n=5)
    grid = {"sharpness": [-1.0, 1.0]}
    search = GridSearchCV(
        StubRewardModel(), grid, scoring=scorer, cv=3, n_jobs=n_jobs
    ).fit(items[pairs], y)
    assert search.best_params_ == {"sharpness": 1.0}
    pred = search.best_estimator_.predict(items)
    if metric == "spearman":
        expected = grouped_spearman(reward, pred, groups=groups)
    else:
        expected = best_of_n(reward, pred, groups=groups, n_values=5).item()
    assert search.score(items[pairs], y) == pytest.approx(expected)
    assert clone(search).scoring.items is items
    assert repr(scorer) == f"make_reward_scorer(<80 items>, {metric!r})"
    again = pickle.loads(pickle.dumps(scorer))
    assert again(clone(search.best_estimator_).fit(items[pairs], y), None) == expected


@pytest.mark.parametrize(
    ("n_items", "reward", "params", "match"),
    [
        (3, [1, 2], {}, r"inconsistent numbers of samples: \[3, 2\]"),
        (2, [1, np.inf], {}, "reward_true must be finite or NaN"),
        (2, [1, 2], {"groups": [0]}, "inconsistent numbers of samples"),
        (2, [1, 2], {"metric": "kendall"}, r"metric must be one of \['spearman', 'bes"),
        (2, [1, 2], {"metric": "best_of_n"}, "at least 16 rewards .* Got none"),
        (2, [1, 2], {"metric": "best_of_n", "n": 0}, "n_values must hold integers"),
        (2, [1, 1], {}, "at least two different rewards in reward_true. Got none"),
    ],
)
def test_reward_scorer_refuses_at_once(n_items, reward, params, match):
    with pytest.raises(ValueError, match=match):
        make_reward_scorer(np.zeros((n_items, 2)), reward, **params)
