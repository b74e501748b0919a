"""One thread where that is asked for, and as many as before afterwards."""

import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController

from skarm._information import fisher
from skarm._threads import many_threads, one_thread, one_torch_thread


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


@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize("outside", [nullcontext, one_thread])
def test_work_is_shared_out_among_the_threads_there_were(outside, n):
    with ThreadpoolController().limit(limits=3, user_api="blas"):
        shares, lock = [], threading.Lock()

        def work(part, name):
            with lock:
                shares.append((name, range(n)[part], set(blas_threads())))

        with outside(), many_threads() as each:
            each(work, n, "a")
        assert len(shares) == max(blas_threads())
    assert sorted(k for _, share, _ in shares for k in share) == list(range(n))
    assert all(name == "a" and limits <= {1} for name, _, limits in shares)


def test_an_error_in_a_share_is_raised():
    with pytest.raises(ZeroDivisionError), many_threads() as each:
        each(lambda part: 1 / 0, 4)


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
