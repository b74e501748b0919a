"""scikit-learn's callbacks see, and may end, the rounds of a replay."""

import importlib.util
import sys

import numpy as np
import pytest

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    _callbacks,
)
from skarm.datasets import make_comparisons

DATA = make_comparisons(100, n_items=40, n_features=3, random_state=0)


def learner(**params):
    return ActiveRewardLearner(
        BradleyTerryRegressor(),
        ActiveComparisonSampler(random_state=0),
        **{"n_initial": 20, "n_pairs": 15, **params},
    )


class Watch:
    """Notes what a fit tells it, and may end it."""

    def __init__(self, stop_after=None):
        self.stop_after, self.events, self.n_labels = stop_after, [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context):
        self.events.append(f"end {context.task_name}")
        if context.task_name == "round":
            self.n_labels.append(len(estimator.y_))
        return len(self.n_labels) == self.stop_after


@pytest.mark.parametrize(
    "budget, expected",
    [(60, [20, 35, 50, 60]), (20, [20]), (7, [7]), (35, [20, 35]), (None, None)],
)
def test_every_round_is_told_once(budget, expected):
    pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
    watch = Watch()
    learner(budget=budget).set_callbacks(watch).fit(DATA.comparisons, DATA.y)
    assert watch.n_labels == (expected or [20, 35, 50, 65, 80, 95, 100])
    rounds = ["begin round", "end round"] * len(watch.n_labels)
    assert watch.events == ["setup", "begin fit", *rounds, "end fit", "teardown"]


def test_a_callback_may_end_a_replay_which_is_then_whole():
    pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
    stopped = learner().set_callbacks(Watch(stop_after=2))
    stopped.fit(DATA.comparisons, DATA.y)
    shorter = learner(budget=35).fit(DATA.comparisons, DATA.y)
    np.testing.assert_array_equal(stopped.asked_indices_, shorter.asked_indices_)
    items = DATA.comparisons.items
    np.testing.assert_array_equal(stopped.predict(items), shorter.predict(items))


def test_the_progress_bar_of_scikit_learn_shows_the_rounds():
    callback = pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
    pytest.importorskip("rich", reason="the bar needs rich")
    watched = learner(budget=50).set_callbacks(callback.ProgressBar())
    assert len(watched.fit(DATA.comparisons, DATA.y).y_) == 50


def test_without_callbacks_in_scikit_learn_rounds_are_a_plain_loop(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("older", _callbacks.__file__)
    older = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(older)

    class Learner(older.CallbackSupportMixin):
        @older.with_callbacks
        def fit(self):
            with older.rounds(self, 3) as each_round:
                return list(each_round)

    assert Learner().fit() == [0, 1, 2] and not hasattr(Learner, "set_callbacks")
