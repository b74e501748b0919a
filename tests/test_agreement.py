"""Choices do not depend on the precision of the inputs, nor on the device."""

import numpy as np
import pytest
import torch
from pair_problems import problem, scope_pairs

from skarm._information import fisher
from skarm._information.all_pairs import greedy_d_all_pairs
from skarm._information.all_pairs_v import greedy_v_all_pairs
from skarm._information.exchange import exchange_d

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


def choices(embedding, rewards, matrix, n_pairs=15):
    """Batches by every rule, as pairs of items; and the gains of each."""
    d = embedding.shape[1]
    target = 2 * torch.cov(embedding.T).reshape(d, d)
    first, second = torch.as_tensor(scope_pairs(len(embedding))).to(embedding.device).T
    gap = rewards[first] - rewards[second]
    candidates = embedding, first, second, torch.sigmoid(gap) * torch.sigmoid(-gap)
    every = embedding.double(), rewards.double(), matrix.double()
    listed = {
        "greedy D": fisher.greedy_d(*candidates, matrix, n_pairs),
        "greedy V": fisher.greedy_v(*candidates, matrix, target, n_pairs),
        "exchange": exchange_d(*candidates, matrix, list(range(n_pairs)), 2),
    }
    found = {
        name: (torch.stack([first[picks], second[picks]], dim=1).cpu().numpy(), gains)
        for name, (picks, gains) in listed.items()
    }
    for name, (pairs, gains) in {
        "every D": greedy_d_all_pairs(*every, n_pairs),
        "every V": greedy_v_all_pairs(*every, target.double(), n_pairs),
    }.items():
        found[name] = pairs.numpy(), gains
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_picks_agree_up_to_ties_on_twenty_problems(dtype, device):
    for seed in range(20):
        *inputs, _ = problem(seed, n_items=25, scale=1.0)
        inputs = [tensor.float() for tensor in inputs]  # the same numbers in both
        expected = choices(*(tensor.double() for tensor in inputs))
        found = choices(*(tensor.to(device, dtype) for tensor in inputs))
        for name, (pairs, gains) in expected.items():
            np.testing.assert_allclose(found[name][1], gains, rtol=2e-4, err_msg=name)
            differ = (found[name][0] != pairs).any(axis=1)
            # where others were picked, they gained the same
            gap = np.abs(np.array(found[name][1]) - gains)[differ]
            assert (gap <= 1e-5 * np.abs(np.array(gains)[differ])).all(), (name, seed)
            assert differ.sum() <= 2, (name, seed)
