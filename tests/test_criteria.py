"""D_s, G and the pruning of V by direct inverses of every matrix."""

import numpy as np
import pytest
import torch

from skarm._information import criteria, fisher

SEEDS = range(4)


def problem(seed, n_items=20, n_pairs=40, dim=5, prior=0.3):
    """Candidates (embedding, first, second, weights, matrix), and the same in numpy."""
    rng = np.random.default_rng(seed)
    embedding = rng.standard_normal((n_items, dim))
    first = rng.integers(0, n_items, n_pairs)
    second = (first + rng.integers(1, n_items, n_pairs)) % n_items
    weights = rng.uniform(0.02, 0.25, n_pairs)
    past = rng.standard_normal((8, dim))
    matrix = prior * np.eye(dim) + 0.2 * past.T @ past
    arrays = (embedding, first, second, weights, matrix)
    return [torch.as_tensor(a) for a in arrays], (
        embedding[first] - embedding[second],
        weights,
        matrix,
    )


def greedy(n_pairs, n_candidates, gain, costs=None, banned=()):
    """The definition: try every candidate at every step."""
    picks, gains = [], []
    for _ in range(n_pairs):
        tried = np.full(n_candidates, -np.inf)
        for i in set(range(n_candidates)) - set(picks) - set(banned):
            tried[i] = gain([*picks, i]) - gain(picks)
        worth = tried if costs is None else tried / costs
        picks.append(int(worth.argmax()))
        gains.append(tried[picks[-1]])
    return picks, gains


def with_batch(x, v, matrix, batch):
    x = x[list(batch)]
    return matrix + x.T @ (v[list(batch), None] * x)


def schur_log_det(matrix, nuisance):
    keep = np.setdiff1d(np.arange(len(matrix)), nuisance)
    cross = matrix[np.ix_(keep, nuisance)]
    inner = np.linalg.solve(matrix[np.ix_(nuisance, nuisance)], cross.T)
    return np.linalg.slogdet(matrix[np.ix_(keep, keep)] - cross @ inner)[1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("nuisance", [[0], [4], [1, 3]])
def test_d_s_is_greedy_on_the_schur_complement(nuisance, seed):
    candidates, (x, v, matrix) = problem(seed)
    found = criteria.greedy_d_s(
        *candidates, nuisance=torch.tensor(nuisance), n_pairs=12
    )
    expected = greedy(
        *(12, len(x)),
        lambda batch: schur_log_det(with_batch(x, v, matrix, batch), nuisance),
    )
    assert found[0] == expected[0]
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_d_s_gains_add_up_also_across_refactoring(seed):
    candidates, (x, v, matrix) = problem(seed, n_pairs=300, prior=1e-6)
    nuisance = [0, 2]
    picks, gains = criteria.greedy_d_s(
        *candidates, nuisance=torch.tensor(nuisance), n_pairs=250
    )
    before, after = (
        schur_log_det(m, nuisance) for m in (matrix, with_batch(x, v, matrix, picks))
    )
    assert sum(gains) == pytest.approx(after - before, rel=1e-7)
    assert len(set(picks)) == 250 and min(gains) >= -1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_d_s_is_blind_to_what_is_only_a_mixture_of_nuisances(seed):
    """Interest columns may take up any combination of nuisance columns (no prior)."""
    candidates, (_, _, _matrix) = problem(seed, prior=0.0)
    nuisance, mix = torch.tensor([3, 4]), torch.eye(5, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    mix[3:, :3] = torch.as_tensor(rng.standard_normal((2, 3)))
    mix[3:, 3:] = torch.as_tensor(rng.standard_normal((2, 2)) + 3 * np.eye(2))
    mixed = [candidates[0] @ mix, *candidates[1:4], mix.T @ candidates[4] @ mix]
    one = criteria.greedy_d_s(*candidates, nuisance=nuisance, n_pairs=15)
    other = criteria.greedy_d_s(*mixed, nuisance=nuisance, n_pairs=15)
    assert one[0] == other[0]
    np.testing.assert_allclose(one[1], other[1], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_answer_about_nuisances_alone_is_worth_nothing_beside_a_plain_prior(seed):
    candidates, (_x, *_) = problem(seed)
    candidates[0][1] = candidates[0][0] + torch.tensor([0.0, 0, 0, 2, -1])
    first, second = candidates[1], candidates[2]
    first[7], second[7] = 1, 0
    matrix = torch.eye(5, dtype=torch.float64)
    parts = (candidates[0], first, second, candidates[3], matrix)
    picks, gains = criteria.greedy_d_s(*parts, nuisance=torch.tensor([3, 4]), n_pairs=1)
    assert picks != [7] and gains[0] > 0
    only = [parts[0], first[7:8], second[7:8], candidates[3][7:8], matrix]
    _, gains = criteria.greedy_d_s(*only, nuisance=torch.tensor([3, 4]), n_pairs=1)
    assert gains[0] == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
def test_g_helps_the_least_certain_difference_the_most(seed):
    candidates, (x, v, matrix) = problem(seed)
    picks, gains = criteria.greedy_g(*candidates, n_pairs=12)
    for k, pick in enumerate(picks):
        before = np.linalg.inv(with_batch(x, v, matrix, picks[:k]))
        variances = np.einsum("ij,jk,ik->i", x, before, x)
        worst = variances.argmax()
        left = np.setdiff1d(np.arange(len(x)), picks[:k])
        falls = []
        for i in left:
            after = np.linalg.inv(with_batch(x, v, matrix, [*picks[:k], i]))
            falls.append(variances[worst] - x[worst] @ after @ x[worst])
        assert left[np.argmax(falls)] == pick
        assert gains[k] == pytest.approx(max(falls), rel=1e-8)


def pruned(x, v, matrix, target, picks, n_pairs, costs=None):
    """The definition: lose each in turn, and for good the one that is missed least."""
    kept = list(range(len(picks)))

    def trace(batch):
        inverse = np.linalg.inv(with_batch(x, v, matrix, [picks[k] for k in batch]))
        return np.trace(target @ inverse)

    while len(kept) > n_pairs:
        losses = [trace([k for k in kept if k != lost]) for lost in kept]
        losses = np.array(losses) - trace(kept)
        if costs is not None:
            losses /= costs[[picks[k] for k in kept]]
        del kept[int(losses.argmin())]
    return kept


@pytest.mark.parametrize("with_costs", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_pruning_drops_the_pick_whose_loss_raises_the_trace_least(seed, with_costs):
    candidates, (x, v, matrix) = problem(seed)
    rng = np.random.default_rng(seed)
    target = np.cov(rng.standard_normal((5, 30)))
    costs = rng.uniform(0.5, 2, len(x)) if with_costs else None
    picks = rng.permutation(len(x))[:16].tolist()
    found = criteria.prune_v(
        *candidates,
        target=torch.as_tensor(target),
        picks=picks,
        n_pairs=5,
        costs=None if costs is None else torch.as_tensor(costs),
    )
    assert found == pruned(x, v, matrix, target, picks, 5, costs)


def test_pruning_survives_refactoring_and_a_nearly_flat_prior():
    candidates, (x, v, matrix) = problem(0, n_items=60, n_pairs=400, prior=1e-5)
    target = torch.eye(5, dtype=torch.float64)
    picks = list(range(260))
    found = criteria.prune_v(*candidates, target=target, picks=picks, n_pairs=6)
    assert found == pruned(x, v, matrix, np.eye(5), picks, 6)


@pytest.mark.parametrize("rule", ["greedy_d_s", "greedy_g"])
def test_costs_divide_gains_and_closed_candidates_are_not_picked(rule):
    candidates, (x, v, matrix) = problem(0)
    params = {"nuisance": torch.tensor([4])} if rule == "greedy_d_s" else {}
    choose = getattr(criteria, rule)
    costs = torch.as_tensor(np.random.default_rng(0).uniform(0.2, 5, len(x)))
    picks, _ = choose(*candidates, n_pairs=8, costs=costs, **params)
    if rule == "greedy_d_s":
        expected, _ = greedy(
            *(8, len(x)),
            lambda batch: schur_log_det(with_batch(x, v, matrix, batch), [4]),
            costs.numpy(),
        )
        assert picks == expected
    assert picks != choose(*candidates, n_pairs=8, **params)[0]
    heard = []

    def close(position):
        heard.append(position)
        return np.arange(10, len(x)) if len(heard) == 3 else None

    found = choose(*candidates, n_pairs=30, close=close, **params)
    assert found[0] == heard
    assert all(pick < 10 for pick in found[0][3:])
    free = [pick for pick in found[0][:3] if pick >= 10]
    assert len(found[0]) == 10 + len(free)  # then nobody is open, and it stops


@pytest.mark.parametrize("rule", ["greedy_d_s", "greedy_g"])
def test_inputs_stay_as_they_were(rule):
    candidates, _ = problem(0)
    copies = [c.clone() for c in candidates]
    params = {"nuisance": torch.tensor([4])} if rule == "greedy_d_s" else {}
    getattr(criteria, rule)(*candidates, n_pairs=5, **params)
    criteria.prune_v(
        *candidates,
        target=torch.eye(5, dtype=torch.float64),
        picks=[1, 2, 3],
        n_pairs=1,
    )
    for before, after in zip(copies, candidates, strict=True):
        assert torch.equal(before, after)


def test_v_then_pruning_never_ends_above_twice_as_many_forward_then_random():
    """BAIT's way back keeps a better half than the average half."""
    candidates, (x, v, matrix) = problem(0, n_pairs=200)
    target = torch.as_tensor(x.T @ x / len(x))
    picks, _ = fisher.greedy_v(*candidates, target, 20)
    kept = criteria.prune_v(*candidates, target=target, picks=picks, n_pairs=10)
    rng = np.random.default_rng(0)

    def trace(batch):
        inverse = np.linalg.inv(with_batch(x, v, matrix, [picks[k] for k in batch]))
        return np.trace(target.numpy() @ inverse)

    others = [trace(rng.permutation(20)[:10]) for _ in range(300)]
    assert trace(kept) < np.quantile(others, 0.01)
