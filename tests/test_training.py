"""Training: canonical data, what is held out, and the loop against a naive one."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.utils import check_random_state

from skarm._model import training
from skarm._model.likelihood import BradleyTerryLoss
from skarm._model.networks import embed, init_layers
from skarm._model.training import canonical_comparisons, held_out, train_layers

CPU = torch.device("cpu")


def problem(seed=0, n_items=40, d=3, n_pairs=200, dtype=np.float64):
    """Comparisons with outcomes in eighths, exact in binary; pairs repeat."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, d)).astype(dtype)
    first = rng.integers(0, n_items, n_pairs)
    second = (first + rng.integers(1, n_items, n_pairs)) % n_items
    reward = np.sin(2 * items[:, 0]) + items[:, 1]
    p = expit(3 * (reward[first] - reward[second]))
    y = rng.binomial(8, p) / 8
    return items, np.column_stack([first, second]), y, np.ones(n_pairs)


def train(items, pairs, y, weights, mask, **params):
    defaults = {
        "hidden_layer_sizes": (8,),
        "activation": "gelu",
        "learning_rate": 1e-2,
        "weight_decay": 1e-2,
        "batch_size": "auto",
        "max_iter": 300,
        "n_iter_no_change": 10,
        "device": CPU,
        "seed": 0,
    }
    return train_layers(items, pairs, y, weights, mask, **(defaults | params))


def negative_log_likelihood(trained, items, pairs, y, weights):
    layers = [(torch.as_tensor(w), torch.as_tensor(b)) for w, b in trained.layers]
    rewards = embed(torch.as_tensor(items), layers, "gelu").numpy() @ trained.coef
    s = rewards[pairs[:, 0]] - rewards[pairs[:, 1]]
    return np.average(np.logaddexp(0, s) - y * s, weights=weights)


def every_third(pairs):
    return np.arange(len(pairs)) % 3 == 0


def assert_same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------ canonical form


def test_canonical_form_has_distinct_items_and_ordered_distinct_pairs():
    items, pairs, y, weights = problem()
    items = np.vstack([items, items[:5], -0.0 * items[:2], 0.0 * items[:2]])
    pairs = np.vstack([pairs, [[40, 1], [45, 46], [47, 3], [0, 40], [48, 45]]])
    y, weights = np.r_[y, [1] * 5], np.r_[weights, [2] * 5]
    unique, ordered, y, weights, source = canonical_comparisons(
        items, pairs, y, weights
    )
    assert len(np.unique(unique, axis=0)) == len(unique) == 41
    np.testing.assert_array_equal(items[source], unique)
    assert (ordered[:, 0] < ordered[:, 1]).all()
    assert len(np.unique(ordered, axis=0)) == len(ordered)
    # Three of the five new pairs compare an item with its equal.
    assert weights.sum() == 200 + 2 * 2
    assert ((y >= 0) & (y <= 1)).all()


def test_canonical_form_has_the_gradient_of_the_data():
    items, pairs, y, _ = problem(1)
    weights = np.random.default_rng(1).random(200)
    items = np.vstack([items, items])  # each item twice
    pairs = pairs + 40 * np.random.default_rng(2).integers(0, 2, pairs.shape)
    canonical = canonical_comparisons(items, pairs, y, weights)[:4]
    w = np.array([1.0, -2.0, 0.5])
    one, two = BradleyTerryLoss(items, pairs, y, weights), BradleyTerryLoss(*canonical)
    np.testing.assert_allclose(two.gradient(w, 0), one.gradient(w, 0), atol=1e-12)
    np.testing.assert_allclose(two.information(w), one.information(w), atol=1e-12)


def test_no_irrelevant_order_or_repetition_changes_the_canonical_form():
    items, pairs, y, weights = problem(2)
    expected = canonical_comparisons(items, pairs, y, weights)[:4]
    rng = np.random.default_rng(3)

    rows = rng.permutation(200)
    shuffled = canonical_comparisons(items, pairs[rows], y[rows], weights)[:4]
    assert_same(shuffled, expected)

    order = rng.permutation(40)
    renamed = canonical_comparisons(items[order], np.argsort(order)[pairs], y, weights)
    assert_same(renamed[:4], expected)

    swap = rng.random(200) < 0.5
    mirrored = np.where(swap[:, None], pairs[:, ::-1], pairs)
    swapped = canonical_comparisons(items, mirrored, np.where(swap, 1 - y, y), weights)
    assert_same(swapped[:4], expected)

    times = rng.integers(1, 4, 200)
    weighted = canonical_comparisons(items, pairs, y, times.astype(float))[:4]
    repeated = canonical_comparisons(
        items, np.repeat(pairs, times, axis=0), np.repeat(y, times), np.ones(sum(times))
    )
    assert_same(repeated[:4], weighted)


# ------------------------------------------------------------------------ held out


@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.5])
def test_without_groups_exactly_the_fraction_is_held_out(fraction):
    mask = held_out(problem()[1], None, fraction, np.random.RandomState(0))
    assert mask.sum() == round(fraction * 200) and mask.dtype == bool


@pytest.mark.parametrize("scope", ["within", "across"])
@pytest.mark.parametrize("seed", range(5))
def test_no_item_of_a_held_out_group_is_seen_in_training(scope, seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"prompt {i}" for i in range(40)], 5)
    pairs = rng.integers(0, 200, (2000, 2))
    if scope == "within":
        pairs[:, 1] = pairs[:, 0] // 5 * 5 + (pairs[:, 0] + 1) % 5
    mask = held_out(pairs, groups, 0.15, np.random.RandomState(seed))
    assert 0.15 * 2000 <= mask.sum() <= 0.25 * 2000
    training = set(groups[pairs[~mask]].ravel())
    # Every held-out pair has an item of a group that training never saw.
    unseen = ~np.isin(groups[pairs[mask]], list(training))
    assert unseen.any(axis=1).all()
    if scope == "within":
        assert unseen.all()


@pytest.mark.parametrize("groups", [["one"] * 40, ["most"] * 39 + ["rest"]])
def test_too_few_groups_are_split_rather_than_trained_without_stopping(groups):
    pairs = problem()[1]
    for seed in range(5):
        mask = held_out(pairs, groups, 0.15, np.random.RandomState(seed))
        assert 0.15 * 200 <= mask.sum() + 1e-9 and mask.sum() <= 100


@pytest.mark.parametrize("n_pairs", [1, 3, 10, 16])
def test_nothing_is_held_out_of_too_little(n_pairs):
    pairs = problem()[1][:n_pairs]
    assert not held_out(pairs, None, 0.15, np.random.RandomState(0)).any()


def test_fraction_zero_holds_nothing_out():
    assert not held_out(problem()[1], None, 0.0, np.random.RandomState(0)).any()


def test_what_is_held_out_depends_on_the_generator_only():
    pairs, groups = problem()[1], np.arange(40) // 4
    for labels in (None, groups):
        one, two, other = (
            held_out(pairs, labels, 0.2, np.random.RandomState(seed))
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, two)
        assert (one != other).any()


# ------------------------------------------------------------------------ the loop


def naive_training(items, pairs, y, weights, mask, n_epochs):
    """The same by torch.nn, every comparison running both of its items forward."""
    generator = torch.Generator().manual_seed(0)
    ((weight, bias),) = init_layers([items.shape[1], 8], generator, torch.float64)
    last = (2 * torch.rand(8, generator=generator, dtype=torch.float64) - 1) * 8**-0.5
    network = torch.nn.Sequential(
        torch.nn.Linear(items.shape[1], 8, dtype=torch.float64),
        torch.nn.GELU(),
        torch.nn.Linear(8, 1, bias=False, dtype=torch.float64),
    )
    with torch.no_grad():
        network[0].weight.copy_(weight)
        network[0].bias.copy_(bias)
        network[2].weight.copy_(last[None])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
    first, second = (torch.as_tensor(items[pairs[~mask, k]]) for k in (0, 1))
    targets, c = torch.as_tensor(y[~mask]), torch.as_tensor(weights[~mask])
    for _ in range(n_epochs):
        optimizer.zero_grad()
        p = torch.sigmoid(network(first) - network(second))[:, 0]
        nll = -(targets * p.log() + (1 - targets) * (1 - p).log())
        (c @ nll / c.sum()).backward()
        optimizer.step()
    return [p.detach().numpy() for p in network.parameters()]


def test_training_equals_a_naive_loop_over_materialised_pairs(monkeypatch):
    monkeypatch.setattr(training, "MIN_PROGRESS", -np.inf)  # the last state is kept
    items, pairs, y, _ = problem()
    weights = np.random.default_rng(4).random(200)
    mask = every_third(pairs)
    trained = train(items, pairs, y, weights, mask, max_iter=50, batch_size=1000)
    weight, bias, last = naive_training(items, pairs, y, weights, mask, 50)
    np.testing.assert_allclose(trained.layers[0][0], weight, atol=1e-8)
    np.testing.assert_allclose(trained.layers[0][1], bias, atol=1e-8)
    np.testing.assert_allclose(trained.coef, last[0], atol=1e-8)


def test_the_layers_kept_are_those_with_the_best_held_out_loss():
    items, pairs, y, weights = problem(n_pairs=120)
    mask = every_third(pairs)
    trained = train(
        items, pairs, y, weights, mask, hidden_layer_sizes=(64,), weight_decay=0.0
    )
    history = np.array(trained.validation_loss)
    assert trained.converged and trained.n_iter == len(history) < 300
    assert history[-1] > history.min() + 0.01  # it did overfit meanwhile
    test = items, pairs[mask], y[mask], weights[mask]
    kept = negative_log_likelihood(trained, *test)
    assert kept == pytest.approx(history[-11], abs=1e-12)  # 10 without progress
    assert kept <= history.min() + training.MIN_PROGRESS


@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh"])
@pytest.mark.parametrize("sizes", [(8,), (8, 5, 6)])
def test_the_gradient_written_out_is_that_of_autograd(activation, sizes):
    items, pairs, y, _ = problem()
    weights = np.random.default_rng(5).random(200)
    generator = torch.Generator().manual_seed(1)
    layers = init_layers([items.shape[1], *sizes], generator, torch.float64)
    coef = torch.randn(sizes[-1], generator=generator, dtype=torch.float64)
    parameters = [tensor for layer in layers for tensor in layer] + [coef]
    part = training._part(torch.as_tensor(items), pairs, y, weights, weights > 0.3)
    network = training._Network(parameters, activation, CPU)
    found = network.split(network.gradient(part))

    for tensor in parameters:
        tensor.requires_grad_()
    rewards = embed(part.items, layers, activation) @ coef
    logits = rewards[part.pairs[0]] - rewards[part.pairs[1]]
    loss = torch.nn.functional.softplus(logits) - part.y * logits
    loss = (part.weights * loss).mean()
    loss.backward()
    assert network.loss(part) == pytest.approx(loss.item(), rel=1e-12)
    for tensor, gradient in zip(parameters, found, strict=True):
        torch.testing.assert_close(gradient, tensor.grad, rtol=1e-9, atol=1e-12)


def test_held_out_comparisons_stop_training_and_teach_nothing():
    items, pairs, y, weights = problem()
    mask = every_third(pairs)
    one = train(items, pairs, y, weights, mask, max_iter=1)
    y, weights = np.where(mask, 1 - y, y), np.where(mask, 7 * y, weights)
    two = train(items, pairs, y, weights, mask, max_iter=1)
    assert one.validation_loss != two.validation_loss
    assert_same([*one.layers[0], one.coef], [*two.layers[0], two.coef])


def test_too_few_epochs_are_reported_as_not_converged():
    items, pairs, y, weights = problem()
    trained = train(items, pairs, y, weights, every_third(pairs), max_iter=3)
    assert not trained.converged and trained.n_iter == 3


def test_with_nothing_held_out_every_epoch_is_run():
    items, pairs, y, weights = problem()
    trained = train(items, pairs, y, weights, np.zeros(200, dtype=bool), max_iter=7)
    assert trained.converged and trained.n_iter == 7
    assert trained.validation_loss == []


def test_the_same_seed_trains_the_same_layers():
    items, pairs, y, weights = problem()
    for batch_size in ("auto", 64):
        one, two, other = (
            train(
                *(items, pairs, y, weights, every_third(pairs)),
                seed=seed,
                batch_size=batch_size,
                max_iter=5,
            )
            for seed in (1, 1, 2)
        )
        assert_same([*one.layers[0], one.coef], [*two.layers[0], two.coef])
        assert (one.coef != other.coef).any()


def test_training_leaves_the_generators_and_the_default_dtype_alone():
    items, pairs, y, weights = problem(dtype=np.float32)
    before, numpy_rng = torch.get_rng_state(), check_random_state(None)
    numpy_before = numpy_rng.get_state()[1].copy()
    torch.set_default_dtype(torch.float64)
    try:
        trained = train(items, pairs, y, weights, every_third(pairs), batch_size=64)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(numpy_rng.get_state()[1], numpy_before)
    arrays = [*trained.layers[0], trained.coef]
    assert all(a.dtype == np.float32 and type(a) is np.ndarray for a in arrays)


def test_mini_batches_visit_every_training_comparison_once_an_epoch():
    items, pairs, y, weights = problem(n_items=500)
    x = torch.as_tensor(items)
    part = training._part(x, pairs, y, weights, ~every_third(pairs))
    seen = [
        torch.column_stack([batch.items[batch.pairs[0]], batch.items[batch.pairs[1]]])
        for batch in part.batches(5, torch.Generator().manual_seed(0))
    ]
    assert [len(rows) for rows in seen] == [27, 27, 27, 26, 26]
    kept = pairs[~every_third(pairs)]
    expected = np.hstack([items[kept[:, 0]], items[kept[:, 1]]])
    found = torch.cat(seen).numpy()
    assert (found != expected).any()  # shuffled
    np.testing.assert_array_equal(
        found[np.lexsort(found.T)], expected[np.lexsort(expected.T)]
    )


def test_mini_batches_learn_what_full_batches_learn():
    items, pairs, y, weights = problem(n_pairs=600)
    mask = every_third(pairs)
    losses = [
        min(train(items, pairs, y, weights, mask, batch_size=size).validation_loss)
        for size in ("auto", 64)
    ]
    # Nine steps an epoch go further than one before the epochs are over.
    assert losses[1] < losses[0] < np.log(2) - 0.2


def test_auto_takes_128_comparisons_a_step():
    items, pairs, y, weights = problem()
    mask = every_third(pairs)
    one, two = (
        train(items, pairs, y, weights, mask, batch_size=size, max_iter=5)
        for size in ("auto", 128)
    )
    assert_same([one.coef], [two.coef])


def test_training_continues_from_given_layers():
    items, pairs, y, weights = problem()
    mask = every_third(pairs)
    one = train(items, pairs, y, weights, mask, max_iter=100, n_iter_no_change=100)
    initial = [*one.layers[0], one.coef]
    copies = [a.copy() for a in initial]
    two = train(items, pairs, y, weights, mask, initial=initial, max_iter=1)
    assert abs(two.validation_loss[0] - min(one.validation_loss)) < 0.01
    assert one.validation_loss[0] > two.validation_loss[0] + 0.1
    assert_same(initial, copies)


@pytest.mark.parametrize("progress", [False, True])
def test_a_bar_is_shown_only_where_it_is_asked_for(progress, capsys):
    items, pairs, y, weights = problem()
    train(items, pairs, y, weights, every_third(pairs), max_iter=2, progress=progress)
    out, err = capsys.readouterr()
    assert out == "" and ("training" in err) == progress


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("batch_size", ["auto", 64])
def test_cuda_trains_as_the_cpu_does(batch_size):
    items, pairs, y, weights = problem()
    mask = every_third(pairs)
    one, two = (
        train(
            *(items, pairs, y, weights, mask),
            device=torch.device(device),
            batch_size=batch_size,
            max_iter=20,
            n_iter_no_change=20,
        )
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(two.coef, one.coef, atol=1e-8)
