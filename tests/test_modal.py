"""The modAL face: the contract, modAL's own strategies, and modAL's own learner."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    BradleyTerryRegressor,
    Comparisons,
    make_reward_pipeline,
)
from skarm.annotators import SimulatedAnnotator
from skarm.exceptions import PoolExhaustedError
from skarm.modal import ActiveLearner

RNG = np.random.default_rng(0)
ITEMS = RNG.standard_normal((25, 3))
POOL = Comparisons.all_pairs(ITEMS)
REWARDS = ITEMS @ [2.0, -1.0, 0.5]
SAMPLER = ActiveComparisonSampler("past_aware_d_optimal", random_state=0)


def answers(asked):
    return SimulatedAnnotator(REWARDS, random_state=0)(asked)


def loop(learner, pool, y, n_rounds=4, n_instances=3):
    """A loop as modAL's pages write it."""
    asked = []
    for _ in range(n_rounds):
        indices, instances = learner.query(pool, n_instances=n_instances)
        learner.teach(X=instances, y=y[indices])
        asked += pool[indices].tolist() if hasattr(pool, "tolist") else []
        pool = np.delete(pool, indices, axis=0)
        y = np.delete(y, indices)
    return np.array(asked)


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("strategy", ["sampler", "max_std", "uncertainty"])
def test_the_same_loop_asks_and_learns_the_same_in_modal(
    strategy, pipeline, monkeypatch
):
    theirs = pytest.importorskip("modAL.models", reason="needs modAL-python")
    from modAL.disagreement import max_std_sampling
    from modAL.uncertainty import uncertainty_sampling

    # It passes force_all_finite, which scikit-learn 1.8 removed.
    monkeypatch.setattr("modAL.models.learners.check_X_y", lambda X, y, **_: (X, y))
    X, y = np.asarray(POOL), answers(POOL[:])
    model = BradleyTerryRegressor(alpha=1.0)
    if pipeline:
        model = make_reward_pipeline(StandardScaler(), model)
    if strategy == "uncertainty":  # asks modAL's learner for classes
        X, model = POOL.differences(), LogisticRegression()
    rule = {
        "sampler": SAMPLER,
        "max_std": max_std_sampling,
        "uncertainty": uncertainty_sampling,
    }[strategy]
    known = np.r_[np.flatnonzero(y == 0)[:3], np.flatnonzero(y == 1)[:3]]
    learners = [
        make(
            estimator=clone(model),
            query_strategy=rule,
            X_training=X[known],
            y_training=y[known],
        )
        for make in (theirs.ActiveLearner, ActiveLearner)
    ]
    asked = [loop(learner, X, y) for learner in learners]
    np.testing.assert_array_equal(*asked)
    np.testing.assert_array_equal(*(learner.X_training for learner in learners))
    np.testing.assert_array_equal(*(learner.y_training for learner in learners))
    np.testing.assert_allclose(*(learner.predict(X) for learner in learners))
    np.testing.assert_allclose(*(learner.score(X, y) for learner in learners))


def test_the_uncertainty_rules_of_modal_ask_a_reward_model_what_ours_asks():
    rules = pytest.importorskip("modAL.uncertainty", reason="needs modAL-python")
    past = Comparisons.random_pairs(ITEMS, 15, random_state=0)
    expected, _ = ActiveLearner(
        BradleyTerryRegressor(), ActiveComparisonSampler("entropy"), past, answers(past)
    ).query(POOL, n_instances=5)
    for name in ("uncertainty_sampling", "margin_sampling", "entropy_sampling"):
        learner = ActiveLearner(
            BradleyTerryRegressor(), getattr(rules, name), past, answers(past)
        )
        indices, _ = learner.query(POOL, n_instances=5)
        assert set(indices) == set(expected)


def test_an_unfitted_model_is_a_cold_start_for_modals_rules_too():
    rules = pytest.importorskip("modAL.uncertainty", reason="needs modAL-python")
    for rule in (rules.uncertainty_sampling, None, SAMPLER):
        learner = ActiveLearner(BradleyTerryRegressor(), rule)
        indices, asked = learner.query(POOL, n_instances=2)
        assert len(set(indices)) == len(asked) == 2
        with pytest.raises(NotFittedError):
            learner.predict(asked)


def test_comparisons_are_kept_as_comparisons_over_one_item_store():
    learner = ActiveLearner(estimator=BradleyTerryRegressor(), query_strategy=SAMPLER)
    for _ in range(3):
        _, asked = learner.query(POOL, n_instances=4)
        assert learner.teach(asked, answers(asked)) is None
    assert len(learner.X_training) == len(learner.y_training) == 12
    assert learner.X_training.items is POOL.items
    array = np.asarray(POOL[:2])
    learner.teach(array, [1, 0])
    np.testing.assert_array_equal(np.asarray(learner.X_training)[-2:], array)
    assert learner.predict(ITEMS).shape == (25,)
    assert learner.score(POOL[:], answers(POOL[:])) > 0.5


def test_other_kinds_of_rows_are_stacked_as_they_are():
    X, y = POOL.differences()[:40], np.arange(40) % 2
    for make in (np.asarray, sparse.csr_array, list):
        learner = ActiveLearner(LogisticRegression(), lambda learner, X: np.arange(2))
        learner.teach(make(X[:30]), y[:30])
        learner.teach(make(X[30:]), list(y[30:]))
        stacked = learner.X_training
        stacked = stacked.toarray() if sparse.issparse(stacked) else stacked
        np.testing.assert_array_equal(stacked, X)
        indices, asked, metrics = learner.query(make(X), return_metrics=True)
        assert metrics is None and len(indices) == 2 and np.shape(asked)[0] == 2
    pandas = pytest.importorskip("pandas")
    learner = ActiveLearner(LogisticRegression())
    frame = pandas.DataFrame(X, columns=list("abc"))
    learner.teach(frame[:30], y[:30])
    learner.teach(frame[30:], y[30:])
    pandas.testing.assert_frame_equal(learner.X_training, frame)


def test_fit_forgets_only_new_does_not_keep_and_bootstrap_draws():
    y = answers(POOL[:])
    learner = ActiveLearner(
        BradleyTerryRegressor(alpha=1.0), None, POOL[:50], y[:50], random_state=0
    )
    fitted = learner.estimator.coef_
    learner.teach(POOL[50:90], y[50:90], only_new=True)
    assert len(learner.X_training) == 50
    direct = BradleyTerryRegressor(alpha=1.0)
    np.testing.assert_array_equal(
        learner.estimator.coef_, direct.fit(POOL[50:90], y[50:90]).coef_
    )
    assert learner.fit(POOL[:20], y[:20]) is learner
    assert len(learner.X_training) == len(learner.y_training) == 20
    samples = []
    for _ in range(2):
        learner.fit(POOL[:50], y[:50], bootstrap=True)
        samples.append(learner.estimator.coef_)
        assert len(learner.X_training) == 50
    assert (samples[0] != fitted).all() and (samples[0] != samples[1]).all()


def test_weights_follow_the_rows_into_a_bootstrap_sample():
    # Half of the answers are false and of no weight; a sample must not mix them up.
    y = (REWARDS[POOL.pairs[:, 0]] > REWARDS[POOL.pairs[:, 1]]).astype(float)
    weights = np.arange(len(y)) % 2
    lies = np.where(weights == 1, y, 1 - y)
    learner = ActiveLearner(BradleyTerryRegressor(alpha=1.0), random_state=0)
    learner.fit(POOL[:], lies, bootstrap=True, sample_weight=weights)
    assert learner.score(POOL[:], y) > 0.95


def test_clones_learn_the_same_data_with_the_same_arguments():
    weights = np.linspace(0, 1, 30)
    learner = ActiveLearner(
        BradleyTerryRegressor(alpha=1.0),
        SAMPLER,
        POOL[:30],
        answers(POOL[:30]),
        sample_weight=weights,
    )
    twin = clone(learner)
    assert twin.estimator is not learner.estimator
    np.testing.assert_array_equal(twin.estimator.coef_, learner.estimator.coef_)
    np.testing.assert_array_equal(twin.get_params()["sample_weight"], weights)
    assert twin.set_params(estimator__alpha=2.0).estimator.alpha == 2.0
    again = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(again.predict(ITEMS), learner.predict(ITEMS))
    empty = clone(ActiveLearner(BradleyTerryRegressor()))
    assert empty.X_training is None and empty.y_training is None


def test_a_strategy_is_called_once_and_its_errors_are_its_own():
    calls = []

    def broken(learner, X, n_instances=1):
        calls.append(n_instances)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        ActiveLearner(BradleyTerryRegressor(), broken).query(POOL, 7)
    assert calls == [7]  # modAL hides the error and calls again
    with pytest.raises(PoolExhaustedError, match="candidates left"):
        ActiveLearner(BradleyTerryRegressor()).query(POOL[:2], n_instances=3)


def test_bad_answers_change_nothing():
    learner = ActiveLearner(
        BradleyTerryRegressor(), None, POOL[:5], answers(POOL[:5]), random_state=0
    )
    for X, y, message in (
        (POOL[5:7], [1.0], "inconsistent numbers of samples"),
        (POOL[5:7], [2.0, 0.0], r"y must lie in \[0, 1\]"),
        (np.ones((1, 2, 4)), [1.0], "have the same columns"),
    ):
        with pytest.raises(ValueError, match=message):
            learner.teach(X, y)
        assert len(learner.X_training) == len(learner.y_training) == 5
    with pytest.raises(TypeError, match="query_strategy must be callable"):
        ActiveLearner(BradleyTerryRegressor(), "entropy")


def test_probabilities_are_the_estimators_or_those_of_comparisons():
    y = answers(POOL[:])
    learner = ActiveLearner(BradleyTerryRegressor(), None, POOL[:], y)
    probabilities = learner.predict_proba(POOL[:9])
    np.testing.assert_array_equal(probabilities[:, 1], learner.predict(POOL[:9]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    with pytest.raises(TypeError, match="X must be comparisons"):
        learner.predict_proba(ITEMS)
    X = POOL.differences()
    learner = ActiveLearner(LogisticRegression(), None, X, y)
    np.testing.assert_array_equal(
        learner.predict_proba(X), learner.estimator.predict_proba(X)
    )
    assert not hasattr(ActiveLearner(StandardScaler()), "predict_proba")


def test_the_data_can_be_seen_as_the_last_step_sees_them():
    y = answers(POOL[:])
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    learner = ActiveLearner(model, None, POOL[:], y)
    seen = learner.transform_without_estimating(POOL[:])
    np.testing.assert_allclose(seen.items.mean(axis=0), 0, atol=1e-12)
    bare = ActiveLearner(BradleyTerryRegressor())
    assert bare.transform_without_estimating(POOL) is POOL


def test_the_example_of_migrating_runs():
    path = Path(__file__).resolve().parents[1] / "examples" / "migrate_from_modal.py"
    run = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=True, timeout=120
    )
    assert "skarm.modal" in run.stdout and "pairwise accuracy" in run.stdout
