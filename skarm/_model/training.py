"""Train the hidden layers of a reward network on comparisons.

Adam on the Bradley–Terry negative log-likelihood in its stable logit form, over unique
items: a step runs each item forward once, however many comparisons name it. Training
stops when the likelihood of held-out comparisons stops improving, and the best layers
seen are kept: an unregularised network memorises noisy answers within seconds.
"""

from typing import NamedTuple

import numpy as np
import torch

from skarm._model.networks import ACTIVATIONS, SLOPES, embed, init_layers, to_torch

__all__ = ["TrainedLayers", "canonical_comparisons", "held_out", "train_layers"]

#: An epoch counts as progress when the held-out loss (nats per comparison) falls by it.
MIN_PROGRESS = 1e-3
#: Held-out loss this far above its best, in nats, means that answers are memorized.
MEMORIZING = 0.05


class TrainedLayers(NamedTuple):
    """Hidden layers (numpy), last layer, and how training went."""

    layers: list
    coef: np.ndarray
    n_iter: int
    converged: bool
    validation_loss: list


def canonical_comparisons(items, pairs, y, weights):
    """The same data in a form that no irrelevant order or repetition can change.

    Equal items become one, comparisons of the same two items become one with the
    weighted mean outcome and the summed weight, and all is sorted. Training is thus
    the same for swapped pairs, shuffled rows, and weights written as repetitions.

    Parameters
    ----------
    items : ndarray of shape (n_items, n_features)
        Dense.
    pairs, y, weights
        Comparisons; weights positive.

    Returns
    -------
    items, pairs, y, weights
        Canonical; pairs have first < second.
    source : ndarray of shape (n_items,)
        For each canonical item, a row of the given items it equals.
    """
    # + 0.0 turns -0.0 into 0.0, so that equal rows are equal byte for byte.
    rows = np.ascontiguousarray(items + 0.0)
    keys = rows.view(f"V{rows.itemsize * rows.shape[1]}")[:, 0]
    order = np.argsort(keys, kind="stable")
    rows = rows[order]
    is_new = np.ones(len(rows), dtype=bool)
    is_new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    code = np.empty(len(rows), dtype=np.intp)
    code[order] = np.cumsum(is_new) - 1
    rows, source = (rows, order) if is_new.all() else (rows[is_new], order[is_new])
    pairs = code[pairs]
    flip = pairs[:, 0] > pairs[:, 1]
    pairs, y = np.sort(pairs, axis=1), np.where(flip, 1 - y, y)
    pairs, y, weights = (a[pairs[:, 0] != pairs[:, 1]] for a in (pairs, y, weights))
    codes, code = np.unique(pairs @ [len(rows), 1], return_inverse=True)
    pairs = np.column_stack(np.divmod(codes, len(rows)))
    total = np.bincount(code, weights)
    return rows, pairs, np.bincount(code, weights * y) / total, total, source


def held_out(pairs, item_groups, fraction, rng):
    """Choose comparisons to hold out, whole groups at a time where there are groups.

    Parameters
    ----------
    pairs : ndarray of shape (n_pairs, 2)
        Comparisons.
    item_groups : ndarray of shape (n_items,) or None
        Group of each item. No item of a held-out group is seen in training, unless
        groups are so few that this would take more than half of the comparisons.
    fraction : float
        Share to hold out.
    rng : RandomState
        Randomness.

    Returns
    -------
    mask : ndarray of shape (n_pairs,), bool
        True where held out; all False where too little data is there to do without.
    """
    n_wanted = round(fraction * len(pairs))
    mask = np.zeros(len(pairs), dtype=bool)
    if n_wanted < 3 or len(pairs) - n_wanted < 3:
        return mask
    if item_groups is not None:
        labels, codes = np.unique(item_groups, return_inverse=True)
        rank = rng.permutation(len(labels))
        turn = rank[codes.reshape(-1)[pairs]].min(axis=1)  # when a pair is held out
        held = np.bincount(turn, minlength=len(labels)).cumsum()
        by_group = turn <= np.searchsorted(held, n_wanted)
        if by_group.sum() <= len(pairs) / 2:
            return by_group
    mask[rng.permutation(len(pairs))[:n_wanted]] = True
    return mask


def train_layers(
    items,
    pairs,
    y,
    weights,
    mask,
    *,
    hidden_layer_sizes,
    activation,
    learning_rate,
    weight_decay,
    batch_size,
    max_iter,
    n_iter_no_change,
    device,
    seed,
    initial=None,
    progress=False,
):
    """Fit hidden layers and a provisional last layer.

    Parameters
    ----------
    items, pairs, y, weights
        Canonical comparisons; the dtype of `items` is that of the network.
    mask : ndarray of shape (n_pairs,), bool
        Comparisons held out for stopping; none means `max_iter` epochs.
    hidden_layer_sizes, activation, learning_rate, weight_decay, batch_size, max_iter,
    n_iter_no_change
        See :class:`skarm.BradleyTerryRegressor`.
    device : torch.device
        Where to train.
    seed : int
        Of initialisation and mini-batches; the same on every device.
    initial : list of ndarray, default=None
        Weights, biases, ..., and the last layer, to start from, if they are of these
        sizes.
    progress : bool, default=False
        Show a bar.

    Returns
    -------
    trained : TrainedLayers
        The state with the best held-out loss.
    """
    x = to_torch(items, device)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    sizes = [items.shape[1], *hidden_layer_sizes]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    if initial is None or [weight.shape for weight in initial[:-1:2]] != shapes:
        layers = init_layers(sizes, generator, x.dtype)
        draw = torch.rand(sizes[-1], generator=generator, dtype=torch.float64)
        coef = ((2 * draw - 1) * sizes[-1] ** -0.5).to(x.dtype)
        parameters = [tensor for layer in layers for tensor in layer] + [coef]
    else:
        parameters = [torch.as_tensor(a.copy(), dtype=x.dtype) for a in initial]
    network = _Network(parameters, activation, device)
    descend = _AdamW(network.vector, learning_rate, weight_decay)
    train, test = (_part(x, pairs, y, weights, rows) for rows in (~mask, mask))
    test = test.compact()
    best, best_loss, since, history = None, np.inf, 0, []
    n_train = len(train.y)
    if batch_size == "auto":
        batch_size = 1024 if n_train > 8192 else 128
    n_batches = -(-n_train // batch_size)
    train = train.compact() if n_batches == 1 else train
    converged, n_iter = False, 0
    bar = _bar(max_iter, progress)
    for n_iter in range(1, max_iter + 1):  # noqa: B007 (read after the loop)
        for batch in train.batches(n_batches, generator):
            descend(network.gradient(batch))
        bar.update()
        if not mask.any():
            continue
        current = network.loss(test)
        history.append(current)
        if current < best_loss - MIN_PROGRESS:
            best_loss, since = current, 0
            best = network.vector.clone()
        else:
            since += 1
        if since >= n_iter_no_change or current > best_loss + MEMORIZING:
            converged = True
            break
    bar.close()
    final = network.vector if best is None else best
    arrays = [view.numpy() for view in network.split(final.cpu())]
    layers = list(zip(arrays[:-1:2], arrays[1:-1:2], strict=True))
    return TrainedLayers(
        layers, arrays[-1], n_iter, converged or not mask.any(), history
    )


class _Network:
    """Parameters and their gradient, each in one vector: a step of Adam is one kernel.

    The gradient is written out, because for so few layers of so little width autograd
    takes as long as the arithmetic.
    """

    def __init__(self, parameters, activation, device):
        self.shapes = [p.shape for p in parameters]
        self.activation = activation
        self.vector = torch.cat([p.reshape(-1) for p in parameters]).to(device)
        self.slope = torch.empty_like(self.vector)
        *hidden, self.coef = self.split(self.vector)
        self.hidden = list(zip(hidden[::2], hidden[1::2], strict=True))
        *slopes, self.coef_slope = self.split(self.slope)
        self.slopes = list(zip(slopes[::2], slopes[1::2], strict=True))

    def split(self, vector):
        """Weights, biases, ..., and the last layer, as views."""
        parts = vector.split([shape.numel() for shape in self.shapes])
        return [
            part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def loss(self, part):
        """Negative log-likelihood, nats per comparison."""
        with torch.no_grad():
            rewards = embed(part.items, self.hidden, self.activation) @ self.coef
            return torch.nn.functional.binary_cross_entropy_with_logits(
                part.gap(rewards), part.y, weight=part.weights
            ).item()

    def gradient(self, part):
        """Of the loss, by backpropagation; overwritten by the next."""
        inputs, sums = [part.items], []
        for weight, bias in self.hidden:
            sums.append(torch.addmm(bias, inputs[-1], weight.T))
            inputs.append(ACTIVATIONS[self.activation](sums[-1]))
        residual = torch.sigmoid(part.gap(inputs[-1] @ self.coef)) - part.y
        flow = part.flow(residual * part.weights / len(part.y))
        torch.mv(inputs[-1].T, flow, out=self.coef_slope)
        back = torch.outer(flow, self.coef)
        for k in reversed(range(len(sums))):
            back = SLOPES[self.activation](back, sums[k], inputs[k + 1])
            torch.mm(back.T, inputs[k], out=self.slopes[k][0])
            torch.sum(back, 0, out=self.slopes[k][1])
            if k:
                back = back @ self.hidden[k][0]
        return self.slope


class _AdamW:
    """Adam with decoupled weight decay, as torch has it, on one vector.

    That of torch takes longer to call than this to compute, and a second to import.
    """

    def __init__(self, vector, learning_rate, weight_decay):
        self.vector, self.rate, self.decay = vector, learning_rate, weight_decay
        self.mean, self.square = torch.zeros_like(vector), torch.zeros_like(vector)
        self.n_steps = 0

    def __call__(self, gradient, betas=(0.9, 0.999), eps=1e-8):
        """Take a step."""
        self.n_steps += 1
        of_mean, of_square = (1 - beta**self.n_steps for beta in betas)
        self.vector.mul_(1 - self.rate * self.decay)
        self.mean.lerp_(gradient, 1 - betas[0])
        self.square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        scale = self.square.sqrt().add_(eps * of_square**0.5)
        rate = self.rate * of_square**0.5 / of_mean
        self.vector.addcdiv_(self.mean, scale, value=-rate)


def _part(x, pairs, y, weights, rows):
    pairs, y, weights = pairs[rows], y[rows], weights[rows]
    weights = weights / weights.mean() if rows.any() else weights
    return _Part(
        x,
        to_torch(pairs.T, x.device),
        to_torch(y, x.device, x.dtype),
        to_torch(weights, x.device, x.dtype),
    )


class _Part(NamedTuple):
    """Comparisons as tensors."""

    items: torch.Tensor  # (n_items, n_features)
    pairs: torch.Tensor  # (2, n_pairs)
    y: torch.Tensor
    weights: torch.Tensor  # their mean over all batches is 1

    def compact(self):
        """Without the items that no pair names, unless they are few anyway."""
        if len(self.items) <= self.pairs.shape[1]:
            return self
        used, pairs = torch.unique(self.pairs, return_inverse=True)
        return self._replace(items=self.items.index_select(0, used), pairs=pairs)

    def batches(self, n_batches, generator):
        """Itself, or a shuffled partition of it."""
        if n_batches == 1:
            yield self
            return
        order = torch.randperm(len(self.y), generator=generator).to(self.y.device)
        for rows in order.tensor_split(n_batches):
            batch = self.pairs[:, rows], self.y[rows], self.weights[rows]
            yield _Part(self.items, *batch).compact()

    def gap(self, rewards):
        """Logits: the reward of the first item less that of the second."""
        first, second = self.pairs
        return rewards.index_select(0, first) - rewards.index_select(0, second)

    def flow(self, values):
        """What an item gains as first, less what it gains as second."""
        first, second = self.pairs
        flow = values.new_zeros(len(self.items)).index_add_(0, first, values)
        return flow.index_add_(0, second, values, alpha=-1)


def _bar(total, progress):
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="training", unit="epoch", disable=not progress)
