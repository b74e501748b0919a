"""Splits without leakage, searches over strategies, and metadata that finds its way."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
    make_reward_pipeline,
)
from skarm.datasets import make_comparisons
from skarm.metrics import get_scorer
from skarm.model_selection import ItemKFold

DATA = make_comparisons(360, n_items=60, n_features=4, n_groups=4, random_state=0)
X, Y = DATA.comparisons, DATA.y
ACROSS = Comparisons.random_pairs(
    X.items, 500, groups=X.groups, scope="across", random_state=0
)


def items_of(comparisons, rows):
    return set(comparisons.pairs[rows].ravel().tolist())


# -------------------------------------------------------------------------- splitters


@pytest.mark.parametrize("pool", [X, ACROSS, Comparisons.all_pairs(X.items)])
@pytest.mark.parametrize("n_splits", [2, 5])
def test_no_item_is_on_both_sides_and_only_straddling_pairs_are_dropped(pool, n_splits):
    n_tested, n_trained = np.zeros((2, len(pool)), dtype=int)
    for train, test in ItemKFold(n_splits, random_state=0).split(pool):
        assert not items_of(pool, test) & items_of(pool, train)
        n_tested[test] += 1
        n_trained[train] += 1
    # Two items in one fold, or in two: every other fold learns them.
    assert set(n_tested) == {0, 1}
    np.testing.assert_array_equal(n_trained, n_splits - 2 + n_tested)
    assert ItemKFold(n_splits).get_n_splits(pool) == n_splits


def test_prompts_are_kept_together_also_where_pairs_cross_them():
    for train, test in ItemKFold(2, by="group", random_state=0).split(ACROSS):
        prompts = [set(X.groups[ACROSS.pairs[rows]].ravel()) for rows in (train, test)]
        assert not prompts[0] & prompts[1]
    for train, test in ItemKFold(4, by="group", random_state=0).split(X):
        assert len(train) + len(test) == len(X)  # within prompts nothing is dropped


def test_equal_rows_of_an_array_are_one_item():
    rows = np.asarray(X)
    for train, test in ItemKFold(3, random_state=0).split(rows):
        items = [
            {row.tobytes() for row in rows[r].reshape(-1, 4)} for r in (train, test)
        ]
        assert not items[0] & items[1]


def test_seeds_shuffle_and_repeat():
    first, again, other = (
        [test.tolist() for _, test in ItemKFold(3, random_state=seed).split(X)]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_memorised_items_look_good_under_kfold_and_not_under_itemkfold():
    # One column per item: rewards of items not seen in training cannot be known.
    pool = Comparisons.all_pairs(np.arange(40.0)[:, None])[:]
    worth = np.random.default_rng(0).permutation(40)
    y = (worth[pool.pairs[:, 0]] > worth[pool.pairs[:, 1]]).astype(float)
    model = make_reward_pipeline(
        OneHotEncoder(handle_unknown="ignore"), BradleyTerryRegressor(alpha=0.1)
    )
    leaky = cross_val_score(model, pool, y, cv=KFold(4, shuffle=True, random_state=0))
    honest = cross_val_score(model, pool, y, cv=ItemKFold(4, random_state=0))
    assert leaky.mean() > 0.9
    np.testing.assert_allclose(honest, 0.5)


def test_splits_that_cannot_be_made_say_why():
    with pytest.raises(ValueError, match="n_splits must be an integer of at least 2"):
        ItemKFold(1)
    with pytest.raises(ValueError, match="by must be 'item' or 'group'"):
        ItemKFold(by="prompt")
    with pytest.raises(ValueError, match="at most the number of items compared, 3"):
        next(ItemKFold(5).split(Comparisons.all_pairs(np.eye(3))))
    with pytest.raises(ValueError, match="needs the groups of the items"):
        next(ItemKFold(2, by="group").split(Comparisons.all_pairs(np.eye(3))))
    with pytest.raises(ValueError, match=r"Fold 0 of 2 has \d inside and \d outside"):
        next(ItemKFold(2).split(Comparisons(np.eye(4), [[0, 1], [0, 2], [0, 3]])))


# --------------------------------------------------------------------------- searches


def learner(**params):
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    return ActiveRewardLearner(
        model,
        ActiveComparisonSampler(random_state=0),
        **{"budget": 60, "n_initial": 20, "n_pairs": 20, **params},
    )


STRATEGIES = {"sampler__strategy": ["random", "entropy", "d_optimal", "v_optimal"]}


def test_strategies_race_under_a_growing_budget():
    search = HalvingGridSearchCV(
        *(learner(), STRATEGIES),
        resource="budget",
        min_resources=20,
        max_resources=80,
        factor=2,
        cv=ItemKFold(2, random_state=0),
        random_state=0,
        error_score="raise",
    ).fit(X, Y)
    assert search.n_resources_ == [20, 40, 80]
    assert search.n_candidates_ == [4, 2, 1]
    assert search.best_estimator_.budget == 80
    assert search.predict(X.items).shape == (60,)


def test_strategies_race_under_a_growing_number_of_recorded_answers():
    search = HalvingGridSearchCV(
        *(learner(budget=30), STRATEGIES),
        min_resources=120,
        factor=2,
        cv=KFold(3, shuffle=True, random_state=0),
        scoring=get_scorer("neg_brier_score"),
        random_state=0,
        error_score="raise",
    ).fit(X, Y)
    assert search.n_resources_ == [120, 240]
    assert (np.asarray(search.cv_results_["mean_test_score"]) < 0).all()


def test_group_folds_and_item_folds_go_into_a_search():
    for cv, params in (
        (GroupKFold(4), {"groups": X.pair_groups()}),
        (ItemKFold(4, by="group", random_state=0), {}),
    ):
        search = GridSearchCV(learner(), STRATEGIES, cv=cv, error_score="raise")
        assert search.fit(X, Y, **params).best_score_ > 0.5


# ----------------------------------------------------------------------------- routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


WEIGHTS = np.random.default_rng(1).integers(0, 3, len(Y)).astype(float)
PROMPTS = X.pair_groups()
HALF = np.arange(len(Y)) % 2


def routed_model():
    return (
        BradleyTerryRegressor(alpha=1.0)
        .set_fit_request(sample_weight=True, groups=True)
        .set_score_request(sample_weight=True)
    )


def test_weights_reach_the_model_and_not_the_item_steps(routing):
    pipeline = make_reward_pipeline(StandardScaler(), routed_model())
    pipeline.fit(X, Y, sample_weight=WEIGHTS, groups=PROMPTS)
    scaled = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()).fit(X, Y)
    direct = BradleyTerryRegressor(alpha=1.0).fit(
        scaled[0].transform(X), Y, sample_weight=WEIGHTS
    )
    np.testing.assert_allclose(pipeline[-1].coef_, direct.coef_, atol=1e-8)
    inner = pipeline[0].transformer_
    np.testing.assert_array_equal(inner.mean_, scaled[0].transformer_.mean_)


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_replay_learns_each_answer_with_its_own_weight(pipeline, routing):
    model = routed_model()
    if pipeline:
        model = make_reward_pipeline(StandardScaler(), model)
    active = ActiveRewardLearner(
        model, ActiveComparisonSampler("d_optimal", random_state=0), budget=80
    )
    active.fit(X, Y, sample_weight=WEIGHTS, groups=PROMPTS)
    asked = active.asked_indices_
    weights = WEIGHTS[asked]
    if pipeline:
        steps = active.estimator_[:-1]
        direct = clone(model[-1]).fit(
            steps.transform(X[asked]), Y[asked], sample_weight=weights
        )
    else:
        direct = clone(model).fit(X[asked], Y[asked], sample_weight=weights)
    np.testing.assert_allclose(active.model_.coef_, direct.coef_, atol=1e-8)
    score = active.score(X, Y, sample_weight=WEIGHTS)
    p = active.predict(X)
    assert score == pytest.approx(np.average((p > 0.5) == Y, weights=WEIGHTS))
    assert score != active.score(X, Y)


def test_a_search_slices_weights_and_hands_groups_to_model_and_splitter(routing):
    active = ActiveRewardLearner(
        make_reward_pipeline(StandardScaler(), routed_model()),
        ActiveComparisonSampler(random_state=0),
        budget=50,
    )
    params = {"sample_weight": WEIGHTS, "groups": PROMPTS}
    search = GridSearchCV(
        active,
        {"sampler__strategy": ["random", "d_optimal"]},
        cv=GroupKFold(4),
        error_score="raise",
    ).fit(X, Y, **params)
    expected = []
    for train, test in GroupKFold(4).split(X, Y, PROMPTS):
        twin = clone(active).set_params(sampler__strategy="random")
        twin.fit(X[train], Y[train], sample_weight=WEIGHTS[train])
        expected.append(twin.score(X[test], Y[test], sample_weight=WEIGHTS[test]))
    found = [search.cv_results_[f"split{k}_test_score"][0] for k in range(4)]
    np.testing.assert_allclose(found, expected)
    scores = cross_validate(
        *(active.set_params(sampler__strategy="random"), X, Y),
        params=params,
        cv=GroupKFold(4),
        error_score="raise",
    )
    np.testing.assert_allclose(scores["test_score"], expected)


def test_metadata_that_nobody_requested_is_refused(routing):
    active = ActiveRewardLearner(BradleyTerryRegressor(), ActiveComparisonSampler())
    with pytest.raises(ValueError, match="sample_weight"):
        active.fit(X, Y, sample_weight=WEIGHTS)


def test_without_routing_the_parameters_of_a_fit_are_the_models():
    active = learner(budget=None, n_initial=360)
    active.fit(X, Y, sample_weight=HALF)
    kept = HALF[active.asked_indices_] == 1
    direct = clone(active.estimator[-1]).fit(
        active.item_steps_.transform(X[active.asked_indices_][kept]),
        Y[active.asked_indices_][kept],
    )
    np.testing.assert_allclose(active.model_.coef_, direct.coef_, atol=1e-6)
    search = GridSearchCV(
        learner(), {"sampler__strategy": ["random"]}, cv=2, error_score="raise"
    )
    assert search.fit(X, Y, sample_weight=WEIGHTS).best_score_ > 0.5


def test_answers_are_taught_with_the_same_parameters_every_time():
    active = learner().teach(X[:20], Y[:20], sample_weight=WEIGHTS[:20])
    with pytest.raises(ValueError, match=r"Got \[\] after \['sample_weight'\]"):
        active.teach(X[20:30], Y[20:30])
    with pytest.raises(ValueError, match="must hold one entry per comparison, 10"):
        active.teach(X[20:30], Y[20:30], sample_weight=[1.0])
    assert len(active.y_) == 20
    active.teach(X[20:30], Y[20:30], sample_weight=WEIGHTS[20:30])
    asked = X[:30].with_items(active.item_steps_.transform(X.items))
    direct = BradleyTerryRegressor().fit(asked, Y[:30], sample_weight=WEIGHTS[:30])
    np.testing.assert_allclose(active.model_.coef_, direct.coef_, atol=1e-8)


# --------------------------------------------------------------------------- set_output


@pytest.mark.filterwarnings("ignore:X has feature names")  # items of polars are arrays
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_a_whole_pipeline_sets_the_output_of_its_item_steps(container):
    library = pytest.importorskip(container)
    steps = make_pipeline(StandardScaler(), StandardScaler())
    model = make_reward_pipeline(steps, BradleyTerryRegressor(alpha=1.0))
    expected = model.fit(X, Y).predict(X.items)
    model = clone(model).set_output(transform=container).fit(X, Y)
    transformed = model[:-1].transform(X.items)
    assert isinstance(transformed, library.DataFrame)
    np.testing.assert_allclose(model.predict(X.items), expected, atol=1e-8)
