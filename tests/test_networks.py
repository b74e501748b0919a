"""Reward networks against the formulas written in NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import erf

from skarm._model import networks
from skarm._model.networks import (
    ACTIVATIONS,
    embed,
    embed_arrays,
    init_layers,
    resolve_device,
    to_torch,
)

FORMULAS = {
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
}
CPU = torch.device("cpu")


def layers_of(sizes, seed=0, dtype=torch.float64):
    return init_layers(sizes, torch.Generator().manual_seed(seed), dtype)


def arrays_of(sizes, dtype):
    """The same layers as lists of arrays, weights and biases."""
    layers = layers_of(sizes, dtype=getattr(torch, np.dtype(dtype).name))
    return [[layer[k].numpy() for layer in layers] for k in (0, 1)]


def items_of(n, d, dtype=torch.float64):
    return torch.randn((n, d), generator=torch.Generator().manual_seed(1), dtype=dtype)


def test_every_activation_has_its_formula_here():
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", FORMULAS)
@pytest.mark.parametrize("sizes", [(5, 3), (5, 7, 4), (1, 6, 6, 6)])
def test_embed_is_the_activation_of_each_affine_map_in_turn(activation, sizes):
    layers, items = layers_of(sizes), items_of(9, sizes[0])
    expected = items.numpy()
    for weight, bias in layers:
        expected = FORMULAS[activation](expected @ weight.numpy().T + bias.numpy())
    found = embed(items, layers, activation)
    assert found.shape == (9, sizes[-1])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_without_hidden_layers_the_embedding_is_the_items():
    items = items_of(4, 3)
    assert embed(items, [], "gelu") is items


@pytest.mark.parametrize("n", [0, 1, 4, 5, 11])
def test_chunks_do_not_change_the_embedding(n, monkeypatch):
    items = items_of(n, 3).numpy()
    weights, biases = arrays_of((3, 4), np.float64)
    whole = embed_arrays(items, weights, biases, "gelu", "cpu")
    monkeypatch.setattr(networks, "N_AT_ONCE", 5)
    parts = embed_arrays(items, weights, biases, "gelu", "cpu")
    np.testing.assert_allclose(parts, whole, atol=1e-12)


@pytest.mark.parametrize(("n", "sizes"), [(60, (7, 5, 3)), (1, (4, 1)), (40, (1, 3))])
def test_a_large_layer_as_a_convolution_is_the_same_layer(n, sizes, monkeypatch):
    items = items_of(n, sizes[0], torch.float32)
    weights, biases = arrays_of(sizes, np.float32)
    expected = embed_arrays(items.numpy(), weights, biases, "gelu", "cpu")
    monkeypatch.setattr(networks, "LARGE", 0)
    for given in (items, items.T.contiguous().T, torch.cat([items, items], dim=1)):
        given = given[:, : sizes[0]].numpy()
        found = embed_arrays(given, weights, biases, "gelu", "cpu")
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("activation", FORMULAS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("large", [0, 1e9])
def test_items_that_are_not_finite_are_nan_and_spoil_no_other(
    activation, bad, large, monkeypatch
):
    monkeypatch.setattr(networks, "LARGE", large)
    items = items_of(9, 5, torch.float32).numpy()
    weights, biases = arrays_of((5, 1, 2), np.float32)
    expected = embed_arrays(items, weights, biases, activation, "cpu")
    items[4, 2] = bad
    found = embed_arrays(items, weights, biases, activation, "cpu")
    assert np.isnan(found[4]).all()
    others = np.arange(9) != 4
    np.testing.assert_allclose(found[others], expected[others], atol=1e-6)


def test_embed_carries_gradients_to_every_layer():
    layers = [[t.requires_grad_() for t in pair] for pair in layers_of((3, 4, 2))]
    embed(items_of(50, 3), layers, "tanh").sum().backward()
    assert all(t.grad.abs().sum() > 0 for pair in layers for t in pair)


def test_initial_weights_are_uniform_in_one_over_the_root_of_n_in():
    (weight, bias), (second, _) = layers_of((100, 200, 50))
    assert (weight.shape, bias.shape, second.shape) == ((200, 100), (200,), (50, 200))
    for tensor, bound in [(weight, 0.1), (bias, 0.1), (second, 200**-0.5)]:
        assert tensor.abs().max() <= bound
        assert tensor.std() == pytest.approx(bound / np.sqrt(3), rel=0.15)
        assert abs(tensor.mean()) < 0.2 * bound


def test_initial_weights_are_the_same_numbers_in_every_precision():
    for single, double in zip(
        layers_of((5, 4, 3), dtype=torch.float32), layers_of((5, 4, 3)), strict=True
    ):
        for a, b in zip(single, double, strict=True):
            assert a.dtype == torch.float32
            assert torch.equal(a, b.float())


def test_initial_weights_depend_on_their_generator_only():
    before = torch.get_rng_state()
    one = layers_of((5, 4), seed=3)[0][0]
    torch.rand(7)
    torch.set_rng_state(before)
    assert torch.equal(one, layers_of((5, 4), seed=3)[0][0])
    assert not torch.equal(one, layers_of((5, 4), seed=4)[0][0])
    assert torch.equal(torch.get_rng_state(), before)


def test_auto_is_cuda_where_there_is_one_and_never_mps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")


def test_a_named_device_is_taken_as_it_is():
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused_by_name(device):
    with pytest.raises(ValueError, match=rf"device must be 'auto' or.* Got '{device}'"):
        resolve_device(device)


def test_arrays_that_torch_must_not_write_to_are_copied(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "items.npy", array)
    frozen = array.copy()
    frozen.flags.writeable = False
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
    for given in (frozen, mapped, array[:, ::-1], array.T):
        tensor = to_torch(given, CPU)
        np.testing.assert_array_equal(tensor.numpy(), given)
        tensor += 1
    np.testing.assert_array_equal(array, np.arange(6.0).reshape(2, 3))
    assert to_torch(array, CPU).data_ptr() == array.ctypes.data  # else shared


def test_to_torch_converts_the_dtype_it_is_asked_for():
    assert to_torch(np.ones(2), CPU).dtype == torch.float64
    assert to_torch(np.ones(2), CPU, torch.float32).dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("activation", FORMULAS)
def test_cuda_embeds_as_the_cpu_does(activation):
    items, layers = items_of(1000, 16), layers_of((16, 64, 64))
    there = [(weight.cuda(), bias.cuda()) for weight, bias in layers]
    torch.testing.assert_close(
        embed(items.cuda(), there, activation).cpu(), embed(items, layers, activation)
    )
