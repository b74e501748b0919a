"""Student's t prior of the coefficients: fixed points, both forms, and what it buys."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import norm, spearmanr
from scipy.stats import t as student_t
from sklearn.exceptions import ConvergenceWarning

from skarm import BradleyTerryRegressor, Comparisons
from skarm._model.evidence import PRIOR_LOG_SD, PRIOR_SD
from skarm._model.student import DEGREES, student_precisions


def problem(n, d, seed=0):
    """A curvature, as Hessian and as root, about the minimum for alpha = 2."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((n, d)) / 2
    truth = rng.standard_t(2, size=d) / np.sqrt(d)
    hessian = root.T @ root
    coef = np.linalg.solve(hessian + 2 * np.eye(d), hessian @ truth)
    return root, hessian, coef, 4 * np.square(root).sum(axis=1).mean()


def squares(hessian, coef, precisions, alpha=2.0):
    """E[w²] under the posterior, by the textbook."""
    covariance = np.linalg.inv(hessian + np.diag(precisions))
    mean = covariance @ (hessian @ coef + alpha * coef)
    return mean**2 + np.diag(covariance)


def most_probable_scale(square, mean_square):
    """s², by the densities of the prior and of t, each integrated by scipy."""

    def loss(log_scale):
        scale = np.exp(log_scale / 2)
        sd = scale * np.sqrt(mean_square * DEGREES / (DEGREES - 2))
        logs = student_t.logpdf(np.sqrt(square), DEGREES, scale=scale)
        return -logs.sum() - norm.logpdf(np.log(sd / PRIOR_SD), scale=PRIOR_LOG_SD)

    return np.exp(minimize_scalar(loss, bounds=(-20, 10), method="bounded").x)


@pytest.mark.parametrize(("n", "d"), [(300, 20), (15, 40), (60, 1)])
def test_precisions_are_those_of_the_posterior_that_they_give(n, d):
    _, hessian, coef, mean_square = problem(n, d)
    precisions = student_precisions(hessian, coef, 2.0, mean_square)
    square = squares(hessian, coef, precisions)
    scale = most_probable_scale(square, mean_square)
    expected = (DEGREES + 1) / (DEGREES * scale + square)
    np.testing.assert_allclose(precisions, expected, rtol=1e-2)


def test_a_root_of_the_curvature_gives_what_the_curvature_gives():
    root, hessian, coef, mean_square = problem(15, 40)
    narrow = student_precisions(root, coef, 2.0, mean_square)
    full = student_precisions(hessian, coef, 2.0, mean_square)
    np.testing.assert_allclose(narrow, full, rtol=1e-6)


def sparse_world(n_pairs, d=60, n_items=400, seed=0):
    """Answers to a reward of which three features of `d` are all."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, d))
    rewards = items[:, :3] @ [1.5, -1.0, 1.0]
    asked = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    chance = expit(np.subtract(*rewards[asked.pairs.T]))
    return asked, (rng.random(n_pairs) < chance).astype(float), rewards


@pytest.mark.parametrize(
    ("n_pairs", "n_items"), [(40, 400), (60, 400), (200, 400), (200, 40)]
)
def test_the_fit_is_that_of_the_precisions_in_every_system_of_coordinates(
    n_pairs, n_items
):
    asked, y, _ = sparse_world(n_pairs, n_items=n_items)
    model = BradleyTerryRegressor().fit(asked, y)
    x = asked.differences()
    p = expit(x @ model.coef_)
    gradient = x.T @ (p - y) + model.alpha_ * model.coef_
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    np.testing.assert_allclose(
        model.information_, (x.T * (p * (1 - p))) @ x, rtol=1e-7, atol=1e-9
    )
    normal = BradleyTerryRegressor(prior="normal").fit(asked, y)
    np.testing.assert_allclose(model.log_evidence_, normal.log_evidence_)
    p = expit(x @ normal.coef_)
    precisions = student_precisions(
        (x.T * (p * (1 - p))) @ x,
        normal.coef_,
        normal.alpha_,
        np.square(x).sum(axis=1).mean(),
    )
    np.testing.assert_allclose(model.alpha_, precisions, rtol=1e-5)


def test_few_features_of_many_are_found_with_fewer_answers():
    better = 0
    for seed in range(10):
        asked, y, rewards = sparse_world(150, seed=seed)
        quality = {
            prior: spearmanr(
                rewards,
                BradleyTerryRegressor(prior=prior).fit(asked, y).predict(asked.items),
            )[0]
            for prior in ("normal", "student_t")
        }
        better += quality["student_t"] > quality["normal"] + 0.03
    assert better >= 9


def test_features_that_carry_the_reward_are_shrunk_less():
    asked, y, _ = sparse_world(300)
    alpha = BradleyTerryRegressor().fit(asked, y).alpha_
    assert alpha.shape == (60,)
    assert alpha[:3].max() < 0.2 * np.median(alpha[3:])


@pytest.mark.parametrize(
    "change",
    [
        {"prior": "normal"},
        {"alpha": 3.0},
        {"hidden_layer_sizes": (4,), "max_iter": 2, "validation_fraction": 0},
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_precision_for_all_where_the_prior_is_normal(change):
    asked, y, _ = sparse_world(100)
    model = BradleyTerryRegressor(random_state=0, **change).fit(asked, y)
    assert np.ndim(model.alpha_) == 0


def test_many_answers_outweigh_the_prior():
    asked, y, _ = sparse_world(400, d=4)
    normal = BradleyTerryRegressor(prior="normal").fit(asked, y)
    model = BradleyTerryRegressor().fit(asked, y)
    assert np.array_equal(model.coef_, normal.coef_) and np.ndim(model.alpha_) == 0


def test_equal_items_teach_nothing_and_break_nothing():
    asked = Comparisons(np.ones((4, 3)), [[0, 1], [2, 3]])
    model = BradleyTerryRegressor().fit(asked, [1, 0])
    assert np.array_equal(model.coef_, np.zeros(3)) and np.isfinite(model.alpha_).all()


def test_swapped_pairs_and_shuffled_features_change_nothing():
    asked, y, _ = sparse_world(80)
    model = BradleyTerryRegressor().fit(asked, y)
    order = np.random.default_rng(0).permutation(60)
    moved = Comparisons(asked.items[:, order], asked.pairs[:, ::-1])
    other = BradleyTerryRegressor().fit(moved, 1 - y)
    np.testing.assert_allclose(other.coef_, model.coef_[order], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(other.alpha_, model.alpha_[order], rtol=1e-5)


@pytest.mark.parametrize("max_iter", [1, 3])
def test_few_iterations_end_with_a_warning_not_an_error(max_iter):
    asked, y, _ = sparse_world(100)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model = BradleyTerryRegressor(max_iter=max_iter).fit(asked, y)
    assert np.isfinite(model.coef_).all() and model.alpha_.shape == (60,)
