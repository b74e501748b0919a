"""BradleyTerryRegressor: theirs against ours, what it promises, what it refuses."""

import csv
import gzip
import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression

from skarm import BradleyTerryRegressor, Comparisons, bradley_terry
from skarm._model import linear
from skarm._model.likelihood import BradleyTerryLoss

SMALL_NETWORK = {
    "hidden_layer_sizes": (16,),
    "learning_rate": 1e-2,
    "device": "cpu",
    "random_state": 0,
}
KINDS = {"linear": {}, "network": SMALL_NETWORK}


def simulate(seed=0, n_items=60, d=6, n_pairs=200, alpha=1.0):
    """Comparisons answered by a linear reward from the prior; and its coefficients."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, d))
    w = rng.standard_normal(d) / np.sqrt(alpha)
    asked = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    p = expit(differences(asked) @ w)
    return asked, (rng.random(n_pairs) < p).astype(float), w


def differences(asked):
    return np.subtract(*(asked.items[asked.pairs[:, k]] for k in (0, 1)))


def fitted_arrays(model):
    return [model.coef_, *model.hidden_coefs_, *model.hidden_intercepts_]


def assert_same_fit(one, two):
    for a, b in zip(fitted_arrays(one), fitted_arrays(two), strict=True):
        np.testing.assert_array_equal(a, b)


# --------------------------------------------------------------- theirs against ours


def as_memmap(items, folder):
    np.save(folder / "items.npy", items)
    return np.load(folder / "items.npy", mmap_mode="r")


CONTAINERS = {
    "float64": lambda items, _: items,
    "float32": lambda items, _: items.astype(np.float32),
    "csr_array": lambda items, _: sparse.csr_array(items),
    "csr_matrix": lambda items, _: sparse.csr_matrix(items),
    "memmap": as_memmap,
    "fortran": lambda items, _: np.asfortranarray(items),
    "DataFrame": lambda items, _: pd.DataFrame(items).add_prefix("feature "),
    "tensor": lambda items, _: torch.as_tensor(items),
}


@pytest.mark.parametrize("d", [6, 100])
@pytest.mark.parametrize("container", CONTAINERS)
def test_linear_fit_is_logistic_regression_on_differences(container, d, tmp_path):
    asked, y, _ = simulate(d=d)
    items = asked.items.astype(np.float32).astype(np.float64)
    theirs = LogisticRegression(
        C=1 / 0.7, fit_intercept=False, solver="newton-cholesky", tol=1e-12
    ).fit(differences(asked.with_items(items)), y)
    held = CONTAINERS[container](items, tmp_path)
    ours = BradleyTerryRegressor(alpha=0.7).fit(Comparisons(held, asked.pairs), y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_[0], rtol=0, atol=1e-6)
    assert type(ours.coef_) is np.ndarray and ours.coef_.dtype == np.float64
    rewards = ours.predict(held)
    assert type(rewards) is np.ndarray
    np.testing.assert_allclose(rewards, items @ theirs.coef_[0], atol=1e-5)
    if container not in ("csr_array", "csr_matrix"):
        array = np.asarray(Comparisons(held, asked.pairs))
        materialised = BradleyTerryRegressor(alpha=0.7).fit(array, y)
        np.testing.assert_allclose(materialised.coef_, ours.coef_, atol=1e-8)


def test_crowd_votes_give_the_published_scores_of_evalica(shared_data):
    with gzip.open(shared_data / "llmfao_comparisons.jsonl.gz", "rt") as file:
        votes = [json.loads(line) for line in file]
    with open(shared_data / "llmfao_golden_scores.csv") as file:
        rows = [row for row in csv.DictReader(file)]
    golden = {
        row["item"]: float(row["score"])
        for row in rows
        if row["algorithm"] == "bradley_terry"
    }
    number = {name: i for i, name in enumerate(golden)}
    pairs = [[number[vote[f"model_{s}"]] for s in ("left", "right")] for vote in votes]
    y = [{"left": 1, "right": 0, "tie": 0.5}[vote["winner"]] for vote in votes]
    model = BradleyTerryRegressor(alpha=1e-8)
    model.fit(Comparisons(np.eye(len(number)), pairs), y)
    strength = np.exp(model.coef_)
    scores = np.array(list(golden.values()))
    np.testing.assert_allclose(strength / strength.sum(), scores, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.01, 1.0, 30.0])
def test_alpha_is_the_precision_of_the_prior_beside_a_sum_of_losses(alpha):
    one = Comparisons([[1.0], [0.0]], [[0, 1]])
    model = BradleyTerryRegressor(alpha=alpha, tol=1e-12).fit(one, [1])
    (w,) = model.coef_
    assert alpha * w == pytest.approx(expit(-w))  # d/dw of log(1 + e⁻ʷ) + alpha/2 w²
    many = BradleyTerryRegressor(alpha=alpha * 50, tol=1e-12).fit(
        one[[0] * 50], [1] * 50
    )
    assert many.coef_[0] == pytest.approx(w)


# -------------------------------------------------------------------------- answers


@pytest.mark.parametrize("kind", KINDS)
def test_unasked_comparisons_and_those_of_no_weight_are_ignored(kind):
    asked, y, _ = simulate()
    items = asked.items.copy()
    items[5] = np.nan  # named below only by comparisons that are left out
    pairs = asked.pairs[(asked.pairs != 5).all(axis=1)]
    y = y[(asked.pairs != 5).all(axis=1)]
    model = BradleyTerryRegressor(**KINDS[kind])
    expected = clone(model).fit(Comparisons(items, pairs), y)
    more = Comparisons(items, np.vstack([[[5, 1], [2, 3], [5, 4]], pairs]))
    y, weights = np.r_[np.nan, np.nan, 1, y], np.r_[1, 1, 0, np.ones(len(y))]
    found = clone(model).fit(more, y, sample_weight=weights)
    assert_same_fit(found, expected)
    assert found.n_comparisons_ == len(pairs)


def test_soft_labels_are_shares_of_hard_ones():
    asked, _, _ = simulate()
    share = np.random.default_rng(1).integers(0, 5, 200) / 4
    soft = BradleyTerryRegressor(alpha=1.0).fit(asked, share, sample_weight=[4] * 200)
    hard = BradleyTerryRegressor(alpha=1.0).fit(
        Comparisons(asked.items, np.repeat(asked.pairs, 4, axis=0)),
        (np.arange(4) < 4 * share[:, None]).astype(float).ravel(),
    )
    np.testing.assert_allclose(soft.coef_, hard.coef_, atol=1e-8)
    np.testing.assert_allclose(soft.information_, hard.information_, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", ["auto", 1.0])
def test_order_of_rows_and_of_pairs_does_not_matter(kind, alpha):
    asked, y, _ = simulate()
    rng = np.random.default_rng(2)
    rows, swap = rng.permutation(200), rng.random(200) < 0.5
    pairs = np.where(swap[:, None], asked.pairs[:, ::-1], asked.pairs)[rows]
    y_two = np.where(swap, 1 - y, y)[rows]
    model = BradleyTerryRegressor(alpha=alpha, **KINDS[kind])
    one = clone(model).fit(asked, y)
    two = clone(model).fit(Comparisons(asked.items, pairs), y_two)
    if kind == "network":
        assert_same_fit(one, two)
    np.testing.assert_allclose(one.coef_, two.coef_, atol=1e-7)
    assert one.alpha_ == pytest.approx(two.alpha_, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_comparison_is_a_weight(kind):
    asked, y, _ = simulate()
    times = np.random.default_rng(3).integers(1, 4, 200)
    model = BradleyTerryRegressor(alpha=1.0, **KINDS[kind])
    weighted = clone(model).fit(asked, y, sample_weight=times)
    repeated = clone(model).fit(
        Comparisons(asked.items, np.repeat(asked.pairs, times, axis=0)),
        np.repeat(y, times),
    )
    if kind == "network":
        assert_same_fit(weighted, repeated)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-8)


HARD_CASES = {
    "one class": lambda items, y: (items, np.ones_like(y)),
    "no signal": lambda items, y: (items, np.full_like(y, 0.5)),
    "constant features": lambda items, y: (np.ones_like(items), y),
    "one constant feature": lambda items, y: (items * [1, 0, 1, 1, 1, 1], y),
    "one feature": lambda items, y: (items[:, :1], y),
    "separable": lambda items, y: (items, None),
    "huge": lambda items, y: (items * 1e8, y),
    "tiny": lambda items, y: (items * 1e-8, y),
    "mixed": lambda items, y: (items * np.logspace(-3, 3, 6), y),
}


@pytest.mark.parametrize("n_pairs", [1, 200])
@pytest.mark.parametrize("case", HARD_CASES)
@pytest.mark.parametrize("alpha", ["auto", 1e-8])
@pytest.mark.filterwarnings("error")
def test_hard_cases_fit_and_predict_finite_numbers_in_silence(case, alpha, n_pairs):
    asked, y, w = simulate()
    items, y = HARD_CASES[case](asked.items, y)
    if y is None:
        y = (differences(asked) @ w > 0).astype(float)
    asked = asked.with_items(items)[:n_pairs]
    model = BradleyTerryRegressor(alpha=alpha).fit(asked, y[:n_pairs])
    p, std = model.predict(asked, return_std=True)
    assert np.isfinite(model.predict(1e4 * items)).all()
    assert np.isfinite(p).all() and ((p >= 0) & (p <= 1)).all()
    assert np.isfinite(std).all() and (std >= 0).all()
    assert np.isfinite(model.alpha_).all() and np.isfinite(model.coef_).all()


@pytest.mark.parametrize("shape", [(60, 6, 200), (30, 100, 200), (200, 100, 40)])
def test_a_large_level_of_the_features_costs_no_accuracy(shape):
    n_items, d, n_pairs = shape
    asked, y, _ = simulate(0, n_items, d, n_pairs)
    one = BradleyTerryRegressor().fit(asked, y)
    two = BradleyTerryRegressor().fit(asked.with_items(asked.items + 1e7), y)
    np.testing.assert_allclose(two.coef_, one.coef_, atol=1e-6)
    np.testing.assert_allclose(two.information_, one.information_, atol=1e-6)
    assert two.alpha_ == pytest.approx(one.alpha_, rel=1e-6)


def test_warm_start_needs_fewer_iterations_and_finds_the_same():
    asked, y, _ = simulate()
    model = BradleyTerryRegressor(alpha=1.0, warm_start=True).fit(asked, y)
    cold, coef = model.n_iter_, model.coef_
    model.fit(asked, y)
    assert model.n_iter_ == 0 < cold
    model.fit(asked[:150], y[:150]).fit(asked, y)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-6)
    model.fit(Comparisons(asked.items[:, :2], asked.pairs), y)  # starts afresh
    assert model.coef_.shape == (2,)


# -------------------------------------------------------------------------- predict


@pytest.mark.parametrize("kind", KINDS)
def test_predict_gives_rewards_of_items_and_probabilities_of_comparisons(kind):
    asked, y, _ = simulate()
    model = BradleyTerryRegressor(**KINDS[kind]).fit(asked, y)
    rewards, p = model.predict(asked.items), model.predict(asked)
    gap = rewards[asked.pairs[:, 0]] - rewards[asked.pairs[:, 1]]
    np.testing.assert_allclose(p, expit(gap), atol=1e-12)
    reversed_pairs = Comparisons(asked.items, asked.pairs[:, ::-1])
    np.testing.assert_allclose(p + model.predict(reversed_pairs), 1, atol=1e-12)
    np.testing.assert_allclose(model.predict(np.asarray(asked)), p, atol=1e-12)
    pool = Comparisons.all_pairs(asked.items)
    gap = rewards[:, None] - rewards
    expected = expit(gap[np.triu_indices(60, 1)])
    np.testing.assert_allclose(model.predict(pool), expected, atol=1e-12)
    np.testing.assert_allclose(model.predict(pool[7:11]), expected[7:11], atol=1e-12)
    embedding = model.embed(asked.items)
    assert embedding.dtype == np.float64 and embedding.shape == (60, len(model.coef_))
    np.testing.assert_allclose(embedding @ model.coef_, rewards, atol=1e-12)


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array])
def test_the_embedding_of_the_linear_model_is_the_items(layout):
    asked, y, _ = simulate()
    items = layout(asked.items)
    model = BradleyTerryRegressor().fit(asked.with_items(items), y)
    assert type(model.embed(items)) is np.ndarray
    np.testing.assert_array_equal(model.embed(items), asked.items)


@pytest.mark.parametrize("kind", KINDS)
def test_std_is_that_of_the_laplace_posterior(kind):
    asked, y, _ = simulate()
    model = BradleyTerryRegressor(**KINDS[kind]).fit(asked, y)
    phi = model.embed(asked.items)
    covariance = np.linalg.inv(model.information_ + model.alpha_ * np.eye(phi.shape[1]))
    rewards, std = model.predict(asked.items, return_std=True)
    np.testing.assert_array_equal(rewards, model.predict(asked.items))
    expected = np.sqrt(np.einsum("ij,jk,ik->i", phi, covariance, phi))
    np.testing.assert_allclose(std, expected, rtol=1e-6)
    p, std = model.predict(asked, return_std=True)
    x = phi[asked.pairs[:, 0]] - phi[asked.pairs[:, 1]]
    expected = np.sqrt(np.einsum("ij,jk,ik->i", x, covariance, x))
    np.testing.assert_allclose(std, expected, rtol=1e-6)
    np.testing.assert_array_equal(p, model.predict(asked))


def test_std_is_calibrated_where_the_prior_is_true():
    z = []
    for seed in range(100):
        asked, y, w = simulate(seed, n_items=40, d=5, n_pairs=80)
        model = BradleyTerryRegressor(alpha=1.0).fit(asked, y)
        new = np.random.default_rng(seed + 1000).standard_normal((40, 2, 5))
        gap = new[:, 0] @ model.coef_ - new[:, 1] @ model.coef_
        _, std = model.predict(new, return_std=True)
        z.append(((new[:, 0] - new[:, 1]) @ w - gap) / std)
    assert 0.8 < np.var(z) < 1.2
    assert abs(np.mean(z)) < 0.1


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_information_is_the_hessian_without_the_prior(labels):
    asked, y, _ = simulate()
    rng = np.random.default_rng(4)
    y = y if labels == "hard" else rng.random(200)
    weights = rng.random(200)
    model = BradleyTerryRegressor(alpha=3.0).fit(asked, y, sample_weight=weights)
    loss = BradleyTerryLoss(asked.items, asked.pairs, y, weights)
    step = 1e-5 * np.eye(6)
    hessian = [
        (loss.gradient(model.coef_ + h, 3.0) - loss.gradient(model.coef_ - h, 3.0))
        / 2e-5
        for h in step
    ]
    np.testing.assert_allclose(model.information_, hessian - 3.0 * np.eye(6), atol=1e-5)
    np.testing.assert_array_equal(model.posterior().coef, model.coef_)


def test_information_of_few_comparisons_is_made_when_first_read():
    rng = np.random.default_rng(0)
    items, y = rng.standard_normal((40, 30)), rng.integers(0, 2, 20)
    asked = Comparisons(items, rng.permutation(40).reshape(20, 2))
    assert not hasattr(BradleyTerryRegressor(), "information_")
    model = BradleyTerryRegressor(alpha=2.0).fit(asked, y)
    assert "information_" not in vars(model)
    p, x = model.predict(asked), asked.differences()
    np.testing.assert_allclose(model.information_, (x.T * p * (1 - p)) @ x, atol=1e-9)
    assert model.information_ is model.information_
    first = pickle.loads(pickle.dumps(model)).information_
    np.testing.assert_array_equal(first, model.information_)
    model.fit(asked[:10], y[:10])
    assert np.abs(model.information_ - first).max() > 0.1


def test_too_many_features_keep_no_information_and_say_so(monkeypatch):
    for module in (bradley_terry, linear):
        monkeypatch.setattr(module, "MAX_DENSE", 5)
    asked, y, _ = simulate()
    model = BradleyTerryRegressor(alpha=1.0).fit(asked, y)
    assert model.information_ is None
    assert model.predict(asked).shape == (200,)
    for call in (model.posterior, lambda: model.predict(asked, return_std=True)):
        with pytest.raises(ValueError, match=r"at most 5 features.* Got 6. Reduce"):
            call()


@pytest.mark.parametrize("kind", KINDS)
def test_score_is_the_accuracy_on_decided_answers(kind):
    asked, y, _ = simulate()
    model = BradleyTerryRegressor(**KINDS[kind]).fit(asked, y)
    right = (model.predict(asked) > 0.5) == (y == 1)
    assert model.score(asked, y) == pytest.approx(right.mean())
    undecided = np.r_[[np.nan] * 20, [0.5] * 30, y[50:]]
    assert model.score(asked, undecided) == pytest.approx(right[50:].mean())
    weights = np.random.default_rng(5).random(200)
    expected = np.average(right, weights=weights)
    assert model.score(asked, y, sample_weight=weights) == pytest.approx(expected)


# -------------------------------------------------------------------------- ratings


def ratings(seed=0):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((40, 3))
    groups = rng.permutation(np.repeat(list("abcdefgh"), 5))
    return items, rng.integers(0, 4, 40).astype(float), groups, rng.random(40)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_ratings_are_the_comparisons_they_imply(grouped, weighted):
    items, rating, groups, weights = ratings()
    groups = groups if grouped else None
    weights = weights if weighted else None
    found = BradleyTerryRegressor(alpha=1.0).fit(items, rating, weights, groups)
    pairs = [
        [i, j]
        for i in range(40)
        for j in range(40)
        if rating[i] > rating[j] and (groups is None or groups[i] == groups[j])
    ]
    c = None if weights is None else weights[pairs].prod(axis=1)
    expected = BradleyTerryRegressor(alpha=1.0)
    expected.fit(Comparisons(items, pairs), np.ones(len(pairs)), c)
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-8)
    assert found.n_comparisons_ == len(pairs)


def test_score_of_ratings_is_the_share_of_pairs_in_order():
    items, rating, _, weights = ratings()
    model = BradleyTerryRegressor().fit(items, rating)
    rewards = model.predict(items)
    i, j = np.triu_indices(40, 1)
    i, j = i[rating[i] != rating[j]], j[rating[i] != rating[j]]
    right = (rating[i] > rating[j]) == (rewards[i] > rewards[j])
    assert model.score(items, rating) == pytest.approx(right.mean())
    expected = np.average(right, weights=weights[i] * weights[j])
    assert model.score(items, rating, weights) == pytest.approx(expected)
    unrated = np.where(np.arange(40) < 30, rating, np.nan)
    assert model.score(items, unrated) == model.score(items[:30], rating[:30])


def test_too_many_implied_comparisons_are_refused(monkeypatch):
    monkeypatch.setattr("skarm._data.checks.MAX_IMPLIED_PAIRS", 700)
    items, rating, groups, _ = ratings()
    with pytest.raises(ValueError, match=r"40 items imply up to 780 .* Pass groups"):
        BradleyTerryRegressor().fit(items, rating)
    BradleyTerryRegressor().fit(items, rating, groups=groups)


# -------------------------------------------------------------------------- refusals

PAIR = Comparisons([[1.0, 2.0], [3.0, 5.0]], [[0, 1]])
NAN_ITEM = Comparisons([[1.0, np.nan], [3.0, 5.0]], [[0, 1]])
INF_ITEM = Comparisons([[1.0, np.inf], [3.0, 5.0]], [[0, 1]])
TEXTS = Comparisons(["Yes.", "No."], [[0, 1]])


@pytest.mark.parametrize(
    ("X", "y", "params", "message"),
    [
        (
            PAIR[[0, 0]],
            [-1, 1],
            {},
            r"y\[0\] is -1. For outcomes -1 and 1 .*\(y \+ 1\) / 2",
        ),
        (
            PAIR[[0, 0]],
            [1, 1.5],
            {},
            r"y must lie in \[0, 1\].* y\[1\] is 1.5. Pass the share",
        ),
        (PAIR[[0, 0]], [0.3, -0.1], {}, r"y\[1\] is -0.1. Pass the share"),
        (PAIR, [np.nan], {}, r"at least one outcome. Got 1 comparisons, all NaN"),
        (PAIR[:0], [], {}, r"at least one outcome. Got 0 comparisons"),
        (PAIR, [1], {"sample_weight": [0.0]}, r"at least one "),
        (PAIR, ["left"], {}, r"y must hold numbers.* Got others \(could not convert"),
        (PAIR, [1, 0], {}, r"one outcome per comparison.* shape \(2,\) for 1 comp"),
        (PAIR, [[1]], {}, r"one outcome per comparison.* shape \(1, 1\)"),
        (PAIR, None, {}, r"requires y to be passed, but the target y is None"),
        (
            PAIR,
            [1],
            {"groups": ["a", "b"]},
            r"one group per comparison. Got shape \(2,\)",
        ),
        (PAIR, [1], {"sample_weight": [-1.0]}, r"[Nn]egative"),
        (PAIR, [1], {"sample_weight": [1.0, 1.0]}, r"sample_weight.shape"),
        (NAN_ITEM, [1], {}, r"Input X contains NaN \(1 of"),
        (INF_ITEM, [1], {}, r"BradleyTerryRegressor needs finite numbers.* infinity"),
        (TEXTS, [1], {}, r"needs numbers.* such as 'Yes.'. .*make_reward_pipeline"),
        (["Yes.", "No."], [1, 2], {}, r"needs numbers.*make_reward_pipeline"),
        (np.ones((3, 3, 2)), [1, 0, 1], {}, r"\(n_pairs, 2, n_features\). Got shape"),
        (PAIR.items, [1, 1], {}, r"two different ratings.* n_samples=2"),
        (PAIR.items, [1, 2], {"groups": ["a"]}, r"one group per item. Got 1 for 2"),
        (PAIR.items, [1, 2], {"groups": ["a", "b"]}, r"within a group.* Got none"),
    ],
)
def test_fit_refuses_what_it_cannot_mean(X, y, params, message):
    with pytest.raises(ValueError, match=message):
        BradleyTerryRegressor(alpha=1.0).fit(X, y, **params)


@pytest.mark.parametrize("sizes", [(0,), (8, -1), (2.5,), 8, "8"])
def test_hidden_layer_sizes_are_positive_integers(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        BradleyTerryRegressor(hidden_layer_sizes=sizes).fit(PAIR, [1])


@pytest.mark.parametrize(
    "params",
    [{"alpha": 0.0}, {"alpha": "best"}, {"activation": "swish"}, {"max_iter": 0}],
)
def test_parameters_out_of_range_are_refused_by_name(params):
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
        BradleyTerryRegressor(**params).fit(PAIR, [1])


def test_predict_refuses_what_it_was_not_fitted_for():
    model = BradleyTerryRegressor(alpha=1.0)
    for call in (model.predict, model.embed):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            call(PAIR.items)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        model.posterior()
    model.fit(PAIR, [1])
    for X in (np.ones((2, 3)), np.ones((4, 2, 3)), Comparisons(np.eye(3), [[0, 1]])):
        with pytest.raises(ValueError, match=r"has 3 features.* expecting 2 features"):
            model.predict(X)
    for X in (NAN_ITEM, NAN_ITEM.items):
        with pytest.raises(ValueError, match=r"needs finite numbers.* NaN"):
            model.predict(X)
    with pytest.raises(ValueError, match="make_reward_pipeline"):
        model.predict(["Yes."])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(PAIR.items, [1.0, 2.0, 3.0])


def test_names_of_features_are_kept_and_checked():
    items = pd.DataFrame({"length": [1.0, 2.0], "rhyme": [3.0, 5.0]})
    model = BradleyTerryRegressor(alpha=1.0).fit(Comparisons(items, [[0, 1]]), [1])
    assert list(model.feature_names_in_) == ["length", "rhyme"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(items.rename(columns={"rhyme": "reason"}))


@pytest.mark.parametrize("params", [{"max_iter": 1}, {"max_iter": 2, **SMALL_NETWORK}])
def test_stopping_early_warns_of_max_iter(params):
    asked, y, _ = simulate()
    with pytest.warns(ConvergenceWarning, match=r"stopped at max_iter=\d .* Raise"):
        BradleyTerryRegressor(alpha=1e-3, **params).fit(asked, y)
