"""The Design: lazy, and exact about what the model knows."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm
from sklearn.base import BaseEstimator

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm.strategies import Design, d_optimal, get_strategy, random, xtx
from skarm.strategies._design import COLD_START_SD

SEEDS = range(4)


def refuse():
    raise AssertionError("this was not to be read")


def fitted(seed, hidden_layer_sizes=(), alpha="auto"):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((30, 3))
    asked = Comparisons.random_pairs(items, 40, random_state=seed)
    y = rng.integers(0, 2, 40).astype(float)
    model = BradleyTerryRegressor(
        hidden_layer_sizes=hidden_layer_sizes,
        alpha=alpha,
        validation_fraction=0,
        max_iter=40,
        random_state=0,
    )
    pool = Comparisons.random_pairs(items, 50, random_state=seed + 50)
    return pool, asked, model.fit(asked, y)


def caught(pool, **arguments):
    """The design that a query hands to its strategy."""
    designs = []

    def catch(design, n_pairs, *, rng):
        designs.append(design)
        return random(design, n_pairs, rng=rng)

    ActiveComparisonSampler(catch, random_state=0).query(pool, **arguments)
    return designs[0]


# ---------------------------------------------------------------------------- laziness


@pytest.mark.parametrize("strategy", ["entropy", "max_difference", "random"])
def test_strategies_without_geometry_never_read_the_embedding(strategy):
    pairs = np.array([[0, 1], [1, 2], [0, 2]])
    design = Design(pairs, refuse, reward=lambda: np.array([0.0, 1.0, 3.0]))
    picks = get_strategy(strategy)(design, 2, rng=np.random.RandomState(0))
    assert len(set(picks.positions)) == 2


def test_random_never_asks_the_model_either():
    design = Design(np.array([[0, 1], [1, 2]]), refuse, reward=refuse, past=refuse)
    assert len(random(design, 1, rng=np.random.RandomState(0)).positions) == 1


def test_xtx_and_d_optimal_never_ask_for_the_past():
    items = np.random.default_rng(0).standard_normal((5, 2))
    pairs = np.array([[0, 1], [1, 2], [3, 4]])
    design = Design(pairs, lambda: items, reward=refuse, past=refuse)
    xtx(design, 2, rng=np.random.RandomState(0))
    design = Design(pairs, lambda: items, reward=lambda: items[:, 0], past=refuse)
    d_optimal(design, 2, rng=np.random.RandomState(0))


def test_everything_is_computed_once():
    calls = []

    def count(name, value):
        return lambda: calls.append(name) or value

    items = np.random.default_rng(0).standard_normal((4, 2))
    design = Design(
        np.array([[0, 1], [2, 3]]),
        count("embed", items),
        reward=count("reward", items[:, 0]),
        past=count("past", np.eye(2)),
    )
    for _ in range(2):
        for name in ("differences", "variances", "second_moment"):
            design.tensor(name)
        assert len(design.posterior_variances) == 2
    assert sorted(calls) == ["embed", "past", "reward"]
    assert design.tensor("embedding") is design.tensor("embedding")


# -------------------------------------------------------------------------- cold start


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cold_start_gives_a_typical_pair_a_prior_sd_of_one_and_a_half_nats(seed):
    pool, *_ = fitted(seed)
    design = caught(pool)
    X = pool.differences()
    alpha = np.mean((X**2).sum(axis=1)) / COLD_START_SD**2
    np.testing.assert_allclose(design.prior, alpha * np.eye(X.shape[1]))
    prior_variances = (X**2).sum(axis=1) / alpha
    assert prior_variances.mean() == pytest.approx(1.5**2)
    np.testing.assert_allclose(design.reward_difference_variances, prior_variances)


def test_a_cold_start_knows_nothing_of_the_answers():
    pool, *_ = fitted(0)
    design = caught(pool)
    assert design.is_cold
    assert (design.rewards == 0).all()
    assert (design.reward_differences == 0).all()
    assert (design.variances == 0.25).all()
    assert (design.past_information == 0).all()
    assert (design.posterior.coef == 0).all()
    assert (design.posterior_variances < 0.25).all()


def test_without_any_difference_the_prior_precision_is_one():
    design = Design(np.array([[0, 1]]), lambda: np.ones((2, 3)))
    assert np.array_equal(design.prior, np.eye(3))


# ------------------------------------------------------------------- what a model says


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,)])
def test_a_design_is_the_models_view_of_the_candidates(hidden_layer_sizes, seed):
    pool, _, model = fitted(seed, hidden_layer_sizes)
    design = caught(pool, estimator=model)
    z = model.embed(pool.items)
    first, second = pool.pairs.T
    probability, std = model.predict(pool, return_std=True)
    assert not design.is_cold
    assert np.array_equal(design.prior, model.alpha_ * np.eye(z.shape[1]))
    np.testing.assert_allclose(design.differences, z[first] - z[second])
    np.testing.assert_allclose(expit(design.reward_differences), probability)
    np.testing.assert_allclose(
        design.differences @ model.coef_, design.reward_differences
    )
    np.testing.assert_allclose(design.variances, probability * (1 - probability))
    np.testing.assert_allclose(design.reward_difference_variances, std**2)
    X = design.differences
    np.testing.assert_allclose(design.second_moment, X.T @ X / len(X), rtol=1e-12)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 8.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_posterior_variances_are_the_mean_of_p_1_minus_p(seed, alpha):
    pool, _, model = fitted(seed, alpha=alpha)
    design = caught(pool, estimator=model)
    mean, std = design.reward_differences, design.reward_difference_variances**0.5
    z = np.linspace(-9, 9, 4001)
    p = expit(mean[:, None] + std[:, None] * z)
    expected = np.trapezoid(p * (1 - p) * norm.pdf(z), z, axis=1)
    np.testing.assert_allclose(design.posterior_variances, expected, atol=1e-6)


def test_variances_are_exact_and_symmetric_however_certain_the_answer():
    gaps = np.array([0.0, 1e-9, 3.0, 25.0, 36.0, 50.0, 300.0])
    n = len(gaps)
    pairs = np.stack([np.arange(n), np.full(n, n)], axis=1)
    rewards = np.append(gaps, 0.0)
    items = rewards[:, None]
    one, other = (
        Design(p, lambda: items, reward=lambda: rewards, alpha=100.0)
        for p in (pairs, pairs[:, ::-1])
    )
    np.testing.assert_allclose(
        one.variances, np.exp(-gaps) / (1 + np.exp(-gaps)) ** 2, rtol=1e-12
    )
    np.testing.assert_array_equal(one.variances, other.variances)
    np.testing.assert_array_equal(one.posterior_variances, other.posterior_variances)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,)])
def test_the_information_of_a_past_is_what_the_fit_kept(hidden_layer_sizes, seed):
    pool, asked, model = fitted(seed, hidden_layer_sizes)
    own = caught(pool, estimator=model).past_information
    np.testing.assert_array_equal(own, model.information_)
    given = caught(pool, estimator=model, past=asked).past_information
    np.testing.assert_allclose(given, own, rtol=1e-8, atol=1e-12)
    swapped = caught(pool, estimator=model, past=np.asarray(asked.swap()))
    np.testing.assert_allclose(swapped.past_information, own, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("covered", [True, False])
def test_items_that_pool_and_past_share_are_embedded_once(covered, monkeypatch):
    pool, asked, model = fitted(0, (5,))
    candidates = None if covered else np.flatnonzero((pool.pairs > 2).all(axis=1))
    rows, embed = [], BradleyTerryRegressor.embed

    def count(self, items):
        rows.append(len(items))
        return embed(self, items)

    monkeypatch.setattr(BradleyTerryRegressor, "embed", count)
    asked = Comparisons(pool.items, asked.pairs)
    shared = caught(pool, estimator=model, past=asked, candidates=candidates)
    information, differences = shared.past_information, shared.past_differences
    assert (sum(rows) <= 30) == covered
    apart = Comparisons(pool.items.copy(), asked.pairs)
    alone = caught(pool, estimator=model, past=apart, candidates=candidates)
    np.testing.assert_allclose(alone.past_information, information, rtol=1e-12)
    np.testing.assert_allclose(alone.past_differences, differences, rtol=1e-12)


def test_a_past_without_a_model_counts_a_quarter_per_answer():
    pool, asked, _ = fitted(0)
    x = asked.differences()
    design = caught(pool, past=asked)
    np.testing.assert_allclose(design.past_information, 0.25 * x.T @ x)


@pytest.mark.parametrize("warm", [False, True])
def test_draws_have_the_posteriors_mean_and_covariance(warm):
    pool, _, model = fitted(0)
    pool = pool[:4]
    design = caught(pool, estimator=model if warm else None)
    n_draws = 40_000
    draws = design.draws(np.random.RandomState(0), n_draws)
    assert draws.shape == (n_draws, 4)
    X = pool.differences()
    matrix = design.past_information + design.prior
    covariance = X @ np.linalg.inv(matrix) @ X.T
    mean = X @ model.coef_ if warm else np.zeros(4)
    sd = np.sqrt(np.diag(covariance))
    tolerance = 5 / np.sqrt(n_draws)  # five standard errors
    np.testing.assert_allclose((draws.mean(axis=0) - mean) / sd, 0, atol=tolerance)
    error = (np.cov(draws.T) - covariance) / np.outer(sd, sd)
    np.testing.assert_allclose(error, 0, atol=tolerance * np.sqrt(2))


def test_draws_are_seeded():
    pool, _, model = fitted(0)
    design = caught(pool, estimator=model)
    np.testing.assert_array_equal(design.draws(3, 5), design.draws(3, 5))
    assert not np.array_equal(design.draws(3, 5), design.draws(4, 5))


# ------------------------------------------------------------------------- its tensors


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_tensors_are_double_precision_whatever_the_items_are(dtype):
    items = np.arange(6).reshape(3, 2).astype(dtype)
    items.flags.writeable = False
    design = Design(np.array([[0, 1], [1, 2]]), lambda: items)
    for name in ("embedding", "differences", "second_moment", "variances"):
        assert design.tensor(name).dtype == torch.float64
        np.testing.assert_array_equal(
            design.tensor(name).numpy(), getattr(design, name)
        )
    assert design.tensor("pairs").dtype == torch.int64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_live_on_the_device():
    device = torch.device("cuda")
    design = Design(np.array([[0, 1]]), lambda: np.eye(2), device=device)
    assert design.tensor("embedding").device.type == "cuda"
    assert isinstance(design.second_moment, np.ndarray)


# ------------------------------------------------------------- ensembles, expectations


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_white_have_the_covariances_of_centered_rewards(seed):
    pool, asked, model = fitted(seed)
    design = caught(pool, estimator=model, past=asked)
    phi = design.embedding - design.embedding.mean(axis=0)
    M = design.past_information + design.prior
    np.testing.assert_allclose(
        design.white @ design.white.T, phi @ np.linalg.inv(M) @ phi.T, atol=1e-12
    )
    model.head_coefs_ = np.random.default_rng(seed).standard_normal((5, 3))
    design = caught(pool, estimator=model, past=asked)
    np.testing.assert_allclose(
        design.white @ design.white.T,
        np.cov(phi @ model.head_coefs_.T, ddof=0),
        atol=1e-12,
    )


def test_draws_of_an_ensemble_are_its_heads_each_once():
    pool, asked, model = fitted(0)
    model.head_coefs_ = np.random.default_rng(0).standard_normal((5, 3))
    design = caught(pool, estimator=model, past=asked)
    expected = model.head_coefs_ @ design.differences.T
    found = design.draws(np.random.RandomState(0), 99)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    offsets = design.offsets(np.random.RandomState(0), 99)
    heads = offsets + model.coef_
    assert len(np.unique(heads.round(9), axis=0)) == 5


def test_draws_after_more_questions_have_the_narrowed_covariance():
    pool, asked, model = fitted(0)
    design = caught(pool, estimator=model, past=asked)
    positions = np.arange(20)
    x, v = design.differences[positions], design.posterior_variances[positions]
    M = design.past_information + design.prior + (x.T * v) @ x
    offsets = design.offsets(np.random.RandomState(0), 40_000, positions)
    np.testing.assert_allclose(offsets.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(offsets.T) @ M, np.eye(3), atol=0.05)


def test_draws_of_a_model_without_coefficients_are_about_its_rewards():
    class Opaque(BaseEstimator):
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def embed(self, items):
            return items

        def predict(self, items):
            return items[:, 0] ** 2

    pool, asked, _ = fitted(0)
    design = caught(pool, estimator=Opaque().fit(None), past=asked)
    mean = design.draws(np.random.RandomState(0), 20_000).mean(axis=0)
    np.testing.assert_allclose(mean, design.reward_differences, atol=0.1)


# ------------------------------------------------------------- the past, and the target


@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,)])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_past_is_there_as_differences_of_the_embedding(seed, hidden_layer_sizes):
    pool, asked, model = fitted(seed, hidden_layer_sizes)
    x = caught(pool, estimator=model, past=asked).past_differences
    z = model.embed(asked.items)
    first, second = asked.pairs.T
    np.testing.assert_allclose(x, z[first] - z[second])
    v = expit(x @ model.coef_) * expit(-x @ model.coef_)
    information = caught(pool, estimator=model, past=asked).past_information
    np.testing.assert_allclose(x.T @ (v[:, None] * x), information, atol=1e-10)
    cold = caught(pool, past=asked).past_differences
    np.testing.assert_allclose(cold, asked.differences())
    nothing = caught(pool, estimator=model)
    assert nothing.past_differences.shape == (0, nothing.embedding.shape[1])


@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,)])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_targets_information_weighs_it_by_its_own_variances(
    seed, hidden_layer_sizes
):
    pool, asked, model = fitted(seed, hidden_layer_sizes)
    for target in (None, asked):
        design = caught(pool, estimator=model, target=target)
        pairs = pool if target is None else target
        z = model.embed(pairs.items)
        x = z[pairs.pairs[:, 0]] - z[pairs.pairs[:, 1]]
        v = expit(x @ model.coef_) * expit(-x @ model.coef_)
        expected = x.T @ (v[:, None] * x) / len(x)
        np.testing.assert_allclose(design.target_information, expected, atol=1e-10)
        moment = x.T @ x / len(x)
        np.testing.assert_allclose(design.target_moment, moment, atol=1e-10)
        cold = caught(pool, target=target)
        quarter = cold.target_moment / 4  # before a model every answer is open
        np.testing.assert_allclose(cold.target_information, quarter, atol=1e-12)


# --------------------------------------------------------------------- on a sphere


@pytest.mark.parametrize("seed", SEEDS)
def test_on_the_sphere_items_keep_their_direction_and_have_the_median_length(seed):
    pool, asked, model = fitted(seed)
    design = caught(pool, estimator=model, past=asked)
    ends = design.embedding[design.pairs].reshape(-1, 3)
    phi, center = design.embedding - ends.mean(axis=0), ends.mean(axis=0)
    lengths = np.linalg.norm(phi, axis=1)
    median = np.median(np.linalg.norm(ends - center, axis=1))
    twin = design.on_sphere()
    expected = phi * median / lengths[:, None]
    np.testing.assert_allclose(twin.embedding, expected, rtol=1e-12)
    found = twin.tensor("embedding").numpy()
    np.testing.assert_array_equal(found, twin.embedding)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (4,)])
def test_what_the_model_and_the_answers_say_stays(hidden_layer_sizes):
    pool, asked, model = fitted(0, hidden_layer_sizes)
    fresh, read = (caught(pool, estimator=model, past=asked) for _ in range(2))
    for name in ("reward_difference_variances", "second_moment", "lengths", "prior"):
        getattr(read, name)
    for twin in (fresh.on_sphere(), read.on_sphere()):
        for name in ("rewards", "variances", "past_information", "prior"):
            expected = getattr(read, name)
            np.testing.assert_allclose(getattr(twin, name), expected, rtol=1e-12)
        x = twin.differences
        np.testing.assert_allclose(twin.second_moment, x.T @ x / len(x), atol=1e-12)
        covariance = np.linalg.inv(read.past_information + read.prior)
        variances = np.einsum("ki,ij,kj->k", x, covariance, x)
        np.testing.assert_allclose(twin.reward_difference_variances, variances)


def test_items_at_the_center_stay_there():
    items = np.vstack([np.eye(3), -np.eye(3), np.zeros((1, 3))])
    design = Design(np.array([[0, 3], [1, 4], [2, 5], [6, 6]]), lambda: items)
    np.testing.assert_allclose(design.on_sphere().embedding, items, atol=1e-15)
    alike = Design(np.array([[0, 1]]), lambda: np.ones((4, 2)))
    np.testing.assert_array_equal(alike.on_sphere().embedding, np.zeros((4, 2)))
