"""One thread where that is asked for, and as many as before afterwards."""

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController

from skarm._information import fisher
from skarm._threads import one_thread, one_torch_thread


@pytest.fixture
def two_torch_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def blas_threads():
    pools = ThreadpoolController().select(user_api="blas").info()
    return [pool["num_threads"] for pool in pools]


def test_one_thread_holds_inside_and_what_was_before_outside(two_torch_threads):
    np.ones((2, 2)) @ np.ones((2, 2))
    before = blas_threads()
    with one_thread():
        assert set(blas_threads()) <= {1}
        assert torch.get_num_threads() == 2
    assert blas_threads() == before
    with one_torch_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_an_error_gives_the_threads_back(two_torch_threads):
    before = blas_threads()
    with pytest.raises(KeyboardInterrupt), one_thread(), one_torch_thread():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2 and blas_threads() == before


def test_a_greedy_batch_of_few_candidates_takes_one_thread(two_torch_threads):
    phi = torch.as_tensor(np.random.default_rng(0).standard_normal((6, 2)))
    first, second = torch.arange(3), torch.arange(3, 6)
    weights, seen = torch.full((3,), 0.25).double(), []
    fisher.greedy_d(
        *(phi, first, second, weights, torch.eye(2).double(), 3),
        progress=lambda *_: seen.append(torch.get_num_threads()),
    )
    assert seen == [1, 1, 1]
    assert torch.get_num_threads() == 2
