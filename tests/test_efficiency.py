"""`design_efficiency` against every batch of a small pool, through real models."""

import itertools
import math

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    BradleyTerryRegressor,
    Comparisons,
    _candidates,
    make_reward_pipeline,
)
from skarm._pool_design import make_design
from skarm.annotators import SimulatedAnnotator
from skarm.metrics import design_efficiency


@pytest.fixture
def fitted():
    """A pool of every pair of seven items, a model, and what it was asked."""
    rng = np.random.RandomState(0)
    items = rng.standard_normal((7, 3)) * [1, 3, 0.5] + 2
    pool = Comparisons.all_pairs(items)
    asked = pool[rng.permutation(21)[:6]]
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    return pool, model.fit(asked, SimulatedAnnotator(items[:, 0])(asked)), asked


def log_det(pool, batch, model, past=None):
    """log det of alpha I + the past + the batch, by dense algebra."""
    design = make_design(pool, np.arange(len(pool)), model, past=past)
    X, v = design.differences[list(batch)], design.variances[list(batch)]
    matrix = design.prior + design.past_information
    return np.linalg.slogdet(matrix + X.T @ (v[:, None] * X))[1]


@pytest.mark.parametrize("is_cold", [False, True])
def test_it_is_a_lower_bound_of_the_efficiency(fitted, is_cold):
    pool, model, asked = fitted
    model = None if is_cold else model
    past = asked if is_cold else None  # the model remembers its own
    reached = {
        batch: log_det(pool, batch, model, past)
        for batch in itertools.combinations(range(21), 3)
    }
    best = max(reached.values())
    for batch in list(reached)[::100]:
        true = math.exp((reached[batch] - best) / 3)
        found = design_efficiency(batch, pool, estimator=model, past=past)
        assert 0.6 * true < found <= true + 1e-9


def test_fewer_candidates_make_the_same_batch_no_worse(fitted):
    pool, model, _ = fitted
    whole = design_efficiency([0, 1, 2], pool, estimator=model)
    few = {"candidates": np.arange(21) < 8, "estimator": model}
    assert whole <= design_efficiency([0, 1, 2], pool, **few)
    few["candidates"] = [2, 1]
    assert design_efficiency([0, 1, 2], pool, **few) == pytest.approx(1)


@pytest.mark.parametrize("scope", ["all", "within", "across"])
def test_a_vast_pool_has_the_efficiency_of_its_list(scope, monkeypatch):
    rng = np.random.RandomState(1)
    items, groups = rng.standard_normal((60, 4)), np.arange(60) % 4
    pool = Comparisons.all_pairs(items, groups=groups, scope=scope)
    asked = pool[:30]
    model = BradleyTerryRegressor(alpha=1.0)
    model.fit(asked, SimulatedAnnotator(items[:, 0])(asked))
    params = {"strategy_params": {"eligible": 1.0}, "random_state": 0}
    sampler = ActiveComparisonSampler("greedy_d_optimal", **params)
    picks = sampler.query(pool, estimator=model, n_pairs=20)
    listed = design_efficiency(picks, pool, estimator=model)
    monkeypatch.setattr(_candidates, "MAX_CANDIDATES", 100)
    vast = design_efficiency(picks, pool, estimator=model)
    assert vast == pytest.approx(listed, rel=2e-3)
    assert 0.9 < vast < 1


def test_picks_must_be_distinct_indices(fitted):
    pool = fitted[0]
    with pytest.raises(ValueError, match=r"distinct indices, one at least. Got 2, 1"):
        design_efficiency([3, 3], pool)
    with pytest.raises(ValueError, match=r"one at least. Got 0"):
        design_efficiency([], pool)
    with pytest.raises(ValueError, match=r"picks must be indices from 0 to 20. Got 21"):
        design_efficiency([21], pool)
