"""What every strategy must obey, whichever it is: the registry is the parameter."""

import json
import os
import random as python_random
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
import torch
from scipy.special import expit

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm._candidates import MAX_CANDIDATES
from skarm.exceptions import PoolExhaustedError
from skarm.strategies import get_strategy_names

STRATEGIES = get_strategy_names()
SEEDS = range(3)
#: Strategies whose answer is drawn, not ranked, and why.
DRAWN = {
    "random": "a uniform draw of positions depends on the order of the candidates",
    "coreset": "draws positions in proportion to their sensitivity",
    "tournament_d_optimal": "draws the positions of its contestants",
    "badge": "draws positions in proportion to their squared distance",
}

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
every_seed = pytest.mark.parametrize("seed", SEEDS)
every_model = pytest.mark.parametrize("model", ["cold", "linear", "mlp"])


def outcomes(comparisons, seed):
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(0).standard_normal(comparisons.shape[2])
    logits = np.asarray(comparisons.differences(), dtype=float) @ truth
    return (rng.random(len(logits)) < expit(logits)).astype(float)


def make_model(model):
    return BradleyTerryRegressor(
        hidden_layer_sizes=(6,) if model == "mlp" else (),
        alpha=1.0,
        learning_rate=1e-2,
        validation_fraction=0,
        max_iter=30,
        random_state=0,
    )


def make_pool(seed, n_items=40, n_pairs=60, n_features=3):
    items = np.random.default_rng(seed).standard_normal((n_items, n_features))
    return Comparisons.random_pairs(items, n_pairs, random_state=seed)


def context(model, items, seed, n_past=30):
    """Arguments of a query: nothing (cold), or a fitted model and its past."""
    if model == "cold":
        return {}
    past = Comparisons.random_pairs(items, n_past, random_state=seed + 100)
    return {
        "estimator": make_model(model).fit(past, outcomes(past, seed)),
        "past": past,
    }


def query(strategy, pool, n_pairs=7, seed=0, **arguments):
    # Of an eighth of the pool or more, the default asks at random.
    return ActiveComparisonSampler(strategy, random_state=seed).query(
        pool, n_pairs=n_pairs, **arguments
    )


def assert_valid(indices, n_pairs, n_pool):
    assert isinstance(indices, np.ndarray)
    assert indices.shape == (n_pairs,)
    assert indices.dtype.kind == "i"
    assert len(np.unique(indices)) == n_pairs
    assert 0 <= indices.min() <= indices.max() < n_pool


def unordered(pairs):
    return [tuple(sorted(pair)) for pair in pairs.tolist()]


# ---------------------------------------------------------------- the shape of answers


@every_seed
@every_model
@every_strategy
def test_answers_are_distinct_indices_of_the_pool(strategy, model, seed):
    pool = make_pool(seed)
    known = context(model, pool.items, seed)
    indices, utilities = query(strategy, pool, 10, return_utilities=True, **known)
    assert_valid(indices, 10, len(pool))
    assert utilities.shape == (10,)
    assert np.isfinite(utilities).all()
    np.testing.assert_array_equal(query(strategy, pool, 10, **known), indices)


@every_model
@every_strategy
def test_one_pair_of_one_and_all_pairs_of_the_pool(strategy, model):
    pool = make_pool(0)
    known = context(model, pool.items, 0)
    assert query(strategy, pool[:1], 1, **known).tolist() == [0]
    assert_valid(query(strategy, pool[:11], 10, **known), 10, 11)
    assert sorted(query(strategy, pool, 60, **known)) == list(range(60))


@every_strategy
def test_asking_for_more_than_there_is_raises(strategy):
    pool = make_pool(0)
    message = r"n_pairs must be at most .* left, 60 of 60 in the pool. Got n_pairs=61"
    with pytest.raises(PoolExhaustedError, match=message):
        query(strategy, pool, 61)


@every_model
@every_strategy
def test_arrays_are_answered_like_comparisons(strategy, model):
    pool = make_pool(0)
    known = context(model, pool.items, 0)
    array = np.asarray(pool)
    expected = query(strategy, pool, **known)
    np.testing.assert_array_equal(query(strategy, array, **known), expected)


# ------------------------------------------------------------------------- randomness


@every_seed
@every_model
@every_strategy
def test_the_same_seed_gives_the_same_answer(strategy, model, seed):
    pool = make_pool(seed)
    known = context(model, pool.items, seed)
    one, other = (query(strategy, pool, seed=seed, **known) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@every_model
@every_strategy
def test_ties_are_broken_by_the_seed(strategy, model):
    items = np.array([[0.0, 0.0], [1.0, 2.0]])
    known = context(model, np.random.default_rng(0).standard_normal((20, 2)), 0)
    pool = Comparisons(items, [[0, 1]] * 20)
    first = [query(strategy, pool, 1, seed, **known)[0] for seed in range(10)]
    assert len(set(first)) > 3


@every_model
@every_strategy
def test_neither_the_inputs_nor_the_global_random_states_are_touched(strategy, model):
    pool = make_pool(0)
    known = context(model, pool.items, 0)

    def state():
        inputs = (pool.items, pool.pairs, known)
        legacy = np.random.get_state()  # noqa: NPY002
        globals_ = (legacy, torch.random.get_rng_state().numpy())
        return joblib.hash((inputs, globals_, python_random.getstate()))

    before = state()
    query(strategy, pool, **known)
    assert state() == before


# ------------------------------------------------------------------------- symmetries


@every_seed
@every_model
@every_strategy
def test_the_order_of_the_candidates_does_not_matter(strategy, model, seed):
    if strategy in DRAWN:
        pytest.skip(DRAWN[strategy])
    if model == "cold" and strategy in get_strategy_names("uncertainty"):
        pytest.skip("all utilities are equal in a cold start: the seed decides")
    pool = make_pool(seed)
    known = context(model, pool.items, seed)
    order = np.random.default_rng(seed).permutation(len(pool))
    expected = query(strategy, pool, **known)
    shuffled = query(strategy, pool[order], **known)
    np.testing.assert_array_equal(order[shuffled], expected)


@every_seed
@every_model
@every_strategy
def test_the_order_within_pairs_does_not_matter(strategy, model, seed):
    pool = make_pool(seed)
    flip = np.random.default_rng(seed).random(len(pool)) < 0.5
    pairs = np.where(flip[:, None], pool.pairs[:, ::-1], pool.pairs)
    expected = query(strategy, pool, **context(model, pool.items, seed))
    known = {}
    if model != "cold":
        past = context(model, pool.items, seed)["past"]
        y = 1 - outcomes(past, seed)
        known = {"estimator": make_model(model).fit(past.swap(), y)}
        known["past"] = past.swap()
    found = query(strategy, Comparisons(pool.items, pairs), **known)
    assert unordered(pairs[found]) == unordered(pool.pairs[expected])


@every_seed
@every_strategy
def test_the_order_of_the_items_does_not_matter(strategy, seed):
    pool = make_pool(seed)
    order = np.random.default_rng(seed).permutation(pool.n_items)
    place = np.argsort(order)
    renamed = Comparisons(pool.items[order], place[pool.pairs])
    np.testing.assert_array_equal(query(strategy, renamed), query(strategy, pool))


@pytest.mark.parametrize("model", ["cold", "linear"])
@every_seed
@every_strategy
def test_only_differences_of_items_matter(strategy, model, seed):
    pool = make_pool(seed)
    moved = pool.with_items(pool.items + 100.0)
    found = query(strategy, moved, **context(model, moved.items, seed))
    expected = query(strategy, pool, **context(model, pool.items, seed))
    np.testing.assert_array_equal(found, expected)


@every_strategy
def test_items_far_from_the_origin_with_redundant_features_are_no_problem(strategy):
    rng = np.random.default_rng(0)
    items = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 6)) + 1e7
    pool = make_pool(0).with_items(items)
    assert_valid(query(strategy, pool, 20), 20, 60)
    known = context("linear", items, 0)
    assert_valid(query(strategy, pool, 20, **known), 20, 60)


@pytest.mark.parametrize("model", ["cold", "linear"])
@every_seed
@every_strategy
def test_single_and_double_precision_items_agree(strategy, model, seed):
    pool = make_pool(seed)
    single = pool.with_items(pool.items.astype(np.float32))
    found = query(strategy, single, **context(model, single.items, seed))
    expected = query(strategy, pool, **context(model, pool.items, seed))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model", ["linear", "mlp"])
@every_seed
@every_strategy
def test_the_cpu_and_a_gpu_agree(strategy, model, seed):
    pool = make_pool(seed)
    known = context(model, pool.items, seed)
    picks = {
        device: query(
            *(strategy, pool),
            **{**known, "estimator": known["estimator"].set_params(device=device)},
        )
        for device in ("cpu", "cuda")
    }
    np.testing.assert_array_equal(picks["cuda"], picks["cpu"])


# ----------------------------------------------------------------- degenerate problems


@every_model
@every_strategy
def test_duplicate_items_and_pairs_are_no_problem(strategy, model):
    pool = make_pool(0, n_items=10, n_pairs=20)
    items = np.vstack([pool.items] * 3)
    pairs = np.vstack([pool.pairs, pool.pairs + 10, pool.pairs[:, ::-1], [[0, 10]]])
    known = context(model, items, 0)
    assert_valid(query(strategy, Comparisons(items, pairs), 50, **known), 50, 61)


@every_model
@every_strategy
def test_one_feature_is_enough(strategy, model):
    pool = make_pool(0, n_features=1)
    known = context(model, pool.items, 0)
    assert_valid(query(strategy, pool, 20, **known), 20, 60)


@every_strategy
def test_more_features_than_pairs_are_no_problem(strategy):
    pool = make_pool(0, n_features=90)
    known = context("linear", pool.items, 0)
    assert_valid(query(strategy, pool, 20, **known), 20, 60)
    assert_valid(query(strategy, pool, 20), 20, 60)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e6])
@every_strategy
def test_items_without_any_difference_give_a_valid_answer(strategy, value):
    pool = make_pool(0)
    known = context("linear", pool.items, 0)
    constant = pool.with_items(np.full_like(pool.items, value))
    assert_valid(query(strategy, constant, 20), 20, 60)
    assert_valid(query(strategy, constant, 20, **known), 20, 60)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e6])
@every_strategy
def test_a_constant_feature_changes_nothing_in_a_cold_start(strategy, value):
    pool = make_pool(0)
    wide = np.hstack([pool.items, np.full((pool.n_items, 2), value)])
    expected = query(strategy, pool)
    np.testing.assert_array_equal(query(strategy, pool.with_items(wide)), expected)


# ------------------------------------------------------------------------- large pools


@every_seed
@pytest.mark.parametrize("scope", ["all", "within", "across"])
@every_strategy
def test_a_lazy_pool_answers_as_its_list_of_pairs(strategy, scope, seed):
    items = make_pool(seed).items
    groups = np.random.default_rng(seed).integers(0, 6, len(items))
    lazy = Comparisons.all_pairs(items, groups=groups, scope=scope)
    listed = Comparisons(items, lazy.pairs, groups=groups)
    known = context("linear", items, seed)
    indices = query(strategy, lazy, **known)
    assert_valid(indices, 7, len(lazy))
    np.testing.assert_array_equal(indices, query(strategy, listed, **known))
    first, second = groups[lazy[indices].pairs].T
    if scope != "all":
        assert ((first == second) == (scope == "within")).all()


@every_strategy
def test_a_pool_beyond_the_limit_is_thinned_and_its_indices_are_the_pools(strategy):
    items = np.random.default_rng(0).standard_normal((700, 2))
    pool = Comparisons.all_pairs(items)
    assert len(pool) > MAX_CANDIDATES
    indices = query(strategy, pool, 5, **context("linear", items, 0))
    assert_valid(indices, 5, len(pool))
    np.testing.assert_array_equal(
        indices, query(strategy, pool, 5, **context("linear", items, 0))
    )


@pytest.fixture(scope="module")
def trillion():
    """A pool of more than 10¹² pairs, and indices spread over it."""
    items = np.zeros((1_500_000, 2), dtype=np.float32)
    items[:, 0] = np.arange(len(items)) % 1013 / 1013
    items[:, 1] = np.arange(len(items)) % 331 / 331
    pool = Comparisons.all_pairs(items)
    assert len(pool) > 10**12
    candidates = np.random.default_rng(0).integers(0, len(pool), 500)
    return pool, np.append(candidates, len(pool) - 1)


@every_strategy
def test_a_trillion_pairs_can_be_a_pool_of_chosen_candidates(strategy, trillion):
    pool, candidates = trillion
    known = context("linear", np.random.default_rng(0).random((30, 2)), 0)
    for arguments in ({}, known):
        indices = query(strategy, pool, 7, candidates=candidates, **arguments)
        assert_valid(indices, 7, len(pool))
        assert set(indices) <= set(candidates)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read in KiB")
def test_a_hundred_thousand_candidates_take_little_memory_and_seconds():
    script = """
        import json, resource, time
        import numpy as np
        from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
        from skarm.strategies import get_strategy_names

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

        items = np.random.default_rng(0).standard_normal((20_000, 64))
        pool = Comparisons.random_pairs(items, 100_000, random_state=0)
        past = pool[:200]
        y = (past.differences()[:, 0] > 0).astype(float)
        model = BradleyTerryRegressor(alpha=1.0).fit(past, y)
        start, found = peak(), {}
        for strategy in get_strategy_names():
            sampler = ActiveComparisonSampler(strategy, random_state=0)
            clock = time.process_time()  # of this process: the machine may be busy
            picks = sampler.query(pool, estimator=model, past=past, n_pairs=100)
            found[strategy] = [time.process_time() - clock, peak() - start, len(picks)]
        print(json.dumps(found))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=True,
        capture_output=True,
        text=True,
        # Threads that wait for each other on a busy machine would count as time.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == STRATEGIES
    for strategy, (seconds, gigabytes, n_picks) in found.items():
        assert n_picks == 100
        assert gigabytes < 1.5, strategy  # since the start: the most of any so far
        assert seconds < 15, strategy
