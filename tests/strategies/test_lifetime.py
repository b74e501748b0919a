"""A query holds what it embedded until its end, not until Python looks for circles."""

import gc
import weakref

import numpy as np
import pytest

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm._pool_design import make_design
from skarm.strategies import get_strategy, get_strategy_names

STRATEGIES = sorted(get_strategy_names())
NETWORK = {"hidden_layer_sizes": (8,), "max_iter": 5, "validation_fraction": 0}


def asked(seed, n_pairs=60):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((40, 5))
    pairs = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    groups = np.arange(40) // 2
    pairs = Comparisons(items, pairs.pairs, groups=groups)
    return pairs, (rng.random(n_pairs) < 0.5).astype(float)


def model_of(params):
    return BradleyTerryRegressor(random_state=0, **params).fit(*asked(1))


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("params", [{"alpha": 1.0}, NETWORK])
@pytest.mark.parametrize("name", STRATEGIES)
def test_nothing_of_a_query_is_left_in_a_circle(name, params, no_collection):
    left = []

    def strategy(design, n_pairs, *, rng):
        left.append(weakref.ref(design))
        return get_strategy(name)(design, n_pairs, rng=rng)

    sampler = ActiveComparisonSampler(strategy, random_state=0)
    pool, past = asked(2)[0], asked(1)[0]
    for options in ({}, {"past": past}, {"target": past}):
        sampler.query(pool, estimator=model_of(params), n_pairs=3, **options)
    assert [design() for design in left] == [None] * 3


def test_a_part_of_a_design_outlives_the_whole():
    pool, past = asked(2)[0], asked(1)[0]
    model, every = model_of({"alpha": 1.0}), np.arange(len(pool))
    whole = make_design(pool, every, model, past=past)
    part = make_design(pool, every, model, past=past).among(every[:5]).among(every[:3])
    np.testing.assert_array_equal(part.past_information, whole.past_information)
    np.testing.assert_array_equal(part.rewards, whole.rewards)
