"""The design criteria against dense algebra, autograd and brute force."""

import numpy as np
import pytest
import torch

from skarm._information import fisher, pair_lengths

SEEDS = range(4)


def problem(seed, n_items=14, d=3, n_pairs=40, ridge=0.5):
    """Embedding, index tensors, weights and an information matrix with some past."""
    rng = np.random.default_rng(seed)
    embedding = torch.as_tensor(rng.standard_normal((n_items, d)))
    first = rng.integers(0, n_items, n_pairs)
    second = (first + rng.integers(1, n_items, n_pairs)) % n_items
    weights = torch.as_tensor(rng.uniform(0.01, 0.25, n_pairs))
    past = torch.as_tensor(rng.standard_normal((d, 2)))
    matrix = past @ past.T + ridge * torch.eye(d, dtype=torch.float64)
    return embedding, torch.as_tensor(first), torch.as_tensor(second), weights, matrix


def differences(embedding, first, second):
    return embedding[first] - embedding[second]


def brute_force(X, weights, matrix, n_pairs, value):
    """Greedy by trying every candidate at every step; `value` of a stack of matrices.

    Returns the picks and the rise of `value` with each.
    """
    X, weights, matrix = (a.numpy() for a in (X, weights, matrix))
    terms = weights[:, None, None] * X[:, :, None] * X[:, None, :]
    left = np.ones(len(X), dtype=bool)
    picks, gains = [], []
    for _ in range(n_pairs):
        gain = value(matrix + terms) - value(matrix)
        pick = int(np.argmax(np.where(left, gain, -np.inf)))
        left[pick] = False
        matrix = matrix + terms[pick]
        picks.append(pick)
        gains.append(gain[pick])
    return picks, gains


def log_det(matrices):
    return np.linalg.slogdet(matrices)[1]


def minus_trace(target):
    target = target.numpy()
    return lambda matrices: (
        -np.trace(np.linalg.inv(matrices) @ target, axis1=-2, axis2=-1)
    )


def second_moment(X):
    return X.T @ X / len(X)


# ------------------------------------------------------------------- one-shot scores


@pytest.mark.parametrize("seed", SEEDS)
def test_information_is_the_weighted_gram_matrix_of_differences(seed):
    embedding, first, second, weights, _ = problem(seed)
    X = differences(embedding, first, second)
    information = fisher.information(embedding, first, second, weights)
    torch.testing.assert_close(information, X.T @ (weights[:, None] * X))
    assert torch.equal(information, information.T)


@pytest.mark.parametrize("seed", SEEDS)
def test_leverage_is_its_definition(seed):
    embedding, first, second, weights, matrix = problem(seed)
    X = differences(embedding, first, second)
    expected = weights * torch.einsum("ki,ij,kj->k", X, torch.linalg.inv(matrix), X)
    found = fisher.leverage(embedding, first, second, weights, matrix)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_leverage_is_the_gradient_of_log_det_in_the_counts(seed):
    embedding, first, second, weights, past = problem(seed)
    X = differences(embedding, first, second)
    counts = torch.ones(len(X), dtype=torch.float64, requires_grad=True)
    matrix = X.T @ ((counts * weights)[:, None] * X) + past
    torch.logdet(matrix).backward()
    found = fisher.leverage(embedding, first, second, weights, matrix.detach())
    torch.testing.assert_close(found, counts.grad)


@pytest.mark.parametrize("seed", SEEDS)
def test_leverages_in_ones_own_information_sum_to_the_dimension(seed):
    embedding, first, second, weights, _ = problem(seed)
    matrix = fisher.information(embedding, first, second, weights)
    total = fisher.leverage(embedding, first, second, weights, matrix).sum()
    assert total.item() == pytest.approx(embedding.shape[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_leverage_is_unchanged_by_an_invertible_map_of_the_embedding(seed):
    embedding, first, second, weights, _ = problem(seed)
    rng = np.random.default_rng(seed)
    map_ = torch.as_tensor(rng.standard_normal((3, 3)) + 2 * np.eye(3))
    scores = []
    for phi in (embedding, embedding @ map_):
        matrix = fisher.information(phi, first, second, weights)
        scores.append(fisher.leverage(phi, first, second, weights, matrix))
    torch.testing.assert_close(*scores)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", [1.0, 1e4, 1e7])
def test_nothing_but_differences_of_the_embedding_matters(level, seed):
    embedding, first, second, weights, matrix = problem(seed)
    raised = embedding + level
    embedding = raised - level  # what is left of it after rounding
    torch.testing.assert_close(
        fisher.information(raised, first, second, weights),
        fisher.information(embedding, first, second, weights),
        rtol=1e-10,
        atol=1e-10,
    )
    torch.testing.assert_close(
        fisher.leverage(raised, first, second, weights, matrix),
        fisher.leverage(embedding, first, second, weights, matrix),
        rtol=1e-7,
        atol=1e-7,
    )


def test_no_pairs_have_no_information_and_no_lengths():
    embedding, first, second, weights, matrix = problem(0)
    none = first[:0], second[:0]
    zero = fisher.information(embedding, *none, weights[:0])
    assert torch.equal(zero, torch.zeros(3, 3, dtype=torch.float64))
    lengths = fisher.squared_lengths(embedding, *none, fisher.factor(matrix))
    assert lengths.shape == (0,)


def test_factor_is_lower_and_squares_to_the_matrix():
    matrix = problem(0)[-1]
    lower = fisher.factor(matrix)
    assert torch.equal(lower, lower.tril())
    torch.testing.assert_close(lower @ lower.T, matrix)


def test_a_singular_matrix_raises_and_says_what_to_do():
    singular = torch.diag(torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"positive definite; its leading minor of "):
        fisher.factor(singular)
    with pytest.raises(ValueError, match=r"order 2 is not. Raise the prior precision"):
        fisher.factor(singular)


# ----------------------------------------------------------------------- greedy rules


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_d_is_brute_force(seed):
    *candidates, matrix = problem(seed)
    X, weights = differences(*candidates[:3]), candidates[3]
    expected = brute_force(X, weights, matrix, 15, log_det)
    picks, gains = fisher.greedy_d(*candidates, matrix, 15)
    assert picks == expected[0]
    np.testing.assert_allclose(gains, expected[1], rtol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_v_is_brute_force(seed):
    *candidates, matrix = problem(seed)
    X, weights = differences(*candidates[:3]), candidates[3]
    target = second_moment(X)
    expected = brute_force(X, weights, matrix, 15, minus_trace(target))
    picks, gains = fisher.greedy_v(*candidates, matrix, target, 15)
    assert picks == expected[0]
    np.testing.assert_allclose(gains, expected[1], rtol=1e-9)


@pytest.mark.parametrize("ridge", [1e-6, 1e-3, 1.0])
def test_greedy_stays_exact_through_hundreds_of_picks_from_any_prior(ridge):
    *candidates, matrix = problem(0, n_items=60, d=5, n_pairs=400, ridge=ridge)
    matrix = matrix if ridge > 0.1 else ridge * torch.eye(5, dtype=torch.float64)
    X, weights = differences(*candidates[:3]), candidates[3]
    n_pairs = 230
    assert n_pairs > 2 * fisher.REFACTOR_EVERY

    expected = brute_force(X, weights, matrix, n_pairs, log_det)
    picks, gains = fisher.greedy_d(*candidates, matrix, n_pairs)
    assert picks == expected[0]
    np.testing.assert_allclose(gains, expected[1], rtol=1e-8)

    target = second_moment(X)
    expected = brute_force(X, weights, matrix, n_pairs, minus_trace(target))
    picks, gains = fisher.greedy_v(*candidates, matrix, target, n_pairs)
    assert picks == expected[0]
    np.testing.assert_allclose(gains, expected[1], rtol=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_d_gains_never_increase_and_add_up_to_the_batch(seed):
    embedding, first, second, weights, matrix = problem(seed)
    picks, gains = fisher.greedy_d(embedding, first, second, weights, matrix, 40)
    assert sorted(picks) == list(range(40))
    assert (np.diff(gains) <= 1e-12).all()
    total = matrix + fisher.information(embedding, first, second, weights)
    rise = torch.logdet(total) - torch.logdet(matrix)
    assert sum(gains) == pytest.approx(rise.item())


@pytest.mark.parametrize("seed", SEEDS)
def test_v_gains_add_up_to_the_fall_of_the_mean_variance(seed):
    embedding, first, second, weights, matrix = problem(seed)
    target = second_moment(differences(embedding, first, second))
    picks, gains = fisher.greedy_v(
        embedding, first, second, weights, matrix, target, 40
    )
    assert sorted(picks) == list(range(40))
    total = matrix + fisher.information(embedding, first, second, weights)
    trace = minus_trace(target)
    fall = trace(total.numpy()) - trace(matrix.numpy())
    assert sum(gains) == pytest.approx(fall)


@pytest.mark.parametrize("rule", ["greedy_d", "greedy_v"])
def test_the_earlier_of_equal_candidates_wins_and_both_can_be_taken(rule):
    embedding = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    first, second = torch.tensor([[1, 0], [0, 2], [2, 0], [0, 2]]).T
    target = [] if rule == "greedy_d" else [torch.eye(1, dtype=torch.float64)]
    picks, _ = getattr(fisher, rule)(
        *(embedding, first, second, torch.full((4,), 0.25, dtype=torch.float64)),
        *(torch.eye(1, dtype=torch.float64), *target, 4),
    )
    assert picks == [1, 2, 3, 0]


@pytest.mark.parametrize("rule", ["greedy_d", "greedy_v"])
def test_pairs_that_teach_nothing_gain_nothing_but_can_be_taken(rule):
    embedding, first, second, _, matrix = problem(0)
    weights = torch.zeros(40, dtype=torch.float64)
    weights[[7, 9]] = 0.25
    target = [] if rule == "greedy_d" else [torch.eye(3, dtype=torch.float64)]
    picks, gains = getattr(fisher, rule)(
        embedding, first, second, weights, matrix, *target, 40
    )
    assert set(picks[:2]) == {7, 9}
    assert sorted(picks) == list(range(40))
    assert min(gains[:2]) > 0
    assert gains[2:] == [0] * 38


def test_no_input_is_changed():
    inputs = problem(0)
    target = second_moment(differences(*inputs[:3]))
    before = [tensor.clone() for tensor in (*inputs, target)]
    fisher.leverage(*inputs)
    fisher.greedy_d(*inputs, 20)
    fisher.greedy_v(*inputs, target, 20)
    for old, new in zip(before, (*inputs, target), strict=True):
        assert torch.equal(old, new)


# ----------------------------------------------------------- costs, caps and progress


def rule_on(name, inputs, n_pairs, **kw):
    """A greedy rule; the target is the second moment of the candidates."""
    target = [] if name == "greedy_d" else [second_moment(differences(*inputs[:3]))]
    return getattr(fisher, name)(*inputs, *target, n_pairs, **kw)


RULES = ["greedy_d", "greedy_v"]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", SEEDS)
def test_with_costs_each_pick_gains_most_per_cost(name, seed):
    inputs = problem(seed)
    X, weights, matrix = differences(*inputs[:3]), inputs[3], inputs[4]
    costs = torch.as_tensor(np.random.default_rng(seed).uniform(0.2, 5, 40))
    value = log_det if name == "greedy_d" else minus_trace(second_moment(X))
    picks, gains = rule_on(name, inputs, 12, costs=costs)
    terms = (weights[:, None, None] * X[:, :, None] * X[:, None, :]).numpy()
    left, matrix = np.ones(40, dtype=bool), matrix.numpy().copy()
    for pick, gain in zip(picks, gains, strict=True):
        expected = value(matrix + terms) - value(matrix)
        assert gain == pytest.approx(expected[pick])
        worth = np.where(left, expected / costs.numpy(), -np.inf)
        assert worth[pick] == pytest.approx(worth.max())
        left[pick] = False
        matrix += terms[pick]


@pytest.mark.parametrize("name", RULES)
def test_equal_costs_change_nothing(name):
    inputs = problem(1)
    costs = torch.full((40,), 2.5, dtype=torch.float64)
    assert rule_on(name, inputs, 15, costs=costs) == rule_on(name, inputs, 15)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", SEEDS)
def test_closed_candidates_are_not_picked_and_the_batch_may_end_early(name, seed):
    inputs = problem(seed)
    first, second = inputs[1:3]

    def close(position):  # no item twice
        ends = first[position], second[position]
        shut = sum(side == end for side in (first, second) for end in ends)
        return shut.nonzero()[:, 0]

    picks, _ = rule_on(name, inputs, 40, close=close)
    items = torch.cat([first[picks], second[picks]]).tolist()
    assert len(items) == len(set(items))
    left = [i for i in range(40) if not {int(first[i]), int(second[i])} & set(items)]
    assert len(picks) < 40 and left == []
    assert rule_on(name, inputs, 40, close=lambda _: None) == rule_on(name, inputs, 40)


@pytest.mark.parametrize("name", RULES)
def test_progress_counts_the_picks_and_an_interrupt_passes_through(name):
    inputs, calls = problem(0), []
    before = [tensor.clone() for tensor in inputs]
    rule_on(name, inputs, 5, progress=lambda *args: calls.append(args))
    assert calls == [(i, 5) for i in range(1, 6)]

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rule_on(name, inputs, 5, progress=interrupt)
    assert all(map(torch.equal, before, inputs))


# -------------------------------------------------------- chunks, precision, devices


def everything(embedding, first, second, weights, matrix, n_pairs=25):
    """All results of the module, as arrays."""
    pairs = first, second
    target = fisher.information(embedding, *pairs, torch.ones_like(weights)) / 40
    d_picks, d_gains = fisher.greedy_d(embedding, *pairs, weights, matrix, n_pairs)
    v_picks, v_gains = fisher.greedy_v(
        embedding, *pairs, weights, matrix, target, n_pairs
    )
    numbers = [
        fisher.information(embedding, *pairs, weights).cpu().numpy(),
        fisher.leverage(embedding, *pairs, weights, matrix).cpu().numpy(),
        np.array(d_gains),
        np.array(v_gains),
    ]
    return numbers, (d_picks, v_picks)


@pytest.mark.parametrize("seed", SEEDS)
def test_chunks_change_nothing(seed, monkeypatch):
    inputs = problem(seed)
    numbers, picks = everything(*inputs)
    monkeypatch.setattr(pair_lengths, "CHUNK_NUMBERS", 21)
    chunked, chunked_picks = everything(*inputs)
    assert chunked_picks == picks
    for whole, part in zip(numbers, chunked, strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_single_precision_agrees_to_its_own_precision(seed):
    embedding, first, second, weights, matrix = problem(seed)
    numbers, picks = everything(embedding, first, second, weights, matrix, 10)
    single, single_picks = everything(
        embedding.float(), first, second, weights.float(), matrix.float(), 10
    )
    assert single_picks == picks
    for double, found in zip(numbers, single, strict=True):
        np.testing.assert_allclose(found, double, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_gpu_agrees_with_the_cpu(seed):
    inputs = problem(seed, n_items=50, d=8, n_pairs=300)
    numbers, picks = everything(*inputs, 150)
    on_gpu, gpu_picks = everything(*(tensor.cuda() for tensor in inputs), 150)
    assert gpu_picks == picks
    for cpu, gpu in zip(numbers, on_gpu, strict=True):
        np.testing.assert_allclose(gpu, cpu, rtol=1e-8)
