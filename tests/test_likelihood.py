"""The likelihood against its definition, written with explicit differences."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit

from skarm._model import graph
from skarm._model.graph import information
from skarm._model.likelihood import BradleyTerryLoss, Hessian

LABELS = ["hard", "soft", "ties"]
SCALES = [1e-3, 1.0, 30.0]


def problem(seed, labels="soft", n_items=12, n_features=5, n_pairs=40):
    """Items, pairs, outcomes and weights; pairs repeat, in both orders."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, n_features))
    first = rng.integers(0, n_items, n_pairs)
    second = (first + rng.integers(1, n_items, n_pairs)) % n_items
    y = {
        "hard": rng.integers(0, 2, n_pairs).astype(float),
        "soft": rng.random(n_pairs),
        "ties": np.full(n_pairs, 0.5),
    }[labels]
    return items, np.column_stack([first, second]), y, 3 * rng.random(n_pairs)


def differences(items, pairs):
    return items[pairs[:, 0]] - items[pairs[:, 1]]


def central_difference(f, w, step):
    steps = step * np.eye(len(w))
    return np.array([(f(w + h) - f(w - h)) / (2 * step) for h in steps])


@pytest.mark.parametrize("seed", range(3))
def test_value_is_minus_the_log_likelihood_of_hard_labels_plus_the_penalty(seed):
    items, pairs, y, c = problem(seed, "hard")
    w = np.random.default_rng(seed).standard_normal(5)
    p = expit(differences(items, pairs) @ w)
    expected = -np.sum(c * np.log(np.where(y == 1, p, 1 - p))) + 0.7 / 2 * w @ w
    assert BradleyTerryLoss(items, pairs, y, c).value(w, 0.7) == pytest.approx(expected)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("alpha", [0.0, 2.5])
def test_gradient_equals_finite_differences_of_the_value(scale, labels, alpha):
    loss = BradleyTerryLoss(*problem(1, labels))
    w = scale * np.random.default_rng(1).standard_normal(5)
    numeric = central_difference(lambda w: loss.value(w, alpha), w, 1e-5 * (1 + scale))
    analytic = loss.gradient(w, alpha)
    atol = 1e-6 * np.abs(analytic).max() + 1e-7
    np.testing.assert_allclose(analytic, numeric, rtol=0, atol=atol)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("alpha", [0.0, 2.5])
def test_hessian_equals_finite_differences_of_the_gradient(scale, labels, alpha):
    loss = BradleyTerryLoss(*problem(2, labels))
    w = scale * np.random.default_rng(2).standard_normal(5)
    numeric = central_difference(lambda w: loss.gradient(w, alpha), w, 1e-5)
    analytic = loss.information(w) + alpha * np.eye(5)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("n_pairs", [20, 40])  # an item has few neighbors, or all
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csr_array])
def test_information_equals_the_sum_over_explicit_differences(
    layout, shared, n_pairs, monkeypatch
):
    if shared:
        monkeypatch.setattr(graph, "LARGE", 10)
        monkeypatch.setattr(graph, "BLOCK_ROWS", 5)
    items, pairs, _, c = problem(3, n_pairs=n_pairs)
    X = differences(items, pairs)
    found = information(layout(items), pairs, c)
    np.testing.assert_allclose(found, X.T @ np.diag(c) @ X, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found, found.T)
    assert type(found) is np.ndarray


def test_information_does_not_depend_on_the_labels():
    items, pairs, y, c = problem(4)
    w = np.random.default_rng(4).standard_normal(5)
    losses = [BradleyTerryLoss(items, pairs, labels, c) for labels in (y, 1 - y, 0 * y)]
    first, *others = [loss.information(w) for loss in losses]
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_items_give_what_dense_items_give(layout):
    items, pairs, y, c = problem(5, n_items=30, n_features=8)
    items[np.random.default_rng(5).random(items.shape) < 0.7] = 0
    w = np.random.default_rng(6).standard_normal(8)
    dense = BradleyTerryLoss(items, pairs, y, c)
    thin = BradleyTerryLoss(layout(items), pairs, y, c)
    assert thin.value(w, 1.0) == pytest.approx(dense.value(w, 1.0), rel=1e-13)
    np.testing.assert_allclose(thin.gradient(w, 1.0), dense.gradient(w, 1.0))
    np.testing.assert_allclose(thin.information(w), dense.information(w), atol=1e-13)
    assert thin.mean_square() == pytest.approx(dense.mean_square(), rel=1e-13)


def test_swapping_pairs_and_mirroring_outcomes_changes_nothing():
    items, pairs, y, c = problem(7)
    w = np.random.default_rng(7).standard_normal(5)
    swap = np.random.default_rng(8).random(len(pairs)) < 0.5
    mirrored = np.where(swap[:, None], pairs[:, ::-1], pairs)
    one = BradleyTerryLoss(items, pairs, y, c)
    two = BradleyTerryLoss(items, mirrored, np.where(swap, 1 - y, y), c)
    assert two.value(w, 0.3) == pytest.approx(one.value(w, 0.3), rel=1e-14)
    np.testing.assert_allclose(two.gradient(w, 0.3), one.gradient(w, 0.3), atol=1e-13)
    np.testing.assert_allclose(two.information(w), one.information(w), atol=1e-13)
    assert two.mean_square() == pytest.approx(one.mean_square(), rel=1e-14)


def test_a_constant_added_to_every_item_changes_nothing():
    items, pairs, y, c = problem(9)
    w = np.random.default_rng(9).standard_normal(5)
    one = BradleyTerryLoss(items, pairs, y, c)
    two = BradleyTerryLoss(items + np.arange(5.0), pairs, y, c)
    assert two.value(w, 0.3) == pytest.approx(one.value(w, 0.3), rel=1e-12)
    np.testing.assert_allclose(two.gradient(w, 0.3), one.gradient(w, 0.3), atol=1e-11)


@pytest.mark.parametrize("n_pairs", [1, 40, 6000])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array])
def test_mean_square_is_the_weighted_mean_of_the_squared_lengths(layout, n_pairs):
    # 6000 pairs of 200 items: the cross products need several blocks.
    items, pairs, y, c = problem(10, n_items=200, n_pairs=n_pairs)
    squares = np.square(differences(items, pairs)).sum(axis=1)
    loss = BradleyTerryLoss(layout(items), pairs, y, c)
    assert loss.mean_square() == pytest.approx(np.average(squares, weights=c))


@pytest.mark.filterwarnings("error")
def test_certain_logits_neither_overflow_nor_lose_the_loss():
    data = np.array([[1e4], [-1e4]]), np.array([[0, 1]])
    loss = BradleyTerryLoss(*data, np.array([0.0]), np.ones(1))
    w = np.ones(1)
    assert loss.value(w, 0.0) == 2e4  # certain, and wrong
    np.testing.assert_array_equal(loss.gradient(w, 0.0), [2e4])
    np.testing.assert_array_equal(loss.information(w), [[0.0]])
    loss = BradleyTerryLoss(*data, np.array([1.0]), np.ones(1))
    assert loss.value(w, 0.0) == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_a_factor_solves_the_system_it_was_made_of(n, dtype):
    rng = np.random.default_rng(n)
    rows, gradient = rng.standard_normal((n, n + 5)), rng.standard_normal(n)
    matrix = (rows @ rows.T / (n + 1)).astype(dtype)
    for root in (None, 0.5 + rng.random(n)):
        step = Hessian(matrix, root).factor(0.3).solve(gradient)
        scale = np.ones(n) if root is None else root
        # (S K S + alpha I) (step / root) = gradient / root
        image = (matrix + 0.3 * np.eye(n)) @ (step / scale)
        np.testing.assert_allclose(
            image, gradient / scale, atol=2e4 * np.finfo(dtype).eps
        )
