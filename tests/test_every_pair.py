"""Greedy D and V among every pair of a lazy pool, through the sampler."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
    _candidates,
    make_reward_pipeline,
    sampler,
)
from skarm.annotators import SimulatedAnnotator

SCOPES = ["all", "within", "across"]
CHOSEN = ("strategy", "strategy_params")
PLAIN = {"variance": "plug_in", "eligible": 1.0}


@pytest.fixture
def world():
    rng = np.random.RandomState(0)
    items = rng.standard_normal((120, 6)) * [1, 1, 1, 3, 3, 0.2] + 5
    reward = items @ rng.standard_normal(6)
    return items, np.arange(120) % 12, SimulatedAnnotator(reward, temperature=2)


def fitted(pool, annotator, n=60):
    asked = pool[np.random.RandomState(1).permutation(len(pool))[:n]]
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    return model.fit(asked, annotator(asked)), asked


def query(monkeypatch, limit, pool, **params):
    monkeypatch.setattr(_candidates, "MAX_CANDIDATES", limit)
    chosen = {name: params.pop(name) for name in CHOSEN if name in params}
    chosen.setdefault("strategy", "greedy_d_optimal")
    chooser = ActiveComparisonSampler(**chosen, random_state=0)
    return chooser.query(pool, return_utilities=True, **params)


@pytest.mark.parametrize(
    ("strategy", "nuisance"),
    [("greedy_d_optimal", None), ("v_optimal", None), ("v_optimal", [0, 3])],
)
@pytest.mark.parametrize("scope", SCOPES)
def test_picks_are_those_of_the_explicit_greedy(
    monkeypatch, world, scope, strategy, nuisance
):
    items, groups, annotator = world
    pool = Comparisons.all_pairs(items, groups=groups, scope=scope)
    model, asked = fitted(pool, annotator)
    params = {
        "estimator": model,
        "exclude": asked,
        "n_pairs": 40,
        "strategy": strategy,
        "strategy_params": {**PLAIN, "nuisance": nuisance},
        "target": pool,  # of every pair, not of a sample
    }
    explicit, gains = query(monkeypatch, 10**9, pool, **params)
    every, every_gains = query(monkeypatch, 100, pool, **params)
    assert set(every) == set(explicit)
    np.testing.assert_allclose(every_gains, gains, rtol=1e-9)
    assert not set(every) & set(pool._pairs.index_of(asked.pairs))


@pytest.mark.parametrize("strategy", ["greedy_d_optimal", "v_optimal"])
@pytest.mark.parametrize("scope", SCOPES)
def test_default_is_valid_seeded_and_no_worse_than_a_thinned_pool(
    monkeypatch, world, scope, strategy
):
    items, groups, annotator = world
    pool = Comparisons.all_pairs(items, groups=groups, scope=scope)
    model, _ = fitted(pool, annotator)
    params = {"estimator": model, "n_pairs": 25, "strategy": strategy}
    every, gains = query(monkeypatch, 300, pool, **params)
    again, _ = query(monkeypatch, 300, pool, **params)
    assert np.array_equal(every, again)
    assert len(np.unique(every)) == 25 and every.max() < len(pool)
    if strategy == "greedy_d_optimal":
        assert (np.diff(gains) <= 1e-12).all()
    monkeypatch.setattr(sampler, "EVERY_PAIR", {})
    _, thinned = query(monkeypatch, 300, pool, **params)
    assert gains.sum() > 0.9 * thinned.sum()  # moderated by one factor for all pairs


def test_outlying_pairs_are_left_alone(monkeypatch, world):
    items, _, annotator = world
    pool = Comparisons.all_pairs(items)
    model, _ = fitted(pool, annotator)
    items[:3] *= 40
    pool = Comparisons.all_pairs(items)
    picks, _ = query(monkeypatch, 1000, pool, estimator=model, n_pairs=20)
    assert not np.isin(pool[picks].pairs, [0, 1, 2]).any()
    params = {"estimator": model, "n_pairs": 3, "strategy_params": {"eligible": 1.0}}
    picks, _ = query(monkeypatch, 1000, pool, **params)
    assert np.isin(pool[picks].pairs, [0, 1, 2]).any(axis=1).all()


def test_a_bound_counts_among_every_pair_as_among_listed_ones(monkeypatch, world):
    items, _, annotator = world
    pool = Comparisons.all_pairs(items)
    model, _ = fitted(pool, annotator)
    params = {"estimator": model, "n_pairs": 30, "strategy": "v_optimal"}
    params["target"] = pool
    found = {}
    for bound in (None, 0.5):
        params["strategy_params"] = {**PLAIN, "bound": bound}
        # A sample of all pairs but one, so that the median is that of the list.
        every, gains = query(monkeypatch, len(pool) - 1, pool, **params)
        explicit, expected = query(monkeypatch, 10**9, pool, **params)
        found[bound] = set(every)
        assert len(found[bound] & set(explicit)) >= 26
        np.testing.assert_allclose(gains, expected, rtol=2e-2)
    assert len(found[None] & found[0.5]) < 20


def test_cold_start_and_loop_over_a_vast_pool(monkeypatch, world):
    items, _, annotator = world
    monkeypatch.setattr(_candidates, "MAX_CANDIDATES", 500)
    pool = Comparisons.all_pairs(items)
    learner = ActiveRewardLearner(
        make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
        ActiveComparisonSampler(),
        random_state=0,
    )
    taken = []
    for _ in range(3):
        indices, asked = learner.query(pool, n_pairs=30)
        taken.extend(indices)
        learner.teach(asked, annotator(asked))
    assert len(set(taken)) == 90
    rewards = learner.predict(items)
    assert np.corrcoef(rewards, annotator.reward)[0, 1] > 0.9


def test_bad_params_raise_here_too(monkeypatch, world):
    pool = Comparisons.all_pairs(world[0])
    for params, message in (
        ({"variance": "mean"}, "variance must be 'posterior' or 'plug_in'"),
        ({"eligible": 0}, r"eligible must lie in \(0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            query(monkeypatch, 100, pool, strategy_params=params)


@pytest.mark.parametrize(
    ("strategy", "n_items"), [("greedy_d_optimal", 36), ("v_optimal", 25)]
)
def test_identities_are_chosen_from_a_sample(monkeypatch, strategy, n_items):
    pool = Comparisons.all_pairs(np.eye(60))
    picks, _ = query(monkeypatch, 400, pool, n_pairs=20, strategy=strategy)
    assert len(np.unique(picks)) == 20
    assert len(np.unique(pool[picks].pairs)) > n_items  # few items twice


def test_d_with_nuisances_is_chosen_from_a_sample(monkeypatch, world):
    items, _, annotator = world
    pool = Comparisons.all_pairs(items)
    model, _ = fitted(pool, annotator)
    params = {"estimator": model, "strategy_params": {**PLAIN, "nuisance": [-1]}}
    picks, gains = query(monkeypatch, 300, pool, n_pairs=20, **params)
    assert len(np.unique(picks)) == 20
    _, best = query(monkeypatch, 10**9, pool, n_pairs=20, **params)
    assert 0.3 * best.sum() < gains.sum() <= best.sum()
