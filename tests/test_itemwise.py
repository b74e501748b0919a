"""Item steps: every item transformed once, no item seen that no pair names."""

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from skarm import (
    BradleyTerryRegressor,
    Comparisons,
    ItemwiseTransformer,
    make_reward_pipeline,
)

GROUPS = np.repeat(np.arange(5), 4)
ITEMS = np.random.default_rng(0).normal([1, 2, 3], [1, 10, 100], (20, 3))


class Recorder(TransformerMixin, BaseEstimator):
    """Halves the items, and notes every call: a stand-in for an embedder."""

    calls = []

    def fit(self, X, y=None, sample_weight=None):
        self.calls.append(("fit", X, y, sample_weight))
        self.fitted_ = True
        return self

    def transform(self, X):
        self.calls.append(("transform", X, None, None))
        return X / 2


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setattr(Recorder, "calls", [])
    return Recorder.calls


def asked(items=ITEMS, n_pairs=60):
    """Comparisons that leave the last five items unnamed."""
    rng = np.random.default_rng(1)
    first = rng.integers(0, 15, n_pairs)
    second = (first + rng.integers(1, 15, n_pairs)) % 15
    return Comparisons(items, np.stack([first, second], axis=1), groups=GROUPS)


# ------------------------------------------------------------------- each item once


def test_each_named_item_is_transformed_once_however_many_pairs_name_it(calls):
    X = asked()
    ItemwiseTransformer(Recorder()).fit(X).transform(X)
    assert [name for name, *_ in calls] == ["fit", "transform"]
    for _, items, *_ in calls:
        np.testing.assert_array_equal(items, ITEMS[np.unique(X.pairs)])


def test_fit_transform_runs_each_step_once(calls):
    X = asked()
    transformed = ItemwiseTransformer(Recorder()).fit_transform(X)
    assert [name for name, *_ in calls] == ["fit", "transform"]
    np.testing.assert_array_equal(np.asarray(transformed), np.asarray(X) / 2)


def test_fit_transform_uses_the_inner_fit_transform_and_needs_none():
    class OnlyBoth(Recorder):
        def fit_transform(self, X, y=None):
            return self.fit(X).transform(X) + 1

    class NoMixin(BaseEstimator):
        fit, transform = Recorder.fit, Recorder.transform
        calls = Recorder.calls

    X = asked()
    both = ItemwiseTransformer(OnlyBoth()).fit_transform(X)
    np.testing.assert_array_equal(np.asarray(both), np.asarray(X) / 2 + 1)
    neither = ItemwiseTransformer(NoMixin()).fit_transform(X)
    np.testing.assert_array_equal(np.asarray(neither), np.asarray(X) / 2)


def test_unnamed_items_are_not_seen():
    items = ITEMS.copy()
    items[15:] = 1e6
    X = asked(items)
    scaler = ItemwiseTransformer(StandardScaler()).fit(X).transformer_
    np.testing.assert_allclose(scaler.mean_, ITEMS[np.unique(X.pairs)].mean(axis=0))
    for train, _ in KFold(3).split(X):  # nor the test items, in cross-validation
        scaler = ItemwiseTransformer(StandardScaler()).fit(X[train]).transformer_
        assert scaler.n_samples_seen_ == len(np.unique(X[train].pairs))


def test_outcomes_and_weights_of_comparisons_are_not_passed_to_item_steps(calls):
    X, per_pair = asked(), np.ones(60)
    ItemwiseTransformer(Recorder()).fit(X, per_pair, sample_weight=per_pair)
    ItemwiseTransformer(Recorder()).fit_transform(X, per_pair, per_pair)
    assert all(y is None and weight is None for _, _, y, weight in calls)


def test_targets_and_weights_of_items_are(calls):
    y, weight = np.arange(20), np.ones(20)
    ItemwiseTransformer(Recorder()).fit(ITEMS, y, sample_weight=weight)
    _, items, passed_y, passed_weight = calls[0]
    assert items is ITEMS and passed_y is y and passed_weight is weight
    ours = ItemwiseTransformer(StandardScaler()).fit(ITEMS, sample_weight=GROUPS)
    theirs = StandardScaler().fit(ITEMS, sample_weight=GROUPS)
    np.testing.assert_array_equal(ours.transformer_.mean_, theirs.mean_)


# --------------------------------------------------------------- what goes in and out


def test_the_transformed_pairs_are_the_pairs_of_the_transformed_items():
    X = asked()
    transformed = ItemwiseTransformer(StandardScaler()).fit_transform(X)
    used = np.unique(X.pairs)
    expected = StandardScaler().fit_transform(ITEMS[used])
    np.testing.assert_array_equal(transformed.items, expected)
    row = np.full(20, -1)
    row[used] = np.arange(len(used))
    np.testing.assert_array_equal(transformed.pairs, row[X.pairs])
    np.testing.assert_array_equal(transformed.groups, GROUPS[used])


@pytest.mark.parametrize("scope", ["all", "within", "across"])
def test_a_lazy_pool_stays_lazy_and_keeps_its_groups(calls, scope):
    pool = Comparisons.all_pairs(ITEMS, groups=GROUPS, scope=scope)
    transformed = ItemwiseTransformer(Recorder()).fit_transform(pool)
    assert transformed.is_lazy
    assert len(transformed) == len(pool)
    np.testing.assert_array_equal(transformed.items, ITEMS / 2)
    np.testing.assert_array_equal(transformed.groups, GROUPS)
    np.testing.assert_array_equal(transformed.pairs, pool.pairs)
    assert [len(items) for _, items, *_ in calls] == [20, 20]


def test_an_array_of_pairs_is_transformed_as_comparisons():
    X = asked()
    step = ItemwiseTransformer(StandardScaler()).fit(X)
    from_array = step.transform(np.asarray(X))
    assert isinstance(from_array, Comparisons)
    assert from_array.shape == X.shape
    np.testing.assert_allclose(np.asarray(from_array), np.asarray(step.transform(X)))


@pytest.mark.parametrize("items", [ITEMS, ITEMS.tolist(), sparse.csr_matrix(ITEMS)])
def test_plain_items_pass_straight_through(items):
    ours = ItemwiseTransformer(MaxAbsScaler()).fit(items).transform(items)
    theirs = MaxAbsScaler().fit(items).transform(items)
    assert type(ours) is type(theirs)
    difference = ours - theirs
    assert abs(difference).max() == 0


def test_sparse_items_stay_sparse():
    X = asked(sparse.csr_matrix(ITEMS))
    transformed = ItemwiseTransformer(MaxAbsScaler()).fit_transform(X)
    assert sparse.issparse(transformed.items)
    dense = ItemwiseTransformer(MaxAbsScaler()).fit_transform(asked())
    np.testing.assert_allclose(np.asarray(transformed), np.asarray(dense))


def test_texts_become_sparse_features():
    texts = [f"word{i % 4} word{i}" for i in range(20)]
    step = ItemwiseTransformer(TfidfVectorizer())
    transformed = step.fit_transform(asked(texts))
    assert transformed.shape == (60, 2, len(step.transformer_.vocabulary_))
    assert "word19" not in step.transformer_.vocabulary_
    assert step.transform(texts).shape == (20, transformed.shape[2])


def test_a_frame_gives_names_and_takes_set_output():
    frame = pd.DataFrame(ITEMS, columns=["a", "b", "c"])
    X = asked(frame)
    step = ItemwiseTransformer(StandardScaler())
    plain = step.fit_transform(X)
    assert isinstance(plain.items, np.ndarray)
    assert step.feature_names_in_.tolist() == ["a", "b", "c"]
    assert step.n_features_in_ == 3
    assert step.get_feature_names_out().tolist() == ["a", "b", "c"]
    # Before and after fit, and through clone.
    for configured in (
        step.set_output(transform="pandas"),
        clone(step).fit(X),
        ItemwiseTransformer(StandardScaler()).set_output(transform="pandas").fit(X),
    ):
        out = configured.transform(X)
        assert isinstance(out, Comparisons) and isinstance(out.items, pd.DataFrame)
        assert out.items.columns.tolist() == ["a", "b", "c"]
        np.testing.assert_array_equal(np.asarray(out), np.asarray(plain))
        assert isinstance(configured.transform(frame), pd.DataFrame)
    with config_context(transform_output="pandas"):
        out = ItemwiseTransformer(StandardScaler()).fit_transform(X)
    assert isinstance(out, Comparisons) and isinstance(out.items, pd.DataFrame)
    with pytest.raises(ValueError, match="feature names should match"):
        step.transform(asked(frame.rename(columns={"a": "z"})))
    step.fit(asked())
    assert not hasattr(step, "feature_names_in_")


@pytest.mark.parametrize("kind", ["comparisons", "array", "items"])
def test_inverse_transform_undoes(kind):
    X = {"comparisons": asked(), "array": np.asarray(asked()), "items": ITEMS}[kind]
    step = ItemwiseTransformer(make_pipeline(StandardScaler(), PCA())).fit(X)
    back = step.inverse_transform(step.transform(X))
    assert isinstance(back, np.ndarray if kind == "items" else Comparisons)
    np.testing.assert_allclose(np.asarray(back), np.asarray(X))


def test_it_has_only_the_methods_its_transformer_has():
    for step in (ItemwiseTransformer(Recorder()), ItemwiseTransformer(MaxAbsScaler())):
        for name in ("inverse_transform", "get_feature_names_out"):
            assert hasattr(step, name) == hasattr(step.transformer, name)


def test_it_wants_fitting_where_its_transformer_does():
    with pytest.raises(NotFittedError):
        ItemwiseTransformer(StandardScaler()).transform(asked())
    stateless = ItemwiseTransformer(FunctionTransformer(np.negative)).transform(asked())
    np.testing.assert_array_equal(np.asarray(stateless), -np.asarray(asked()))


def test_the_given_transformer_is_cloned():
    scaler = StandardScaler()
    step = ItemwiseTransformer(scaler).fit(asked())
    assert step.transformer is scaler and not hasattr(scaler, "mean_")
    assert step.transformer_.mean_.shape == (3,)


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
@pytest.mark.parametrize("inner", [LogisticRegression(), "scaler", StandardScaler])
def test_it_takes_transformers_only(inner, method):
    with pytest.raises((ValueError, TypeError), match=r"transform|an instance"):
        getattr(ItemwiseTransformer(inner), method)(asked())


# ----------------------------------------------------------------- scikit-learn checks


def run_checks(inner, excused):
    """Names of the checks by status, without the one that the environment decides."""
    records = check_estimator(
        ItemwiseTransformer(inner),
        on_fail=None,
        on_skip=None,
        expected_failed_checks=excused,
    )
    checks = {"passed": [], "failed": [], "xfail": [], "skipped": []}
    for record in records:
        if "SCIPY_ARRAY_API is not set" not in str(record["exception"]):
            checks[record["status"]].append(record["check_name"])
    return checks


def test_it_passes_every_check_of_scikit_learn():
    checks = run_checks(StandardScaler(), {})
    assert len(checks["passed"]) >= 50
    assert checks["failed"] + checks["xfail"] + checks["skipped"] == []


def test_around_a_step_without_weights_only_the_checks_of_weights_are_excused():
    weights = {
        "check_all_zero_sample_weights_error",
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
        "check_sample_weights_list",
        "check_sample_weights_not_an_array",
        "check_sample_weights_not_overwritten",
        "check_sample_weights_pandas_series",
        "check_sample_weights_shape",
    }
    checks = run_checks(PCA(1), dict.fromkeys(weights, "PCA takes no sample_weight"))
    assert len(checks["passed"]) >= 45
    assert set(checks["xfail"]) <= weights
    assert checks["failed"] + checks["skipped"] == []
    with pytest.raises(TypeError, match=r"PCA.*sample_weight"):
        ItemwiseTransformer(PCA(1)).fit(ITEMS, sample_weight=np.ones(20))


# ---------------------------------------------------------------------------- pipeline


def outcomes(X):
    return (X.differences() @ [1.0, -0.2, 0.01] > 0).astype(float)


def test_a_pipeline_equals_its_steps_done_by_hand():
    X = asked()
    y = outcomes(X)
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor(alpha=1.0))
    model.fit(X, y)
    scaler = StandardScaler().fit(ITEMS[np.unique(X.pairs)])
    by_hand = BradleyTerryRegressor(alpha=1.0).fit(
        Comparisons(scaler.transform(ITEMS), X.pairs), y
    )
    np.testing.assert_allclose(model[-1].coef_, by_hand.coef_)
    rewards = model.predict(ITEMS)
    np.testing.assert_allclose(rewards, by_hand.predict(scaler.transform(ITEMS)))
    first, second = rewards[X.pairs].T
    np.testing.assert_allclose(model.predict(X), 1 / (1 + np.exp(second - first)))
    assert model.score(X, y) > 0.9


def test_a_grid_over_item_steps_and_regressor_chooses_by_held_out_comparisons():
    X = asked(n_pairs=90)
    y = outcomes(X)
    model = make_reward_pipeline(
        StandardScaler(), PCA(), BradleyTerryRegressor(alpha=1.0)
    )
    grid = {
        "items__transformer__pca__n_components": [1, 3],
        "regressor__alpha": [0.1, 1e4],
    }
    scoring = "neg_mean_squared_error"
    search = GridSearchCV(model, grid, cv=3, scoring=scoring).fit(X, y)
    assert search.best_params_ == {
        "items__transformer__pca__n_components": 3,
        "regressor__alpha": 0.1,
    }
    assert search.predict(ITEMS).shape == (20,)
    assert cross_validate(model, X, y, cv=3)["test_score"].mean() > 0.8


def test_a_pipeline_on_raw_texts_predicts_raw_texts():
    texts = [f"{'good' if i % 2 else 'bad'} answer number{i}" for i in range(20)]
    X = asked(texts)
    y = (X.pairs[:, 0] % 2 - X.pairs[:, 1] % 2 + 1) / 2
    model = make_reward_pipeline(TfidfVectorizer(), BradleyTerryRegressor(alpha=1.0))
    rewards = model.fit(X, y).predict(texts)
    assert rewards[1::2].min() > rewards[::2].max()


def test_a_cached_step_is_computed_once_for_equal_comparisons(calls, tmp_path):
    model = make_reward_pipeline(Recorder(), BradleyTerryRegressor(alpha=1.0))
    model.set_params(memory=joblib.Memory(tmp_path, verbose=0))
    rewards = []
    for X in (asked(), asked(ITEMS.copy())):
        rewards.append(model.fit(X, outcomes(X))[-1].predict(ITEMS))
        assert len(calls) == 2  # fit and transform of the first round
    np.testing.assert_array_equal(*rewards)
    model.fit(asked(ITEMS + 1), outcomes(X))
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([], ["regressor"]),
        ([StandardScaler()], ["items", "regressor"]),
        ([StandardScaler(), PCA(2)], ["items", "regressor"]),
    ],
)
def test_make_reward_pipeline_puts_item_steps_in_one_transformer(steps, names):
    regressor = BradleyTerryRegressor(alpha=1.0)
    model = make_reward_pipeline(*steps, regressor)
    assert [name for name, _ in model.steps] == names
    assert model[-1] is regressor
    if len(steps) == 1:
        assert model["items"].transformer is steps[0]
    if len(steps) == 2:
        assert [step for _, step in model["items"].transformer.steps] == steps
    X = asked()
    assert model.fit(X, outcomes(X)).predict(ITEMS).shape == (20,)


@pytest.mark.parametrize(
    ("steps", "got"), [([], "Got no step"), ([StandardScaler()], r"Got \(StandardSc")]
)
def test_make_reward_pipeline_needs_a_regressor_last(steps, got):
    with pytest.raises(TypeError, match=f"last step must be a regressor.*{got}"):
        make_reward_pipeline(*steps)


def test_make_reward_pipeline_refuses_item_steps_that_cannot_transform():
    with pytest.raises((TypeError, ValueError), match="transform"):
        make_reward_pipeline(
            LogisticRegression(), StandardScaler(), BradleyTerryRegressor()
        ).fit(asked(), np.ones(60))
