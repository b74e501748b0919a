"""The sampler's contract: what it accepts, refuses, and hands to a strategy."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
    _candidates,
    _pool_design,
    make_reward_pipeline,
)
from skarm._data.checks import check_numeric
from skarm.exceptions import PoolExhaustedError
from skarm.strategies import Picks, get_strategy_names, greedy_d_optimal, xtx

RULES = ["entropy", "d_optimal", "past_aware_d_optimal", "v_optimal"]


def problem(seed=0, n_items=40, n_pairs=60):
    """A pool, and comparisons of the same items with answers."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, 3)) * [1.0, 30.0, 0.1] + [0.0, 500.0, 1.0]
    pool = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    past = Comparisons.random_pairs(items, 40, random_state=seed + 1)
    gaps = past.differences() @ [1.0, 0.05, 5.0]
    return pool, past, (rng.logistic(size=40) < gaps).astype(float)


def query(strategy, pool, n_pairs=8, params=None, random_state=0, **arguments):
    return ActiveComparisonSampler(
        strategy, strategy_params=params, random_state=random_state
    ).query(pool, n_pairs=n_pairs, **arguments)


def first_n(design, n_pairs, *, rng):
    """The simplest strategy: bare positions."""
    return np.arange(n_pairs)


# ------------------------------------------------------------------------- estimators


@pytest.mark.parametrize("rule", RULES)
def test_a_pipeline_is_the_model_on_transformed_items(rule):
    pool, past, y = problem()
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    model.fit(past, y)
    scale = model[:-1].transform
    expected = query(
        rule, scale(pool), estimator=model[-1], past=scale(past), return_utilities=True
    )
    for known in (past, None):
        found = query(rule, pool, estimator=model, past=known, return_utilities=True)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)
    raw = BradleyTerryRegressor().fit(past, y)
    if rule != "d_optimal":  # leverage does not care how features are scaled
        assert set(query(rule, pool, estimator=raw)) != set(expected[0])


def holders(past, y):
    """Every holder of one and the same fitted pipeline."""
    pipeline = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor(alpha=2.0))
    one_alpha = {"regressor__alpha": [2.0]}
    learner = ActiveRewardLearner(pipeline, ActiveComparisonSampler(random_state=0))
    search = GridSearchCV(BradleyTerryRegressor(), {"alpha": [2.0]}, cv=2)
    yield "pipeline", pipeline.fit(past, y)
    yield "search", GridSearchCV(clone(pipeline), one_alpha, cv=2).fit(past, y)
    yield "learner", clone(learner).teach(past, y)
    yield (
        "search over a learner",
        GridSearchCV(learner, {"n_pairs": [20]}, cv=2).fit(past, y),
    )
    yield (
        "search at the end",
        make_reward_pipeline(StandardScaler(), search).fit(past, y),
    )
    yield "pipeline in a pipeline", Pipeline([("all", clone(pipeline))]).fit(past, y)


@pytest.mark.parametrize("rule", RULES)
def test_the_model_is_found_in_whatever_holds_it(rule):
    pool, past, y = problem()
    answers = {
        name: query(rule, pool, estimator=holder, past=past)
        for name, holder in holders(past, y)
    }
    assert len(answers) == 6
    for name, answer in answers.items():
        np.testing.assert_array_equal(answer, answers["pipeline"], err_msg=name)


@pytest.mark.parametrize(
    "estimator", [Ridge(), RandomForestRegressor(n_estimators=5, random_state=0)]
)
def test_any_regressor_of_rewards_will_do_where_only_rewards_are_needed(estimator):
    pool, *_ = problem()
    estimator.fit(pool.items, pool.items @ [1.0, 0.1, 3.0])
    rewards = estimator.predict(pool.items)
    gaps = np.abs(rewards[pool.pairs[:, 0]] - rewards[pool.pairs[:, 1]])
    picks = query("max_difference", pool, estimator=estimator)
    np.testing.assert_allclose(gaps[picks], np.sort(gaps)[::-1][:8])
    picks = query("entropy", pool, estimator=estimator)
    np.testing.assert_allclose(gaps[picks], np.sort(gaps)[:8])
    message = r"needs an estimator with embed\(items\).*Got " + type(estimator).__name__
    with pytest.raises(TypeError, match=message):
        query("d_optimal", pool, estimator=estimator)


def test_rewards_may_be_a_column_but_not_several():
    pool, *_ = problem()
    y = pool.items @ [[1.0], [0.1], [3.0]]
    flat, column = Ridge().fit(pool.items, y[:, 0]), Ridge().fit(pool.items, y)
    np.testing.assert_array_equal(
        query("entropy", pool, estimator=column), query("entropy", pool, estimator=flat)
    )
    several = Ridge().fit(pool.items, np.hstack([y, -y]))
    with pytest.raises(ValueError, match="should be a 1d array, got an array of shape"):
        query("entropy", pool, estimator=several)


class Embedder(BaseEstimator):
    """A third party's model with an embedding, and a device we know nothing of."""

    device = None

    def fit(self, X, y=None):
        self.scale_ = 2.0
        return self

    def predict(self, items):
        return items[:, 0]

    def embed(self, items):
        return self.scale_ * items[:, :2]


@pytest.mark.parametrize("strategy", get_strategy_names())
def test_a_foreign_model_with_embed_serves_every_strategy(strategy):
    pool, past, _ = problem()
    found = query(strategy, pool, estimator=Embedder().fit(None), past=past)
    assert len(set(found)) == 8


def test_the_cpu_stands_in_for_a_device_that_is_not_here():
    pool, past, y = problem()
    model = BradleyTerryRegressor(device="cpu").fit(past, y)
    expected = query("d_optimal", pool, estimator=model)
    model.set_params(device="cuda:77")  # as after a journey in a pickle
    np.testing.assert_array_equal(query("d_optimal", pool, estimator=model), expected)


def test_an_unfitted_estimator_raises():
    pool, *_ = problem()
    pipeline = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    learner = ActiveRewardLearner(pipeline, ActiveComparisonSampler())
    for estimator in (
        *(BradleyTerryRegressor(), pipeline, learner),
        GridSearchCV(BradleyTerryRegressor(), {"alpha": [1.0]}),
    ):
        with pytest.raises(NotFittedError):
            query("random", pool, estimator=estimator)


def test_a_model_that_kept_no_information_needs_the_past():
    pool, past, y = problem()
    model = BradleyTerryRegressor().fit(past, y)
    expected = query("greedy_d_optimal", pool, estimator=model)
    model.information_ = None  # as with more than 4,096 features
    with pytest.raises(ValueError, match="past must be given, because the estimator"):
        query("greedy_d_optimal", pool, estimator=model)
    found = query("greedy_d_optimal", pool, estimator=model, past=past)
    np.testing.assert_array_equal(found, expected)


# ------------------------------------------------------------------------------- items


@pytest.mark.parametrize("strategy", get_strategy_names())
def test_items_may_be_sparse_or_a_data_frame(strategy):
    pool, *_ = problem()
    expected = query(strategy, pool)
    frame = pd.DataFrame(pool.items, columns=["a", "b", "c"])
    for items in (sparse.csr_matrix(pool.items), frame):
        found = query(strategy, pool.with_items(items))
        np.testing.assert_array_equal(found, expected)


def test_texts_need_an_estimator():
    texts = Comparisons.all_pairs(["good", "bad", "ugly"])
    message = "a query without an estimator needs numbers.*Got texts, such as 'good'"
    with pytest.raises(ValueError, match=message):
        query("greedy_d_optimal", texts, 1)
    assert len(query("random", texts, 2)) == 2


@pytest.mark.parametrize("warm", [False, True])
def test_items_that_are_not_finite_raise(warm):
    pool, past, y = problem()
    items = pool.items.copy()
    items[pool.pairs[0, 0], 1] = np.nan
    model = BradleyTerryRegressor().fit(past, y) if warm else None
    with pytest.raises(ValueError, match="contains NaN"):
        query("d_optimal", pool.with_items(items), estimator=model)


@pytest.mark.filterwarnings("error")
def test_finite_items_whose_sum_overflows_are_welcome():
    assert check_numeric(np.float32([[1e38], [2e38], [3e38]]), "this test")


def test_items_that_no_candidate_names_are_never_looked_at():
    pool, *_ = problem()
    items = np.vstack([pool.items, np.full((1, 3), np.nan)])
    found = query("d_optimal", Comparisons(items, pool.pairs))
    np.testing.assert_array_equal(found, query("d_optimal", pool))


def test_an_executor_embeds_in_blocks_and_changes_no_pick(monkeypatch):
    pool, past, y = problem()
    model = BradleyTerryRegressor(
        hidden_layer_sizes=(5,), validation_fraction=0, max_iter=20, random_state=0
    ).fit(past, y)
    expected = {rule: query(rule, pool, estimator=model, past=past) for rule in RULES}
    monkeypatch.setattr(_pool_design, "BLOCK_SIZE", 7)
    sizes = []

    class Recorder(ThreadPoolExecutor):
        def map(self, function, blocks):
            sizes.extend(len(block) for block in blocks)
            return super().map(function, blocks)

    with Recorder(2) as executor:
        for rule in RULES:
            found = query(rule, pool, estimator=model, past=past, executor=executor)
            np.testing.assert_array_equal(found, expected[rule])
    n_items = pool.compact().n_items
    assert max(sizes) == 7
    assert sizes[: n_items // 7 + 1] == [7] * (n_items // 7) + [n_items % 7]


# ---------------------------------------------------------------- strategies and params


def test_a_callable_may_return_positions_or_picks():
    pool, *_ = problem()
    indices, utilities = query(first_n, pool, return_utilities=True)
    assert indices.tolist() == list(range(8))
    assert np.isnan(utilities).all()

    def with_utilities(design, n_pairs, *, rng):
        return Picks(np.arange(n_pairs)[::-1], np.linspace(1, 0, n_pairs))

    indices, utilities = query(with_utilities, pool, return_utilities=True)
    assert indices.tolist() == list(range(8))[::-1]
    np.testing.assert_array_equal(utilities, np.linspace(1, 0, 8))
    assert query(lambda d, n, *, rng: list(range(n)), pool).tolist() == list(range(8))


def test_positions_of_a_callable_are_among_the_candidates():
    pool, *_ = problem()
    candidates = [50, 3, 7, 20]
    assert query(first_n, pool, 2, candidates=candidates).tolist() == [3, 7]


@pytest.mark.parametrize(
    "positions",
    [
        [0, 0, 1],
        [0, 1],
        [0, 1, 60],
        [-1, 0, 1],
        [0.0, 1.0, 2.0],
        [[0, 1, 2]],
        [True, True, False],
        None,
    ],
)
def test_bad_positions_of_a_callable_raise(positions):
    def careless(design, n_pairs, *, rng):
        return positions

    pool, *_ = problem()
    message = r"must return 3 distinct positions from 0 to 59. 'careless' returned"
    with pytest.raises(ValueError, match=message):
        query(careless, pool, 3)


def test_strategy_params_reach_the_strategy():
    pool, *_ = problem()
    whole = query("greedy_d_optimal", pool, params={"eligible": 1.0})
    bulk = query("greedy_d_optimal", pool, params={"eligible": 0.3})
    assert set(whole) != set(bulk)
    bound = partial(greedy_d_optimal, eligible=0.3)
    np.testing.assert_array_equal(query(bound, pool), bulk)

    def with_any(design, n_pairs, *, rng, **params):
        return np.full(n_pairs, params["start"]) + np.arange(n_pairs)

    assert query(with_any, pool, 2, {"start": 5}).tolist() == [5, 6]


def test_unknown_strategy_params_raise_and_name_the_known():
    pool, *_ = problem()
    message = (
        r"of 'greedy_d_optimal' may hold \['eligible', 'variance', 'nuisance', "
        r"'exchange', 'undecided'\]. Got \['ridge'\]"
    )
    with pytest.raises(ValueError, match=message):
        query("greedy_d_optimal", pool, params={"ridge": 1.0})
    with pytest.raises(
        ValueError, match=r"of 'random' may hold nothing. Got \['rng'\]"
    ):
        query("random", pool, params={"rng": 1})


def test_an_unknown_strategy_raises_and_lists_the_known():
    pool, *_ = problem()
    with pytest.raises(
        ValueError, match=r"'auto'.*'random', .*'v_optimal'.*Got 'bert'"
    ):
        query("bert", pool)


@pytest.mark.parametrize(
    "arguments",
    [{"strategy": 3}, {"strategy_params": [1]}, {"random_state": "seed"}],
)
def test_parameters_of_the_wrong_type_raise(arguments):
    pool, *_ = problem()
    (name,) = arguments
    with pytest.raises(ValueError, match=f"The '{name}' parameter of ActiveComparison"):
        ActiveComparisonSampler(**arguments).query(pool)


# -------------------------------------------------------------- the pool and its limits


@pytest.mark.parametrize("n_pairs", [0, -1, 2.0, "3", None, np.array([2])])
def test_n_pairs_must_be_a_positive_integer(n_pairs):
    pool, *_ = problem()
    with pytest.raises(ValueError, match=r"n_pairs must be a positive integer\. Got"):
        query("random", pool, n_pairs)


@pytest.mark.parametrize("name", ["past", "target"])
def test_what_has_other_features_than_the_pool_raises(name):
    pool = problem()[0]
    narrow = Comparisons(np.eye(2), [[0, 1]])
    with pytest.raises(ValueError, match=rf"{name} must hold items like the pool's"):
        query("v_optimal", pool, **{name: narrow})


def test_a_target_of_one_item_raises():
    pool = problem()[0]
    with pytest.raises(ValueError, match="target must be comparisons, at least one"):
        query("v_optimal", pool, target=np.ones((1, pool.items.shape[1])))


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("strategy", get_strategy_names())
def test_pairs_that_do_not_differ_may_be_offered(strategy, warm):
    distinct = np.random.default_rng(0).standard_normal((20, 5))
    items, groups = np.repeat(distinct, 4, axis=0), np.arange(80) // 4
    pool = Comparisons.all_pairs(items, groups=groups, scope="within")
    asked = Comparisons.random_pairs(items, 30, random_state=0)
    model = BradleyTerryRegressor().fit(asked, np.arange(30) % 2) if warm else None
    picks = query(strategy, pool, 5, estimator=model)
    assert len(set(picks.tolist())) == 5


def test_n_pairs_may_be_a_numpy_integer():
    pool, *_ = problem()
    assert len(query("greedy_d_optimal", pool, np.int64(3))) == 3


@pytest.mark.parametrize("empty", [Comparisons([[0.0]], []), np.empty((0, 2, 3))])
def test_an_empty_pool_raises(empty):
    with pytest.raises(ValueError, match=r"at least one pair\. Got an empty pool"):
        query("random", empty)


def test_a_pool_of_another_shape_raises():
    with pytest.raises(ValueError, match=r"shape \(n_pairs, 2, n_features\)"):
        query("random", np.zeros((5, 3)))


def test_candidates_may_be_indices_or_a_mask_in_any_order():
    pool, *_ = problem()
    index = [40, 3, 17, 29, 8]
    mask = np.isin(np.arange(60), index)
    expected = query("d_optimal", pool, 3, candidates=index)
    assert set(expected) <= set(index)
    for candidates in (index + index, np.array(index, dtype=np.uint8), mask):
        found = query("d_optimal", pool, 3, candidates=candidates)
        np.testing.assert_array_equal(found, expected)
    mask = mask.tolist()
    np.testing.assert_array_equal(
        query("d_optimal", pool, 3, candidates=mask), expected
    )


@pytest.mark.parametrize("name", ["candidates", "exclude"])
@pytest.mark.parametrize(
    "index, message",
    [
        ([0, 60], "must be indices from 0 to 59. Got 60"),
        ([-1, 3], "must be indices from 0 to 59. Got -1"),
        ([0.0, 1.0], "must be indices into the pool. Got dtype float64 and shape"),
        ([[0, 1]], r"must be indices into the pool. Got dtype int64 and shape \(1, 2"),
        (np.ones(59, dtype=bool), r"must have one entry per pair of the pool, 60"),
    ],
)
def test_bad_indices_raise(name, index, message):
    pool, *_ = problem()
    with pytest.raises(ValueError, match=f"{name} {message}"):
        query("random", pool, 1, **{name: index})


def test_what_is_excluded_is_never_chosen_however_it_is_said():
    pool, *_ = problem()
    index = np.arange(0, 60, 2)
    asked = pool[index]
    expected = query("d_optimal", pool, 30, exclude=index)
    assert sorted(expected) == list(range(1, 60, 2))
    equal_items = Comparisons(pool.items.copy(), asked.pairs)
    for exclude in (np.arange(60) % 2 == 0, asked, asked.swap(), equal_items):
        found = query("d_optimal", pool, 30, exclude=exclude)
        np.testing.assert_array_equal(found, expected)
    message = r"candidates left, 30 of 60 in the pool. Got n_pairs=31"
    with pytest.raises(PoolExhaustedError, match=message):
        query("d_optimal", pool, 31, exclude=asked)


@pytest.mark.parametrize("exclude", [[], np.zeros(60, dtype=bool), slice(0, 0)])
def test_excluding_nothing_changes_nothing(exclude):
    pool, *_ = problem()
    if isinstance(exclude, slice):
        exclude = pool[exclude]
    found = query("d_optimal", pool, exclude=exclude)
    np.testing.assert_array_equal(found, query("d_optimal", pool))


@pytest.mark.parametrize("scope", ["all", "within", "across"])
def test_excluding_from_a_lazy_pool_ignores_pairs_outside_its_scope(scope):
    items = np.random.default_rng(0).standard_normal((12, 2))
    lazy = Comparisons.all_pairs(items, groups=np.arange(12) % 3, scope=scope)
    asked = Comparisons(items, [[1, 0], [3, 0], [0, 4], [11, 8]])
    inside = {tuple(sorted(p)) for p in asked.pairs.tolist()}
    inside &= {tuple(p) for p in lazy.pairs.tolist()}
    assert inside
    n_left = len(lazy) - len(inside)
    found = query("xtx", lazy, n_left, exclude=asked)
    assert not inside & {tuple(p) for p in lazy[found].pairs.tolist()}
    with pytest.raises(PoolExhaustedError):
        query("xtx", lazy, n_left + 1, exclude=asked)


def test_candidates_and_exclude_together():
    pool, *_ = problem()
    found = query("d_optimal", pool, 2, candidates=[1, 2, 3], exclude=[2, 50])
    assert sorted(found) == [1, 3]


def test_excluding_comparisons_of_other_items_raises():
    pool, *_ = problem()
    other = pool.with_items(pool.items + 1)
    message = "exclude must be comparisons of the pool's own items.*Pass indices"
    with pytest.raises(ValueError, match=message):
        query("d_optimal", pool, exclude=other)


def test_a_thinned_pool_still_offers_all_it_may(monkeypatch):
    monkeypatch.setattr(_candidates, "MAX_CANDIDATES", 50)
    items = np.random.default_rng(0).standard_normal((40, 2))
    lazy = Comparisons.all_pairs(items)  # 780 pairs
    seen = []

    def note(design, n_pairs, *, rng):
        seen.append(design.n_pairs)
        return np.arange(n_pairs)

    indices = query(note, lazy, 5)
    assert len(set(indices)) == 5
    exclude = np.arange(700)
    assert query(note, lazy, 5, exclude=exclude).min() >= 700
    assert len(query(note, lazy, 100)) == 100  # more than the limit, so no fewer
    assert len(query(note, lazy, 80, exclude=exclude)) == 80
    assert len(query(note, lazy, 60, candidates=np.arange(300))) == 60
    assert seen == [50, 50, 100, 80, 300]
    with pytest.raises(PoolExhaustedError, match="left, 80 of 780 in the pool"):
        query(note, lazy, 81, exclude=exclude)
    one, other = (query("random", lazy, 5, random_state=seed) for seed in (0, 1))
    assert set(one) != set(other)


def test_thinning_is_uniform(monkeypatch):
    monkeypatch.setattr(_candidates, "MAX_CANDIDATES", 20)
    lazy = Comparisons.all_pairs(np.zeros((10, 1)))  # 45 pairs
    state = np.random.RandomState(0)
    picks = [
        query(first_n, lazy, 20, random_state=state, exclude=[0, 44])
        for _ in range(1000)
    ]
    share = np.bincount(np.ravel(picks), minlength=45) / 1000
    assert share[0] == share[44] == 0
    np.testing.assert_allclose(share[1:44], 20 / 43, atol=0.07)  # 4 standard errors


# ------------------------------------------------------------------------ scikit-learn


def test_utilities_come_on_demand_and_belong_to_the_picks():
    pool, past, y = problem()
    model = BradleyTerryRegressor().fit(past, y)
    bare = query("max_difference", pool, estimator=model)
    indices, utilities = query(
        "max_difference", pool, estimator=model, return_utilities=True
    )
    np.testing.assert_array_equal(indices, bare)
    rewards = model.predict(pool.items)
    first, second = pool.pairs[indices].T
    np.testing.assert_allclose(utilities, np.abs(rewards[first] - rewards[second]))
    assert utilities.dtype == np.float64


def test_a_sampler_is_an_estimator_to_clone_set_and_pickle():
    one = ActiveComparisonSampler(
        "greedy_d_optimal", strategy_params={"eligible": 0.5}, random_state=3
    )
    assert set(one.get_params()) == {
        *("strategy", "strategy_params", "random_state", "random_fraction"),
        *("max_pairs_per_item", "max_pairs_per_group"),
    }
    pool, *_ = problem()
    expected = one.query(pool, n_pairs=5)
    left = set(vars(one)) - set(vars(clone(one)))
    assert left == {"explain_"}  # a query leaves no other trace
    for copy in (clone(one), pickle.loads(pickle.dumps(one))):
        np.testing.assert_array_equal(copy.query(pool, n_pairs=5), expected)
    changed = clone(one).set_params(strategy="xtx", strategy_params=None)
    np.testing.assert_array_equal(changed.query(pool, n_pairs=5), query("xtx", pool, 5))
    assert clone(ActiveComparisonSampler(xtx)).strategy is xtx
    assert repr(ActiveComparisonSampler("xtx")) == (
        "ActiveComparisonSampler(strategy='xtx')"
    )


def test_an_int_seed_repeats_and_a_random_state_moves_on():
    pool, *_ = problem()
    fixed = ActiveComparisonSampler("random", random_state=0)
    assert (
        fixed.query(pool, n_pairs=9).tolist() == fixed.query(pool, n_pairs=9).tolist()
    )
    state = np.random.RandomState(0)
    moving = ActiveComparisonSampler("random", random_state=state)
    first = moving.query(pool, n_pairs=9)
    np.testing.assert_array_equal(first, fixed.query(pool, n_pairs=9))
    assert set(moving.query(pool, n_pairs=9)) != set(first)


def test_auto_is_the_adaptive_rule():
    pool, *_ = problem()
    np.testing.assert_array_equal(
        ActiveComparisonSampler(random_state=0).query(pool, n_pairs=8),
        query("adaptive", pool),
    )


# ------------------------------------------------------------------------------- modAL


@pytest.mark.parametrize("n_instances", [1, 2, 3])
def test_a_modal_query_always_returns_indices_and_utilities(n_instances):
    pool, past, y = problem()
    model = BradleyTerryRegressor().fit(past, y)
    learner = SimpleNamespace(estimator=model, X_training=np.asarray(past))
    strategy = ActiveComparisonSampler("past_aware_d_optimal", random_state=0)
    answer = strategy(learner, np.asarray(pool), n_instances=n_instances)
    assert isinstance(answer, tuple)
    indices, utilities = answer
    assert utilities.shape == (n_instances,)
    expected = query(strategy.strategy, pool, n_instances, estimator=model, past=past)
    np.testing.assert_array_equal(indices, expected)


def test_a_modal_learner_without_answers_is_a_cold_start():
    pool, *_ = problem()
    strategy = ActiveComparisonSampler("greedy_d_optimal", random_state=0)
    for estimator in (
        BradleyTerryRegressor(),
        make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
    ):
        learner = SimpleNamespace(estimator=estimator, X_training=None)
        indices, _ = strategy(learner, pool, n_instances=4)
        np.testing.assert_array_equal(indices, query(strategy.strategy, pool, 4))
        indices, _ = strategy(SimpleNamespace(estimator=estimator), pool, 4)
        np.testing.assert_array_equal(indices, query(strategy.strategy, pool, 4))


def test_a_modal_query_passes_further_arguments_on():
    pool, past, y = problem()
    learner = SimpleNamespace(estimator=BradleyTerryRegressor().fit(past, y))
    strategy = ActiveComparisonSampler("d_optimal", random_state=0)
    indices, _ = strategy(learner, pool, 2, candidates=[4, 5, 6], exclude=[5])
    assert sorted(indices) == [4, 6]
    own, _ = strategy(learner, pool, 2, past=past[:1])
    np.testing.assert_array_equal(
        own, query("d_optimal", pool, 2, estimator=learner.estimator, past=past[:1])
    )


def test_a_modal_committee_raises():
    pool, *_ = problem()
    committee = SimpleNamespace(learner_list=[])
    message = "the learner must have one estimator. Got SimpleNamespace; a committee"
    with pytest.raises(TypeError, match=message):
        ActiveComparisonSampler("random")(committee, pool)


@pytest.mark.parametrize("strategy", ["greedy_d_optimal", "entropy", "random"])
@pytest.mark.parametrize("n_instances", [1, 2, 5])
def test_the_loop_of_modal_runs(strategy, n_instances, monkeypatch):
    modal = pytest.importorskip("modAL.models", reason="needs modAL-python")
    monkeypatch.setattr(
        "modAL.models.learners.check_X_y", lambda X, y, **_: (X, y)
    )  # it passes force_all_finite, which scikit-learn 1.8 removed
    pool, past, _ = problem()
    rng = np.random.default_rng(0)
    calls = []

    def counted(*args, **kwargs):
        calls.append(args)
        return sampler_(*args, **kwargs)

    sampler_ = ActiveComparisonSampler(strategy, random_state=0)
    learner = modal.ActiveLearner(
        make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
        query_strategy=counted,
    )
    left = np.asarray(pool)
    for n_round in range(1, 5):
        indices, asked = learner.query(left, n_instances=n_instances)
        assert len(calls) == n_round  # modAL calls twice what it misreads
        assert asked.shape == (n_instances, 2, 3)
        np.testing.assert_array_equal(asked, left[indices])
        gaps = (asked[:, 0] - asked[:, 1]) @ [1.0, 0.05, 5.0]
        learner.teach(asked, (rng.logistic(size=n_instances) < gaps).astype(float))
        left = np.delete(left, indices, axis=0)
    assert learner.X_training.shape == (4 * n_instances, 2, 3)
    assert np.isfinite(learner.predict(np.asarray(past))).all()
