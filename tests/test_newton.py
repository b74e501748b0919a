"""Minimisation: the same minimum by every way, and large items in two precisions."""

import numpy as np
import pytest
from scipy.special import expit

from skarm._model import graph, likelihood
from skarm._model.likelihood import BradleyTerryLoss, DualLoss
from skarm._model.newton import descend, lbfgs, newton


def problem(seed=0, n_items=300, d=20, n_pairs=2000, dtype=np.float64):
    rng = np.random.default_rng(seed)
    items = (rng.standard_normal((n_items, d)) + 3).astype(dtype)
    first = rng.integers(0, n_items, n_pairs)
    second = (first + rng.integers(1, n_items, n_pairs)) % n_items
    gap = (items[first] - items[second]) @ rng.standard_normal(d) / 3
    y = (rng.random(n_pairs) < expit(gap)).astype(float)
    return items, np.column_stack([first, second]), y, rng.random(n_pairs) + 0.5


def differences(items, pairs):
    return items[pairs[:, 0]] - items[pairs[:, 1]]


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(graph, "LARGE", 100)
    monkeypatch.setattr(graph, "BLOCK_ROWS", 64)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_newton_ends_where_the_gradient_vanishes(alpha):
    loss = BradleyTerryLoss(*problem())
    found = newton(loss, np.zeros(20), alpha, 1e-9, 50)
    assert found.converged
    assert np.abs(loss.gradient(found.coef, alpha)).max() <= 1e-8
    np.testing.assert_allclose(found.logits, loss.logits(found.coef), atol=1e-10)
    assert found.value == pytest.approx(loss.value(found.coef, alpha), rel=1e-12)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_the_dual_has_the_minimum_and_the_determinant_of_the_primal(alpha):
    items, pairs, y, weights = problem(d=80, n_pairs=50)
    x = differences(items, pairs)
    primal, dual = BradleyTerryLoss(x, None, y, weights), DualLoss(x @ x.T, y, weights)
    one = newton(primal, np.zeros(80), alpha, 1e-10, 50)
    two = newton(dual, np.zeros(50), alpha, 1e-10, 50)
    np.testing.assert_allclose(x.T @ two.coef, one.coef, atol=1e-8)
    assert two.value == pytest.approx(one.value, rel=1e-10)
    # det(H + alpha I) has 30 more directions that no answer informs.
    halves = [
        loss.hessian_at(found.logits).factor(alpha).half_log_det()
        for loss, found in ((primal, one), (dual, two))
    ]
    assert halves[0] == pytest.approx(halves[1] + 15 * np.log(alpha), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_large_items_are_fitted_to_the_same_tolerance(dtype, alpha, small_is_large):
    items, pairs, y, weights = problem(dtype=dtype)
    loss = BradleyTerryLoss(items, pairs, y, weights)
    assert loss.is_large
    at_zero = np.abs(loss.gradient(np.zeros(20), 0.0)).max()
    found = descend(loss, np.zeros(20), alpha, 1e-10 * at_zero, 100)
    assert found.converged
    exact = problem(dtype=dtype)[0].astype(np.float64)
    x = differences(exact, pairs)
    s = x @ found.coef
    gradient = x.T @ (weights * (expit(s) - y)) + alpha * found.coef
    assert np.abs(gradient).max() <= 2e-10 * at_zero
    hessian = (x.T * weights * expit(s) * expit(-s)) @ x
    error = found.hessian.matrix - hessian
    assert np.abs(error).max() <= 1e-4 * np.abs(hessian).max()


def test_large_items_need_two_hessians_at_most(small_is_large, monkeypatch):
    loss = BradleyTerryLoss(*problem(dtype=np.float32))
    calls = []
    hessian_at = BradleyTerryLoss.hessian_at

    def counted(self, logits):
        calls.append(1)
        return hessian_at(self, logits)

    monkeypatch.setattr(BradleyTerryLoss, "hessian_at", counted)
    descend(loss, np.zeros(20), 1.0, 1e-7, 100)
    assert len(calls) == 1


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_costly_hessians_are_used_again_and_the_minimum_stays(scale, monkeypatch):
    items, *answers = problem()
    steps, hessians = [], []
    for costly in (2**20, 1):
        monkeypatch.setattr(likelihood, "COSTLY", costly)
        loss = BradleyTerryLoss(scale * items, *answers)
        calls, hessian_at = [], loss.hessian_at
        loss.hessian_at = lambda *a, f=hessian_at, calls=calls: calls.append(1) or f(*a)
        found = newton(loss, np.zeros(20), 1.0, 1e-8, 50)
        assert found.converged
        assert np.abs(loss.gradient(found.coef, 1.0)).max() <= 1e-7
        steps.append(found.n_iter)
        hessians.append(len(calls))
    assert steps[0] == hessians[0] > hessians[1] and steps[1] > steps[0]


@pytest.mark.parametrize("alpha", [0.3, 30.0])
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_rough_hessians_lead_to_the_same_minimum_and_determinant(alpha, spread):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 500)) * np.arange(1.0, 501) ** -spread
    kernel, y = 3 * x @ x.T, rng.integers(0, 2, 400)
    alpha = alpha * kernel.diagonal().mean()
    loss = DualLoss(kernel, y, rng.random(400) + 0.5)
    rough = loss.with_rough_hessians(alpha)
    found = newton(rough, np.zeros(400), alpha, 1e-9, 50)
    assert found.converged and found.factor.lower.dtype == np.float32
    exact = newton(loss, np.zeros(400), alpha, 1e-9, 50)
    np.testing.assert_allclose(found.logits, exact.logits, atol=1e-8)
    half, expected = (
        side.hessian_at(exact.logits).factor(alpha).half_log_det()
        for side in (rough, loss)
    )
    assert half == pytest.approx(expected, abs=400e-6)


def test_hessians_stay_exact_where_alpha_is_small_or_comparisons_are_few():
    x = np.random.default_rng(0).standard_normal((400, 500))
    y, c = np.zeros(400), np.ones(400)
    many, few = DualLoss(x @ x.T, y, c), DualLoss(x[:100] @ x[:100].T, y[:100], c[:100])
    assert many.with_rough_hessians(1.0) is many
    assert many.with_rough_hessians(100.0) is not many
    assert few.with_rough_hessians(100.0) is few


def test_a_known_hessian_is_the_first_to_be_used():
    loss = BradleyTerryLoss(*problem())
    loss.is_costly = True
    near = newton(loss, np.zeros(20), 1.0, 1e-3, 50)
    loss.hessian_at = None  # must not be needed
    found = newton(loss, near.coef, 1.0, 1e-9, 50, known=near)
    assert found.converged and found.seen is near.seen
    assert np.abs(loss.gradient(found.coef, 1.0)).max() <= 1e-8


def test_a_sketch_of_all_comparisons_is_the_hessian_at_rest(small_is_large):
    loss = BradleyTerryLoss(*problem(n_pairs=150))  # fewer than eight per feature
    rest = loss.hessian_at(np.zeros(150)).matrix
    np.testing.assert_allclose(loss.sketch().matrix, rest, rtol=1e-10)
    assert loss.typical_length() ** 2 == pytest.approx(loss.mean_square())


def test_lbfgs_agrees_with_newton():
    loss = BradleyTerryLoss(*problem())
    one = newton(loss, np.zeros(20), 1.0, 1e-8, 50)
    two = lbfgs(loss, np.zeros(20), 1.0, 1e-6, 500)
    np.testing.assert_allclose(two.coef, one.coef, atol=1e-6)
    np.testing.assert_allclose(two.logits, one.logits, atol=1e-5)
    assert two.value == pytest.approx(one.value, rel=1e-10)
    assert two.converged and two.n_iter > 1


def test_enough_stops_after_a_step_that_promises_little():
    loss = BradleyTerryLoss(*problem())
    rough = newton(loss, np.zeros(20), 1.0, 0.0, 50, enough=1e-3)
    exact = newton(loss, np.zeros(20), 1.0, 1e-9, 50)
    assert rough.converged and rough.n_iter < exact.n_iter
    assert abs(rough.value - exact.value) < 1e-6  # quadratic


def test_the_line_search_descends_from_far_away():
    loss = BradleyTerryLoss(*problem())
    start = np.linspace(-50, 50, 20)
    values = [newton(loss, start, 1.0, 0.0, n_iter).value for n_iter in range(6)]
    assert (np.diff(values) < 0).all()
    assert newton(loss, start, 1.0, 1e-8, 50).converged
