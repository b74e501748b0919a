"""The loop: with people, replayed, searched over, pickled, and misused."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
    make_reward_pipeline,
)
from skarm.annotators import SimulatedAnnotator
from skarm.datasets import load_assistant_answers, make_comparisons
from skarm.exceptions import PoolExhaustedError
from skarm.strategies import get_strategy_names
from skarm.text import SentenceEmbedder, train_static_embedding


@pytest.fixture(scope="module")
def world():
    data = make_comparisons(600, n_items=80, n_features=6, n_groups=4, random_state=0)
    pool = Comparisons.all_pairs(
        data.comparisons.items, groups=data.comparisons.groups, scope="within"
    )
    return pool, data, SimulatedAnnotator(data.rewards, random_state=1)


def make_learner(strategy="auto", **params):
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    return ActiveRewardLearner(
        model, ActiveComparisonSampler(strategy), **{"random_state": 0, **params}
    )


def rounds(learner, world, n_rounds=3, n_pairs=20):
    pool, _, annotator = world
    taken = []
    for _ in range(n_rounds):
        indices, asked = learner.query(pool, n_pairs=n_pairs)
        taken.append(indices)
        learner.teach(asked, annotator(asked))
    return np.concatenate(taken)


@pytest.mark.parametrize("strategy", get_strategy_names())
def test_loop_never_repeats_a_pair_and_learns(world, strategy):
    learner = make_learner(strategy)
    taken = rounds(learner, world)
    assert len(np.unique(taken)) == 60
    rewards = learner.predict(world[1].comparisons.items)
    assert np.corrcoef(rewards, world[1].rewards)[0, 1] > 0.6
    assert learner.asked_.items is world[0].items
    assert [r["n_labels"] for r in learner.history_] == [20, 40, 60]
    assert np.isnan(learner.history_[0]["accuracy_before"])
    assert all(0 <= r["accuracy_before"] <= 1 for r in learner.history_[1:])


def test_same_random_state_asks_the_same_pairs(world):
    first, second = (rounds(make_learner("random"), world) for _ in range(2))
    other = rounds(make_learner("random", random_state=7), world)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_query_before_any_answer_needs_no_model(world):
    learner = make_learner()
    indices, asked = learner.query(world[0], n_pairs=5)
    assert np.array_equal(world[0][indices].pairs, asked.pairs)
    assert not hasattr(learner, "estimator_")
    with pytest.raises(NotFittedError, match="learned no answer yet"):
        learner.predict(world[0].items)
    with pytest.raises(NotFittedError, match="learned no answer yet"):
        learner.score(asked, np.ones(5))


def test_skipped_pairs_are_kept_but_not_learned_nor_asked_again(world):
    learner = make_learner("random")
    indices, asked = learner.query(world[0], n_pairs=4)
    learner.teach(asked, [np.nan] * 4)
    assert not hasattr(learner, "estimator_") and len(learner.y_) == 4
    rest, asked = learner.query(world[0], n_pairs=len(world[0]) - 4)
    assert not set(indices) & set(rest)
    learner.teach(asked[:2], [1.0, np.nan])
    assert learner.history_[-1]["n_labels"] == 1
    assert learner.model_.n_comparisons_ == 1


def test_bad_answers_change_nothing(world):
    learner = make_learner()
    rounds(learner, world, 1)
    _, asked = learner.query(world[0], n_pairs=3)
    state = dict(learner.__dict__)
    with pytest.raises(ValueError, match=r"y must lie in \[0, 1\]"):
        learner.teach(asked, [0, 1, 2])
    with pytest.raises(ValueError, match="one outcome per comparison"):
        learner.teach(asked, [0, 1])
    bad = Comparisons(np.full((2, 6), np.nan), [[0, 1]])
    with pytest.raises(ValueError, match="NaN"):
        learner.teach(bad, [1.0])
    assert learner.__dict__.keys() == state.keys()
    assert learner.y_ is state["y_"] and learner.model_ is state["model_"]
    learner.teach(asked, [0, 1, 0.5])
    assert len(learner.y_) == 23


def test_budget_is_an_end(world):
    learner = make_learner("random", budget=30)
    rounds(learner, world, 1)
    with pytest.raises(
        PoolExhaustedError, match=r"budget=30 for 20 asked and n_pairs=1"
    ):
        learner.query(world[0], n_pairs=11)
    assert len(learner.query(world[0], n_pairs=10)[0]) == 10


def test_n_pairs_is_checked_before_the_budget(world):
    with pytest.raises(ValueError, match="n_pairs must be a positive integer"):
        make_learner(budget=10).query(world[0], n_pairs="5")


def test_small_pool_is_exhausted_with_an_error():
    learner = ActiveRewardLearner(BradleyTerryRegressor(), ActiveComparisonSampler())
    pool = Comparisons.all_pairs(np.eye(3))
    _, asked = learner.query(pool, n_pairs=3)
    learner.teach(asked, [1, 0, 1])
    with pytest.raises(PoolExhaustedError, match="candidates left, 0 of 3"):
        learner.query(pool)
    with pytest.raises(ValueError, match="at least one pair"):
        learner.query(pool[[]])


def test_arrays_of_features_work_as_comparisons():
    data = make_comparisons(60, n_items=30, n_features=4, random_state=0)
    X = np.asarray(data.comparisons)
    learner = make_learner("greedy_d_optimal")
    left = np.arange(60)
    for _ in range(3):
        chosen, asked = learner.query(X[left], n_pairs=8)
        learner.teach(asked, data.y[left[chosen]])
        left = np.delete(left, chosen)
    assert len(learner.y_) == 24
    assert learner.predict(X[:5]).shape == (5,)
    assert learner.predict(data.comparisons.items).shape == (30,)


def test_mid_loop_pickle_goes_on_as_if_nothing_happened(world):
    straight, broken = make_learner(), make_learner()
    first = rounds(straight, world, 3)
    start = rounds(broken, world, 1)
    broken = pickle.loads(pickle.dumps(broken))
    assert np.array_equal(first, np.concatenate([start, rounds(broken, world, 2)]))
    assert len(broken.asked_) == 60 and broken.asked_.n_items == 80


def test_item_steps_are_fitted_once_on_the_first_pool(world):
    learner = make_learner()
    rounds(learner, world, 1)
    steps = learner.item_steps_
    rounds(learner, world, 1)
    assert learner.item_steps_ is steps
    scaler = steps[-1].transformer_
    assert np.allclose(scaler.mean_, world[0].items.mean(axis=0))


def test_item_steps_that_could_not_be_fitted_are_not_forgotten(world):
    X = np.random.default_rng(0).standard_normal((60, 40))
    learner = make_learner().set_params(estimator__items__transformer=PCA(10))
    few = Comparisons.all_pairs(X[:5])
    with pytest.raises(ValueError, match="n_components=10"):
        learner.query(few, n_pairs=2)
    with pytest.raises(ValueError, match="n_components=10"):
        learner.teach(few[:4], [0, 1, 0, 1])
    assert not hasattr(learner, "asked_")
    asked = Comparisons.all_pairs(X)[:20]
    assert learner.teach(asked, np.arange(20) % 2).model_.n_features_in_ == 10


def test_replay_uses_only_asked_answers_within_the_budget(world):
    _, data, _ = world
    learner = make_learner("random", budget=50, n_initial=20, n_pairs=12)
    learner.fit(data.comparisons, data.y)
    assert [r["n_new"] for r in learner.history_] == [20, 12, 12, 6]
    asked = learner.asked_indices_
    assert len(np.unique(asked)) == 50
    assert np.array_equal(learner.y_, data.y[asked])
    hidden = np.full(600, np.nan)
    hidden[asked] = data.y[asked]
    again = (
        clone(learner)
        .set_params(budget=None, n_initial=50)
        .fit(data.comparisons, hidden)
    )
    items = data.comparisons.items
    corr = np.corrcoef(again.predict(items), learner.predict(items))[0, 1]
    assert corr > 0.999  # the same 50 answers, scaled on fewer items


def test_replay_forgets_what_came_before(world):
    _, data, _ = world
    learner = make_learner(budget=30, n_initial=10, n_pairs=10)
    first = learner.fit(data.comparisons, data.y).asked_indices_
    second = learner.fit(data.comparisons, data.y).asked_indices_
    assert np.array_equal(first, second) and len(learner.history_) == 3
    with pytest.raises(ValueError, match="all NaN"):
        learner.fit(data.comparisons, np.full(600, np.nan))


def test_replay_serves_repeated_votes_on_a_pair():
    votes = Comparisons(np.eye(3), [[0, 1], [0, 1], [1, 0], [1, 2]])
    learner = make_learner("greedy_d_optimal").fit(votes, [1, 1, 0, 1])
    assert sorted(learner.asked_indices_) == [0, 1, 2, 3]


def test_search_over_strategies_and_scoring(world):
    _, data, _ = world
    search = GridSearchCV(
        make_learner(budget=40, n_initial=20, n_pairs=20),
        {"sampler__strategy": ["random", "v_optimal"], "n_pairs": [10]},
        cv=3,
        n_jobs=2,
        error_score="raise",
    ).fit(data.comparisons, data.y)
    assert search.best_score_ > 0.6
    assert search.predict(data.comparisons.items).shape == (80,)
    scores = cross_val_score(make_learner(budget=40), data.comparisons, data.y, cv=3)
    assert (scores > 0.55).all()


def test_search_over_raw_texts_embeds_each_text_once(tmp_path):
    data = load_assistant_answers()
    texts = data.responses[:120]
    path = train_static_embedding(list(texts), tmp_path / "model", dim=16)
    pool = Comparisons.random_pairs(
        *(texts, 240), groups=data.groups[:120], scope="within", random_state=0
    )
    y = SimulatedAnnotator(data.ratings[:120], temperature=2)(pool)
    model = make_reward_pipeline(
        SentenceEmbedder(path), StandardScaler(), BradleyTerryRegressor()
    )
    search = GridSearchCV(
        ActiveRewardLearner(model, ActiveComparisonSampler(), budget=100),
        {"sampler__strategy": ["random", "d_optimal", "v_optimal"]},
        n_jobs=2,
        error_score="raise",
    ).fit(pool, y)
    info = SentenceEmbedder(path).cache_info()
    named = len(np.unique(pool.pairs))
    assert info["n_encoded"] == info["n_texts"] == named
    assert search.predict(list(texts)).shape == (120,)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    "params, message",
    [
        ({"budget": 0}, "'budget' parameter"),
        ({"n_initial": 0}, "'n_initial' parameter"),
        ({"n_pairs": 1.5}, "'n_pairs' parameter"),
        ({"sampler": "random"}, "'sampler' parameter"),
        ({"estimator": None}, "'estimator' parameter"),
    ],
)
def test_parameters_are_checked(world, params, message):
    with pytest.raises(ValueError, match=message):
        make_learner().set_params(**params).query(world[0])


# ------------------------------------------------------------------- planning a query


def test_what_was_asked_stays_excluded_beside_the_callers_exclusions(world):
    pool, _, annotator = world
    learner = make_learner("random")
    first, asked = learner.query(pool, n_pairs=30)
    learner.teach(asked, annotator(asked))
    left = np.setdiff1d(np.arange(len(pool)), first)
    for exclude in (left[:50], pool[left[:50]]):
        found, _ = learner.query(pool, n_pairs=len(left) - 50, exclude=exclude)
        assert set(found) == set(left[50:])


def test_targets_and_costs_are_given_as_raw_as_the_pool(world):
    pool = world[0]
    learner = make_learner("v_optimal")
    rounds(learner, world, 1)
    seen = []

    def cost(comparisons):
        assert comparisons.items is pool.items
        return 1.0 + comparisons.pairs.sum(axis=1)

    def look(design, n_pairs, *, rng):
        seen.append((design.costs, design.target_moment))
        return np.arange(n_pairs)

    learner.set_params(sampler=ActiveComparisonSampler(look))
    learner.query(pool, n_pairs=3, target=pool.items[:10], cost=cost)
    costs, moment = seen[0]
    asked = learner.asked_.pairs.tolist()
    left = [pair for pair in pool.pairs.tolist() if pair not in asked]
    np.testing.assert_array_equal(costs, 1.0 + np.sum(left, axis=1))
    scaled = learner.item_steps_.transform(pool.items[:10])
    x = Comparisons.all_pairs(scaled).differences()
    np.testing.assert_allclose(moment, x.T @ x / len(x))


def test_a_replay_logs_which_pairs_were_drawn_at_random(world):
    _, data, _ = world
    learner = make_learner("entropy", budget=60, n_initial=20, n_pairs=20)
    learner.set_params(sampler__random_fraction=0.2).fit(data.comparisons, data.y)
    assert learner.asked_at_random_.shape == learner.asked_indices_.shape == (60,)
    assert learner.asked_at_random_.sum() == 12


@pytest.mark.parametrize("moment", ["query", "fit"])
def test_an_interrupt_leaves_the_learner_usable(world, moment, monkeypatch):
    pool, _, annotator = world
    learner, twin = make_learner("entropy"), make_learner("entropy")
    for each in (learner, twin):
        rounds(each, world, 1)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    _, asked = learner.query(pool, n_pairs=5)
    _, same = twin.query(pool, n_pairs=5)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if moment == "query":
            patch.setattr(BradleyTerryRegressor, "predict", interrupt)
            learner.query(pool, n_pairs=5)
        else:
            patch.setattr(BradleyTerryRegressor, "fit", interrupt)
            learner.teach(asked, annotator(asked))
    assert len(learner.y_) == 20
    answers = annotator(asked)
    np.testing.assert_array_equal(asked.pairs, same.pairs)
    np.testing.assert_array_equal(
        learner.teach(asked, answers).predict(pool.items),
        twin.teach(same, answers).predict(pool.items),
    )
    learner.query(pool, n_pairs=5)
