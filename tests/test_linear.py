"""The exact linear fit against scikit-learn, scipy and the evidence's own formula."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import ortho_group
from sklearn.linear_model import LogisticRegression

from skarm._model import evidence, linear
from skarm._model.evidence import maximize_evidence
from skarm._model.graph import information
from skarm._model.likelihood import BradleyTerryLoss
from skarm._model.linear import fit_linear, prepare
from skarm._model.newton import newton

# (n_items, n_features, n_pairs), and the number of coordinates that suffice.
SHAPES = {
    "pairs > features": ((200, 10, 500), 10),
    "items < features": ((30, 80, 200), 30),
    "pairs < items": ((200, 120, 40), 40),
    "pairs < features": ((200, 50, 20), 50),
    "one feature": ((20, 1, 50), 1),
}


def problem(shape, seed=0, alpha=None, labels="hard"):
    """Items, pairs, outcomes of coefficients from N(0, I/alpha), and unit weights."""
    n_items, d, n_pairs = shape
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, d))
    first = rng.integers(0, n_items, n_pairs)
    pairs = np.column_stack([first, (first + rng.integers(1, n_items, n_pairs))])
    pairs[:, 1] %= n_items
    w = rng.standard_normal(d) / np.sqrt(d if alpha is None else alpha)
    p = expit(differences(items, pairs) @ w)
    y = (rng.random(n_pairs) < p).astype(float)
    if labels == "soft":
        y = rng.choice([0.0, 0.2, 0.5, 1.0], n_pairs)
    return items, pairs, y, np.ones(n_pairs)


def differences(items, pairs):
    return items[pairs[:, 0]] - items[pairs[:, 1]]


def fit(items, pairs, y, c, alpha=1.0, tol=1e-10, max_iter=1000, **params):
    return fit_linear(
        *(items, pairs, y, c), alpha=alpha, tol=tol, max_iter=max_iter, **params
    )


def by_logistic_regression(items, pairs, y, alpha):
    """Every row once as it is and once mirrored, half weight each: both classes."""
    X = differences(items, pairs)
    model = LogisticRegression(
        C=1 / alpha, fit_intercept=False, solver="newton-cholesky", tol=1e-12
    )
    weights = np.full(2 * len(X), 0.5)
    return model.fit(np.vstack([X, -X]), np.r_[y, 1 - y], weights).coef_[0]


def by_scipy(items, pairs, y, c, alpha):
    X = differences(items, pairs)

    def objective(w):
        s = X @ w
        value = c @ (np.logaddexp(0, s) - y * s) + alpha / 2 * w @ w
        return value, X.T @ (c * (expit(s) - y)) + alpha * w

    def hessian(w):
        p = expit(X @ w)
        return (X.T * (c * p * (1 - p))) @ X + alpha * np.eye(len(w))

    options = {"gtol": 1e-11}
    start = np.zeros(X.shape[1])
    return minimize(
        objective, start, jac=True, hess=hessian, method="trust-exact", options=options
    ).x


def log_evidence(items, pairs, y, c, alpha, w=None):
    """MacKay's formula in feature space, with nothing reduced."""
    w = by_scipy(items, pairs, y, c, alpha) if w is None else w
    X = differences(items, pairs)
    s = X @ w
    p = expit(s)
    hessian = (X.T * (c * p * (1 - p))) @ X + alpha * np.eye(len(w))
    nll = c @ (np.logaddexp(0, s) - y * s)
    return (
        -nll
        - alpha / 2 * w @ w
        + len(w) / 2 * np.log(alpha)
        - np.linalg.slogdet(hessian)[1] / 2
    )


def log_prior(data, alpha):
    """Log-normal about 1.5 nats: the prior sd of a reward difference."""
    items, pairs, _, c = data
    items = items.toarray() if sparse.issparse(items) else items
    squares = np.square(items[pairs[:, 0]] - items[pairs[:, 1]]).sum(axis=1)
    sd = np.sqrt(np.average(squares, weights=c) / alpha)
    return -(np.log(sd / 1.5) ** 2) / 2


def evidence_at(alpha, data, monkeypatch):
    """What the package says the evidence is, its search held to (nearly) one alpha."""
    loss = linear._coordinates(*data)[0]
    sd = np.sqrt(loss.mean_square() / alpha)
    monkeypatch.setattr(evidence, "PRIOR_SD_RANGE", (sd * 0.9999, sd * 1.0001))
    return fit(*data, alpha="auto")


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("alpha", [1e-2, 1.0, 100.0])
def test_fit_equals_logistic_regression_on_differences(name, layout, alpha):
    items, pairs, y, c = problem(SHAPES[name][0])
    expected = by_logistic_regression(items, pairs, y, alpha)
    found = fit(layout(items), pairs, y, c, alpha)
    np.testing.assert_allclose(found.coef, expected, rtol=0, atol=1e-7)
    assert found.converged and found.alpha == alpha and np.isnan(found.log_evidence)


@pytest.mark.parametrize("name", SHAPES)
def test_fit_equals_direct_minimisation_with_soft_labels_ties_and_weights(name):
    items, pairs, y, c = problem(SHAPES[name][0], labels="soft")
    c = 3 * np.random.default_rng(1).random(len(y)) + 0.01
    expected = by_scipy(items, pairs, y, c, 0.3)
    np.testing.assert_allclose(fit(items, pairs, y, c, 0.3).coef, expected, atol=1e-7)


@pytest.mark.parametrize("name", SHAPES)
def test_coordinates_are_the_fewest_that_hold_the_solution(name):
    shape, n_coordinates = SHAPES[name]
    data = problem(shape)
    loss, expand, contract = linear._coordinates(*data)
    assert loss.n_coordinates <= n_coordinates
    z = np.random.default_rng(0).standard_normal(loss.n_coordinates)
    w = expand(z)
    assert loss.inner(z, z, loss.logits(z)) == pytest.approx(w @ w)  # a rotation
    np.testing.assert_allclose(loss.logits(z), differences(*data[:2]) @ w, atol=1e-10)
    solution = fit(*data)
    logits = loss.logits(contract(solution.coef, 1.0))
    expected = differences(*data[:2]) @ solution.coef
    np.testing.assert_allclose(logits, expected, atol=1e-7)


@pytest.mark.parametrize("name", ["items < features", "pairs < items"])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array])
def test_lbfgs_agrees_with_newton(name, layout, monkeypatch):
    items, pairs, y, c = problem(SHAPES[name][0], labels="soft")
    exact = fit(items, pairs, y, c)
    monkeypatch.setattr(linear, "MAX_DENSE", 8)
    monkeypatch.setattr(linear, "descend", None)  # must not be needed
    found = fit(layout(items), pairs, y, c, tol=1e-9)
    np.testing.assert_allclose(found.coef, exact.coef, atol=1e-7)
    assert found.converged


@pytest.mark.parametrize("alpha", ["auto", 2.0])
def test_fewer_comparisons_than_features_are_fitted_as_if_nothing_were_reduced(alpha):
    items, pairs, y, c = problem((500, 450, 400))
    full = BradleyTerryLoss(differences(items, pairs), None, y, c)
    reduced = fit(items, pairs, y, c, alpha)
    assert linear._coordinates(items, pairs, y, c)[0].is_costly
    if alpha == "auto":
        found = maximize_evidence(full, np.zeros(450), 1e-7, 100)
        assert np.log(reduced.alpha / found.alpha) == pytest.approx(0, abs=0.02)
        exact = log_evidence(items, pairs, y, c, reduced.alpha, reduced.coef)
        assert reduced.log_evidence == pytest.approx(exact, abs=1e-6 * len(y))
    expected = newton(full, np.zeros(450), reduced.alpha, 1e-9, 100)
    np.testing.assert_allclose(reduced.coef, expected.coef, atol=1e-9)
    np.testing.assert_allclose(
        information(*reduced.terms), full.information(expected.coef), atol=1e-7
    )


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("max_dense", [4096, 8])
def test_held_out_logits_are_those_of_a_fit_without(
    name, layout, max_dense, monkeypatch
):
    monkeypatch.setattr(linear, "MAX_DENSE", max_dense)
    items, pairs, y, c = problem(SHAPES[name][0], labels="soft")
    mask = np.random.default_rng(1).random(len(y)) < 0.3
    found = fit(layout(items), pairs, y, c, 2.0, held_out=mask, tol=1e-9)
    without = fit(items, pairs[~mask], y[~mask], c[~mask], 2.0)
    expected = differences(items, pairs[mask]) @ without.coef
    np.testing.assert_allclose(found.held_out_logits, expected, atol=1e-4)
    np.testing.assert_allclose(found.coef, fit(items, pairs, y, c, 2.0).coef, atol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_a_scaled_precision_holds_for_held_out_logits_too(name):
    items, pairs, y, c = problem(SHAPES[name][0], labels="soft")
    mask = np.random.default_rng(1).random(len(y)) < 0.3
    found = fit(items, pairs, y, c, "auto", scale=3.0, held_out=mask, tol=1e-9)
    assert found.alpha == pytest.approx(3 * fit(items, pairs, y, c, "auto").alpha)
    given = fit(items, pairs, y, c, found.alpha, held_out=mask, tol=1e-9)
    np.testing.assert_allclose(found.held_out_logits, given.held_out_logits, atol=1e-4)
    np.testing.assert_allclose(found.coef, given.coef, atol=1e-6)


def test_beyond_the_dense_limit_alpha_is_that_of_an_even_subset(monkeypatch):
    items, pairs, y, c = problem((300, 100, 900))
    monkeypatch.setattr(linear, "MAX_DENSE", 64)
    found = fit(items, pairs, y, c, "auto")
    rows = np.linspace(0, 899, 32).astype(int)
    subset = fit(items, pairs[rows], y[rows], c[rows], "auto")
    assert found.alpha == subset.alpha
    assert fit(items, pairs, y, c, "auto", scale=3.0).alpha == 3 * subset.alpha
    np.testing.assert_allclose(
        found.coef, fit(items, pairs, y, c, found.alpha).coef, atol=1e-10
    )


def test_repeated_comparisons_equal_weights():
    items, pairs, y, _ = problem((30, 5, 60), labels="soft")
    times = np.random.default_rng(2).integers(1, 5, 60)
    repeated = fit(
        items, np.repeat(pairs, times, axis=0), np.repeat(y, times), np.ones(sum(times))
    )
    weighted = fit(items, pairs, y, times.astype(float))
    np.testing.assert_allclose(repeated.coef, weighted.coef, atol=1e-9)


@pytest.mark.parametrize("start", ["solution", "far away"])
@pytest.mark.parametrize("name", ["pairs > features", "items < features"])
def test_the_solution_does_not_depend_on_the_start(name, start):
    data = problem(SHAPES[name][0], labels="soft")
    cold = fit(*data)
    coef = cold.coef if start == "solution" else np.linspace(-50, 50, len(cold.coef))
    warm = fit(*data, coef_init=coef)
    np.testing.assert_allclose(warm.coef, cold.coef, atol=1e-7)
    if start == "solution":
        assert warm.n_iter <= 1 < cold.n_iter


def test_an_iteration_too_few_is_not_called_converged(monkeypatch):
    data = problem((200, 10, 500))
    assert not fit(*data, max_iter=1).converged
    data = problem((30, 80, 200))
    monkeypatch.setattr(linear, "MAX_DENSE", 8)
    assert not fit(*data, max_iter=1).converged


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("relative", [1e-2, 1.0, 1e2])
def test_evidence_equals_its_formula_in_feature_space(name, relative, monkeypatch):
    data = problem(SHAPES[name][0])
    found = evidence_at(relative * data[0].shape[1], data, monkeypatch)
    assert found.alpha == pytest.approx(relative * data[0].shape[1], rel=1e-3)
    expected = log_evidence(*data, found.alpha)
    assert found.log_evidence == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_auto_alpha_is_where_the_evidence_is_greatest(name):
    data = problem(SHAPES[name][0], seed=3, alpha=SHAPES[name][0][1] / 4)
    found = fit(*data, alpha="auto")
    assert found.log_evidence == pytest.approx(log_evidence(*data, found.alpha))
    grid = found.alpha * np.exp(np.r_[-9:9:25j, -0.3:0.3:25j])
    scale = np.mean(np.square(differences(*data[:2])).sum(axis=1))
    grid = grid[(grid > scale / 1e4) & (grid < scale * 1e4)]
    values = [
        log_evidence(*data, alpha, fit(*data, alpha).coef) + log_prior(data, alpha)
        for alpha in grid
    ]
    assert found.log_evidence + log_prior(data, found.alpha) >= max(values) - 1e-3
    np.testing.assert_allclose(found.coef, fit(*data, found.alpha).coef, atol=1e-6)


@pytest.mark.parametrize("name", ["pairs > features", "items < features"])
def test_auto_alpha_does_not_depend_on_the_axes(name):
    items, pairs, y, c = problem(SHAPES[name][0])
    rotation = ortho_group.rvs(items.shape[1], random_state=0)
    one = fit(items, pairs, y, c, "auto")
    two = fit(items @ rotation, pairs, y, c, "auto")
    assert two.alpha == pytest.approx(one.alpha, rel=1e-5)
    np.testing.assert_allclose(rotation @ two.coef, one.coef, atol=1e-5)


def test_auto_alpha_does_not_depend_on_the_order_of_a_pair():
    items, pairs, y, c = problem((100, 8, 300), labels="soft")
    swap = np.random.default_rng(4).random(300) < 0.5
    mirrored = np.where(swap[:, None], pairs[:, ::-1], pairs)
    one = fit(items, pairs, y, c, "auto")
    two = fit(items, mirrored, np.where(swap, 1 - y, y), c, "auto")
    assert two.alpha == pytest.approx(one.alpha, rel=1e-6)
    np.testing.assert_allclose(two.coef, one.coef, atol=1e-7)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_auto_alpha_follows_the_unit_of_the_features(factor):
    items, pairs, y, c = problem((100, 8, 300))
    one = fit(items, pairs, y, c, "auto")
    two = fit(items * factor, pairs, y, c, "auto")
    assert two.alpha == pytest.approx(one.alpha * factor**2, rel=1e-4)
    np.testing.assert_allclose(two.coef * factor, one.coef, atol=1e-5)


@pytest.mark.parametrize("alpha", [2.0, 20.0, 100.0])
def test_auto_alpha_recovers_the_precision_of_the_prior(alpha):
    found = [
        fit(*problem((300, 20, 1500), seed, alpha), alpha="auto").alpha
        for seed in range(20)
    ]
    error = np.log(found) - np.log(alpha)
    assert abs(error.mean()) < np.log(1.5)
    assert np.abs(error).max() < np.log(6)


def test_without_signal_auto_alpha_is_strong():
    items, pairs, _, c = problem((100, 8, 300))
    found = fit(items, pairs, np.full(300, 0.5), c, "auto")
    sd = np.sqrt(linear._coordinates(items, pairs, c, c)[0].mean_square() / found.alpha)
    assert sd < 0.3  # nats; 300 ties against the prior's 1.5
    np.testing.assert_array_equal(found.coef, 0)


@pytest.mark.parametrize("alpha", ["auto", 1e-8, 1e-30])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.filterwarnings("error")
def test_separable_answers_have_a_finite_fit(name, alpha):
    items, pairs, _, c = problem(SHAPES[name][0])
    w = np.random.default_rng(5).standard_normal(items.shape[1])
    y = (differences(items, pairs) @ w > 0).astype(float)
    found = fit(items, pairs, y, c, alpha, tol=1e-8)
    assert found.converged and np.isfinite(found.coef).all()
    if alpha != "auto":  # which may prefer a strong prior to the last answer
        gap = differences(items, pairs) @ found.coef
        np.testing.assert_array_equal(gap > 0, y == 1)


@pytest.mark.parametrize("scale", [1e-100, 1e-6, 1e6, 1e100])
@pytest.mark.parametrize("alpha", ["auto", 1.0])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.filterwarnings("error")
def test_any_unit_of_the_features_has_a_finite_fit(name, alpha, scale):
    items, pairs, y, c = problem(SHAPES[name][0])
    found = fit(items * scale, pairs, y, c, alpha, tol=1e-8)
    assert found.converged and np.isfinite(found.coef * scale).all()


@pytest.mark.parametrize("alpha", ["auto", 1.0])
@pytest.mark.parametrize("d", [1, 100])
@pytest.mark.parametrize("n_pairs", [1, 5, 60])
@pytest.mark.parametrize("items", ["zeros", "ones"])
@pytest.mark.filterwarnings("error")
def test_items_that_do_not_differ_get_equal_rewards(items, n_pairs, d, alpha):
    _, pairs, y, c = problem((20, 1, n_pairs))
    items = np.full((20, d), 0.0 if items == "zeros" else 1.0)
    found = fit(items, pairs, y, c, alpha)
    assert found.converged and np.isfinite(found.alpha)
    np.testing.assert_allclose(found.coef, 0, atol=1e-9)


@pytest.mark.parametrize("n", [1, 3, 10, 25])
def test_a_few_answers_do_not_settle_that_all_rewards_are_equal(n):
    rng = np.random.default_rng(n)
    items = rng.standard_normal((40, 64))
    pairs = np.arange(2 * n).reshape(-1, 2) % 40
    found = fit(items, pairs, np.ones(n), np.ones(n), alpha="auto")
    assert 0.3 < np.sqrt(2 * 64 / found.alpha) < 10  # nats


@pytest.mark.parametrize("n_items", [3, 40])  # counted by cell, or sorted
def test_prepared_comparisons_have_the_same_fit_and_no_repetitions(n_items):
    items, pairs, y, _ = problem((n_items, 5, 60), labels="soft")
    c = np.random.default_rng(6).random(60) + 0.1
    prepared = prepare(items.astype(np.float32), pairs, y, c)
    assert len(np.unique(prepared[1], axis=0)) == len(prepared[1]) <= 60
    assert (prepared[1][:, 0] < prepared[1][:, 1]).all()
    # Of three comparisons only the differences are needed, not every item in float64.
    assert prepared[0].dtype == (np.float32 if n_items == 3 else np.float64)
    assert prepared[3].sum() == pytest.approx(c.sum())
    expected = fit(items.astype(np.float32).astype(float), pairs, y, c)
    np.testing.assert_allclose(fit(*prepared).coef, expected.coef, atol=1e-8)


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from skarm import BradleyTerryRegressor, Comparisons

def status(field):
    text = Path("/proc/self/status").read_text()
    return int(text.split(field + ":")[1].split()[0]) * 1024

def data(m, d, n):
    rng = np.random.default_rng(0)
    items = rng.standard_normal((m, d), dtype=np.float32)
    first = rng.integers(0, m, n)
    pairs = np.column_stack([first, (first + rng.integers(1, m, n)) % m])
    return Comparisons(items, pairs), rng.integers(0, 2, n).astype(float)

small, large = data(50, 20, 100), data(*map(int, sys.argv[1:]))
model = BradleyTerryRegressor(alpha=100.0)
model.fit(*small)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
model.fit(*large)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("shape", [(12_000, 600, 100_000), (9_000, 1000, 60_000)])
def test_memory_of_a_large_fit_is_what_the_docstring_says(shape):
    _, d, n = shape
    command = [sys.executable, "-c", MEMORY, *map(str, shape)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    stated = 20 * d**2 + 80 * n
    assert stated / 2 < int(out.stdout) < 2 * stated, int(out.stdout) / stated
