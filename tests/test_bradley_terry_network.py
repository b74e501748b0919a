"""BradleyTerryRegressor with hidden layers: what it learns, and from what alone."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skarm import BradleyTerryRegressor, Comparisons, bradley_terry
from skarm._model.likelihood import BradleyTerryLoss
from skarm._model.linear import MAX_TURNED, is_alone

SMALL_NETWORK = {
    "hidden_layer_sizes": (16,),
    "learning_rate": 1e-2,
    "device": "cpu",
    "random_state": 0,
}


def curved(seed=0, n_pairs=1000, dtype=np.float64):
    """Comparisons answered by a reward that no linear model can represent."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((300, 4)).astype(dtype)
    reward = 2 * np.abs(items[:, 0]) + np.sin(2 * items[:, 1])
    asked = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    p = expit(3 * (reward[asked.pairs[:, 0]] - reward[asked.pairs[:, 1]]))
    return asked, (rng.random(n_pairs) < p).astype(float)


def fitted_arrays(model):
    return [model.coef_, *model.hidden_coefs_, *model.hidden_intercepts_]


def assert_same_fit(one, two):
    for a, b in zip(fitted_arrays(one), fitted_arrays(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_network_learns_what_a_linear_reward_cannot():
    asked, y = curved()
    test, y_test = curved(seed=1)
    linear = BradleyTerryRegressor().fit(asked, y).score(test, y_test)
    for params in ({}, {"batch_size": 64}, {"activation": "tanh"}):
        network = BradleyTerryRegressor(**SMALL_NETWORK | params).fit(asked, y)
        assert network.score(test, y_test) > linear + 0.15


@pytest.mark.parametrize("alpha", ["auto", 0.3])
def test_the_last_layer_is_at_the_minimum_of_the_penalised_loss(alpha):
    asked, y = curved()
    model = BradleyTerryRegressor(alpha=alpha, **SMALL_NETWORK).fit(asked, y)
    phi = model.embed(asked.items)
    loss = BradleyTerryLoss(phi, asked.pairs, y, np.ones(len(y)))
    gradient = loss.gradient(model.coef_, model.alpha_)
    start = loss.gradient(0 * model.coef_, 0.0)
    assert np.abs(gradient).max() < 1e-6 * np.abs(start).max()
    expected = loss.information(model.coef_)
    np.testing.assert_allclose(model.information_, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_computes_in_the_precision_of_the_items(dtype):
    asked, y = curved(dtype=dtype)
    model = BradleyTerryRegressor(**SMALL_NETWORK, max_iter=30)
    with pytest.warns(ConvergenceWarning):
        model.fit(asked, y)
    for array in (*model.hidden_coefs_, *model.hidden_intercepts_):
        assert type(array) is np.ndarray and array.dtype == dtype
    assert type(model.coef_) is np.ndarray and model.coef_.dtype == np.float64
    assert [a.shape for a in model.hidden_coefs_] == [(16, 4)]
    assert [a.shape for a in model.hidden_intercepts_] == [(16,)]
    assert len(model.validation_loss_) == model.n_iter_ == 30
    assert model.information_.shape == (16, 16)


def test_the_random_state_decides_a_network_and_nothing_else_does():
    asked, y = curved()
    numpy_rng = check_random_state(None)
    before, numpy_before = torch.get_rng_state(), numpy_rng.get_state()[1].copy()
    one = BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, y)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(numpy_rng.get_state()[1], numpy_before)
    torch.rand(3)
    assert_same_fit(one, clone(one).fit(asked, y))
    other = clone(one).set_params(random_state=1).fit(asked, y)
    assert (other.coef_ != one.coef_).any()


@pytest.mark.parametrize("where", ["comparisons", "fit"])
@pytest.mark.parametrize("scope", ["within", "across"])
def test_groups_are_held_out_whole(where, scope, monkeypatch):
    asked, _ = curved()
    prompts = np.arange(300) // 6
    asked = Comparisons.random_pairs(
        asked.items, 600, groups=prompts, scope=scope, random_state=0
    )
    seen = {}

    def spy(pairs, item_groups, *args):
        mask = held_out(pairs, item_groups, *args)
        seen.update(groups=item_groups[pairs], mask=mask)
        return mask

    held_out = bradley_terry.held_out
    monkeypatch.setattr(bradley_terry, "held_out", spy)
    groups = None
    if where == "fit":
        groups = prompts[asked.pairs[:, 0]]
        asked = Comparisons(asked.items, asked.pairs)
    y = np.random.default_rng(0).integers(0, 2, 600)
    BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, y, groups=groups)
    training = np.unique(seen["groups"][~seen["mask"]])
    assert 0 < seen["mask"].sum() < 300
    assert (~np.isin(seen["groups"][seen["mask"]], training)).any(axis=1).all()


@pytest.mark.parametrize(
    ("pays", "is_wide"), [(True, False), (False, False), (False, True)]
)
def test_held_out_answers_judge_heads_that_have_not_seen_them(
    pays, is_wide, monkeypatch
):
    asked, y = curved(n_pairs=300)
    if is_wide:
        wide = np.random.default_rng(0).standard_normal((asked.n_items, MAX_TURNED + 1))
        asked = Comparisons(wide, asked.pairs)
    seen = {}

    def spy_held_out(*args):
        seen["mask"] = held_out(*args)
        return seen["mask"]

    def spy_pays(linear_logits, network_logits, y, weights):
        seen.update(linear=linear_logits, network=network_logits)
        return pays

    def spy_canonical(*args):
        seen["data"] = canonical_comparisons(*args)
        return seen["data"]

    held_out, canonical_comparisons = (
        bradley_terry.held_out,
        bradley_terry.canonical_comparisons,
    )
    monkeypatch.setattr(bradley_terry, "held_out", spy_held_out)
    monkeypatch.setattr(bradley_terry, "network_pays", spy_pays)
    monkeypatch.setattr(bradley_terry, "canonical_comparisons", spy_canonical)
    model = BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, y)
    assert bool(model.hidden_coefs_) == pays
    items, pairs, y, weights, _ = seen["data"]
    mask = seen["mask"]
    embedding = model.embed(items)
    if pays:
        part, found, head = embedding, seen["network"], {"prior": "normal"}
    else:  # of wide items at the alpha of all answers
        part, found = items, seen["linear"]
        head = {"prior": "normal", "alpha": model.alpha_} if is_wide else {}
    rest = BradleyTerryRegressor(**head).fit(
        *(Comparisons(part, pairs[~mask]), y[~mask], weights[~mask])
    )
    expected = np.subtract(*rest.predict(part)[pairs[mask].T])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_network_that_does_not_pay_is_the_linear_model(monkeypatch):
    monkeypatch.setattr(bradley_terry, "network_pays", lambda *_: False)
    rng = np.random.default_rng(0)
    items, groups = rng.standard_normal((400, 6)), np.repeat(np.arange(50), 8)
    items[:, :3] *= [5.0, 3.0, 2.0]
    asked = Comparisons.random_pairs(
        items, n_pairs=150, groups=groups, scope="within", random_state=0
    )
    y = (rng.logistic(size=150) < asked.differences() @ items.std(axis=0)) * 1.0
    network = BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, y)
    linear = BradleyTerryRegressor().fit(asked, y)
    assert np.shape(linear.alpha_) == (6, 6)  # and the groups inform its prior
    np.testing.assert_allclose(network.alpha_, linear.alpha_, rtol=1e-3)
    np.testing.assert_allclose(network.coef_, linear.coef_, rtol=1e-3, atol=1e-5)


def test_threads_change_no_fit():
    rng = np.random.default_rng(0)
    items, pairs = rng.standard_normal((600, 400)), np.arange(600).reshape(-1, 2)
    assert is_alone(items, pairs)
    asked = Comparisons(items, pairs)
    y = rng.integers(0, 2, 300)
    before, fits = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            fits.append(BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, y))
    finally:
        torch.set_num_threads(before)
    assert not fits[0].hidden_coefs_  # the linear head, solved in another thread
    assert_same_fit(*fits)
    np.testing.assert_allclose(*(fit.validation_loss_ for fit in fits), rtol=1e-6)


def test_warm_start_goes_on_training_the_layers():
    asked, y = curved()
    model = BradleyTerryRegressor(**SMALL_NETWORK, warm_start=True).fit(asked, y)
    first, best = model.validation_loss_[0], min(model.validation_loss_)
    model.fit(asked, y)
    assert model.validation_loss_[0] < best + 0.05 < first
    model.set_params(hidden_layer_sizes=(5,)).fit(asked, y)  # starts afresh
    assert model.coef_.shape == (5,)


def test_without_validation_every_epoch_is_run():
    asked, y = curved()
    model = BradleyTerryRegressor(**SMALL_NETWORK, validation_fraction=0, max_iter=5)
    model.fit(asked, y)
    assert model.n_iter_ == 5 and model.validation_loss_ == []
    assert len(model.hidden_coefs_) == 1  # nothing speaks against it


def test_a_network_takes_sparse_items():
    asked, y = curved()
    dense = BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, y)
    thin = asked.with_items(sparse.csr_array(asked.items))
    assert_same_fit(clone(dense).fit(thin, y), dense)
    np.testing.assert_allclose(dense.predict(thin), dense.predict(asked), atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, np.float32, sparse.csr_array, list])
@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh"])
def test_a_network_refuses_new_items_that_are_not_finite(bad, kind, activation):
    asked, y = curved(n_pairs=300)
    params = {**SMALL_NETWORK, "validation_fraction": 0, "max_iter": 5}
    model = BradleyTerryRegressor(activation=activation, **params)
    model.fit(asked, y)
    items = asked.items.copy()
    items[7, 2] = bad
    for method in (model.predict, model.embed):
        assert np.isfinite(method(kind(asked.items))).all()
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            method(kind(items))


def test_a_network_cannot_learn_from_equal_items():
    asked = Comparisons(np.ones((3, 2)), [[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="must differ in their features"):
        BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, [0, 1])


@pytest.mark.parametrize("params", [{}, SMALL_NETWORK])
def test_a_pickle_predicts_the_same(params):
    asked, y = curved()
    model = BradleyTerryRegressor(**params).fit(asked, y)
    back = pickle.loads(pickle.dumps(model))
    for X in (asked, asked.items):
        for a, b in zip(
            model.predict(X, return_std=True),
            back.predict(X, return_std=True),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def test_a_model_of_a_greater_machine_predicts_on_the_cpu():
    asked, y = curved()
    model = BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, y)
    expected = model.predict(asked.items)
    back = pickle.loads(pickle.dumps(model.set_params(device="cuda:63")))
    np.testing.assert_array_equal(back.predict(asked.items), expected)
    with pytest.raises(ValueError, match=r"device must be .* Got 'cuda:63'"):
        back.fit(asked, y)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_network_on_cuda_learns_what_it_learns_on_the_cpu(device):
    asked, y = curved()
    test, y_test = curved(seed=1)
    cpu = BradleyTerryRegressor(**SMALL_NETWORK).fit(asked, y)
    cuda = clone(cpu).set_params(device=device).fit(asked, y)
    assert cuda.score(test, y_test) == pytest.approx(cpu.score(test, y_test), abs=0.03)
    cpu.set_params(device=device)
    expected = clone(cpu).set_params(device="cpu").fit(asked, y).predict(test)
    np.testing.assert_allclose(cpu.predict(test), expected, atol=1e-8)
    assert all(type(a) is np.ndarray for a in fitted_arrays(cuda))
