"""Reward networks as plain lists of arrays: an embedding, then one linear layer.

A network is its hidden layers ``[(W, b), ...]``, W of shape (n_out, n_in); the last,
bias-free layer is a coefficient vector kept apart, because the design works on it. No
hidden layer is the linear model: the embedding is the items themselves.
"""

from itertools import pairwise

import numpy as np
import torch

__all__ = [
    "ACTIVATIONS",
    "SLOPES",
    "embed",
    "embed_arrays",
    "init_layers",
    "resolve_device",
    "to_torch",
]

ACTIVATIONS = {
    "gelu": torch.nn.functional.gelu,
    "relu": torch.nn.functional.relu,
    "tanh": torch.tanh,
}
#: Items in one forward pass.
N_AT_ONCE = 16_384
#: Multiplications from which a product on a CPU is done as a convolution.
LARGE = 10_000_000
#: The gradient of a loss before an activation, from that after it, input and output.
SLOPES = {
    "gelu": lambda back, x, out: torch.ops.aten.gelu_backward(back, x),
    "relu": lambda back, x, out: back * (out > 0),
    "tanh": lambda back, x, out: back * (1 - out * out),
}


def resolve_device(device):
    """The torch device meant by "auto", or by a name.

    Parameters
    ----------
    device : str
        "auto" is CUDA where there is one, else the CPU (never MPS: no float64).

    Returns
    -------
    device : torch.device
        Ready to use.

    Raises
    ------
    ValueError
        If the named device is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device must be 'auto' or a device torch has here. Got {device!r}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return resolved


def to_torch(array, device, dtype=None):
    """An array as a tensor; read-only and memory-mapped arrays are copied."""
    array = np.ascontiguousarray(array)
    array = array if array.flags.writeable else array.copy()
    return torch.as_tensor(array, dtype=dtype).to(device)


def init_layers(sizes, generator, dtype):
    """Hidden layers drawn as torch draws them: uniform in ±1/√n_in.

    Parameters
    ----------
    sizes : sequence of int
        n_features, then the width of each hidden layer.
    generator : torch.Generator
        On the CPU, so that every device starts from the same numbers.
    dtype : torch.dtype
        Of the weights.

    Returns
    -------
    layers : list of (Tensor, Tensor)
        Weights and biases.
    """
    layers = []
    for n_in, n_out in pairwise(sizes):
        bound = n_in**-0.5
        draw = torch.rand((n_out, n_in + 1), generator=generator, dtype=torch.float64)
        draw = ((2 * draw - 1) * bound).to(dtype)
        layers.append((draw[:, :-1].clone(), draw[:, -1].clone()))
    return layers


def embed(items, layers, activation):
    """Last-layer features of the items.

    Parameters
    ----------
    items : Tensor of shape (n_items, n_features)
        Each item once.
    layers : list of (Tensor, Tensor)
        Hidden layers.
    activation : str
        A key of `ACTIVATIONS`.

    Returns
    -------
    embedding : Tensor of shape (n_items, n_embedding)
        The items themselves where there is no hidden layer.
    """
    for weight, bias in layers:
        items = ACTIVATIONS[activation](_linear(items, weight, bias))
    return items


def _linear(items, weight, bias):
    """The sums items @ weightᵀ + bias.

    On a CPU as a convolution of single pixels, where that is large: the same product,
    but by oneDNN, in three quarters of the time of a linear layer's on two threads.
    """
    is_large = len(items) * weight.numel() >= LARGE and items.dtype == torch.float32
    if torch.is_grad_enabled() or not is_large or not _has_onednn(items.device):
        return torch.nn.functional.linear(items, weight, bias)
    pixels = items[None, None].permute(0, 3, 1, 2)
    pixels = torch.nn.functional.conv2d(pixels, weight[:, :, None, None], bias)
    return pixels.permute(0, 2, 3, 1).reshape(len(items), -1)


def _has_onednn(device):
    return device.type == "cpu" and torch.backends.mkldnn.is_available()


def embed_arrays(items, weights, biases, activation, device):
    """Last-layer features of items by a network kept as arrays.

    Parameters
    ----------
    items : ndarray of shape (n_items, n_features)
        Each item once.
    weights, biases : list of ndarray
        Of the hidden layers; their dtype is that of the computation.
    activation : str
        A key of `ACTIVATIONS`.
    device : str
        Where to compute; the CPU where a pickle traveled to a lesser machine.

    Returns
    -------
    embedding : ndarray of shape (n_items, n_embedding), float64
        On the CPU; NaN for items that are not finite.
    """
    try:
        device = resolve_device(device)
    except ValueError:
        device = torch.device("cpu")
    layers = [
        (to_torch(weight, device), to_torch(bias, device))
        for weight, bias in zip(weights, biases, strict=True)
    ]
    with torch.no_grad():
        x = to_torch(np.asarray(items, dtype=weights[0].dtype), device)
        embedding = x.new_empty((len(x), len(biases[-1])), dtype=torch.float64)
        for part, out in zip(
            x.split(N_AT_ONCE), embedding.split(N_AT_ONCE), strict=True
        ):
            out.copy_(_embed_or_nan(part, layers, activation))
        return embedding.cpu().numpy()


def _embed_or_nan(items, layers, activation):
    """Their embedding; NaN for items that are not finite."""
    sums = _linear(items, *layers[0])
    embedding = embed(ACTIVATIONS[activation](sums), layers[1:], activation)
    # Of items that are not finite no sum is, but relu and tanh may hide that. To look
    # at the items themselves would take a fifth of the time.
    if not sums.sum().isfinite():
        embedding[~sums.sum(dim=1).isfinite()] = torch.nan
    return embedding
