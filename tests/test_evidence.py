"""The search for alpha against brute force over a dense grid."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.model_selection import GridSearchCV, GroupKFold

from skarm import BradleyTerryRegressor, Comparisons
from skarm._model import evidence, linear
from skarm._model.evidence import maximize_evidence
from skarm._model.newton import newton
from skarm._model.prior import as_matrix


def problem(seed):
    """Few or many answers, of any strength, to any kind of pairs."""
    rng = np.random.default_rng(seed)
    n_pairs, d = rng.choice([1, 2, 5, 12, 40, 150, 600]), rng.choice([1, 3, 20, 90])
    items = rng.standard_normal((rng.choice([4, 30, 200]), d))
    items *= np.arange(1.0, d + 1) ** -rng.choice([0.0, 1.0])
    if rng.random() < 0.3:  # heavy tails
        items /= rng.random((len(items), 1)) ** 2
    first = rng.integers(0, len(items), n_pairs)
    second = (first + rng.integers(1, len(items), n_pairs)) % len(items)
    gap = (items[first] - items[second]) @ rng.standard_normal(d)
    gap *= rng.choice([0.0, 1.0, 10.0]) / max(np.abs(gap).mean(), 1e-9)
    y = (rng.random(n_pairs) < expit(gap)).astype(float)
    weights = rng.choice([1.0, 3.0], n_pairs)
    return items, np.column_stack([first, second]), y, weights


def objective(loss, log_alpha):
    """Log evidence plus log prior, by a fit from zero."""
    alpha = np.exp(log_alpha)
    found = newton(loss, np.zeros(loss.n_coordinates), alpha, 1e-9, 200)
    factor = loss.hessian_at(found.logits).factor(alpha)
    occam = loss.n_coordinates / 2 * log_alpha - factor.half_log_det()
    log_sd = (np.log(loss.mean_square()) - log_alpha) / 2
    return occam - found.value - (log_sd - np.log(1.5)) ** 2 / 2


@pytest.mark.parametrize("seed", range(60))
def test_no_alpha_of_a_dense_grid_is_better_than_the_one_found(seed):
    loss = linear._coordinates(*problem(seed))[0]
    start = np.zeros(loss.n_coordinates)
    found = maximize_evidence(loss, start, 1e-9, 200)
    log_scale = np.log(loss.mean_square())
    grid = log_scale - 2 * np.log(np.geomspace(*evidence.PRIOR_SD_RANGE, 81))
    best = max(objective(loss, t) for t in grid)
    reached = objective(loss, np.log(found.alpha))
    assert reached >= best - 2e-3
    log_sd = (log_scale - np.log(found.alpha)) / 2
    prior = (log_sd - np.log(1.5)) ** 2 / 2
    assert found.log_evidence - prior == pytest.approx(reached, abs=1e-6)
    assert found.minimum.converged


@pytest.mark.parametrize("seed", range(12))
def test_of_few_comparisons_of_wide_items_the_maximum_itself_is_found(seed):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((600, 400)) * np.arange(1.0, 401) ** -rng.choice([0, 1])
    pairs = np.arange(600).reshape(-1, 2)
    gap = np.subtract(*(items @ rng.standard_normal(400))[pairs.T])
    y = (rng.random(300) < expit(rng.choice([1, 5]) * gap / gap.std())) * 1.0
    loss = linear._coordinates(items, pairs, y, np.ones(300))[0]
    assert loss.with_rough_hessians(1e9).hessian_kernel.dtype == np.float32
    found = np.log(maximize_evidence(loss, np.zeros(300), 1e-9, 200).alpha)
    best = minimize_scalar(
        lambda t: -objective(loss, t),
        bounds=(found - 0.3, found + 0.3),
        options={"xatol": 1e-4},
    ).x
    assert found == pytest.approx(best, abs=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_the_search_is_a_few_fits_long(seed, monkeypatch):
    loss = linear._coordinates(*problem(seed))[0]
    n_points = []
    evaluate = evidence._Search.evaluate

    def counted(search, log_alpha):
        n_points.append(log_alpha)
        evaluate(search, log_alpha)

    monkeypatch.setattr(evidence._Search, "evaluate", counted)
    maximize_evidence(loss, np.zeros(loss.n_coordinates), 1e-9, 200)
    assert len(n_points) <= 12


def test_the_start_decides_nothing():
    loss = linear._coordinates(*problem(3))[0]
    cold = maximize_evidence(loss, np.zeros(loss.n_coordinates), 1e-9, 200)
    warm = maximize_evidence(loss, cold.minimum.coef + 0.1, 1e-9, 200)
    assert warm.alpha == pytest.approx(cold.alpha, rel=1e-3)


@pytest.mark.parametrize("prior", ["normal", "student_t"])
@pytest.mark.parametrize("n_pairs", [15, 300])
@pytest.mark.parametrize("has_groups", [False, True])
def test_alpha_scale_multiplies_what_evidence_prefers(prior, n_pairs, has_groups):
    rng = np.random.default_rng(n_pairs)
    items = rng.standard_normal((200, 20)) * np.geomspace(2, 0.2, 20)
    groups = np.arange(200) // 10 if has_groups else None
    asked = Comparisons.random_pairs(items, n_pairs, random_state=0)
    asked = Comparisons(items, asked.pairs, groups=groups)
    x = asked.differences()
    y = (rng.random(n_pairs) < expit(x[:, 0])).astype(float)
    plain = BradleyTerryRegressor(prior=prior).fit(asked, y)
    model = BradleyTerryRegressor(prior=prior, alpha_scale=4.0).fit(asked, y)
    np.testing.assert_allclose(model.alpha_, 4 * plain.alpha_, rtol=1e-6, atol=1e-9)
    p = expit(x @ model.coef_)
    pull = as_matrix(model.alpha_, 20) @ model.coef_
    np.testing.assert_allclose(x.T @ (p - y) + pull, 0, atol=1e-5)
    information = (x.T * (p * (1 - p))) @ x
    np.testing.assert_allclose(model.information_, information, rtol=1e-6, atol=1e-9)
    assert model.log_evidence_ == plain.log_evidence_


def test_alpha_scale_reaches_the_last_layer_of_a_network_and_a_given_alpha_does_not():
    rng = np.random.default_rng(0)
    items = rng.standard_normal((300, 4))
    asked = Comparisons.random_pairs(items, 600, random_state=0)
    gap = np.subtract(*(3 * np.abs(items[:, 0]))[asked.pairs.T])
    y = (rng.random(600) < expit(gap)).astype(float)
    options = dict(hidden_layer_sizes=(16,), random_state=0)
    plain, scaled = (
        BradleyTerryRegressor(alpha_scale=scale, **options).fit(asked, y)
        for scale in (1.0, 3.0)
    )
    assert plain.hidden_coefs_
    assert scaled.alpha_ == pytest.approx(3 * plain.alpha_, rel=1e-6)
    given = BradleyTerryRegressor(alpha=2.0, alpha_scale=3.0).fit(asked, y)
    assert given.alpha_ == 2.0


def test_alpha_scale_is_chosen_on_held_out_groups():
    rng = np.random.default_rng(0)
    items, groups = rng.standard_normal((400, 30)), np.arange(400) // 10
    items[:, 0] /= 10  # to shrink hard hides it
    pairs = Comparisons.random_pairs(
        *(items, 300), groups=groups, scope="within", random_state=0
    )
    y = (rng.random(300) < expit(40 * pairs.differences()[:, 0])).astype(float)
    search = GridSearchCV(
        BradleyTerryRegressor(prior="normal"),
        {"alpha_scale": [1.0, 1000.0]},
        cv=GroupKFold(3),
    )
    search.fit(pairs, y, groups=groups[pairs.pairs[:, 0]])
    assert search.best_params_ == {"alpha_scale": 1.0}
