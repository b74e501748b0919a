"""One thread for products that are many and short.

Threads wait for each other longer than such products take, and where other processes
are busy, many times as long.
"""

from contextlib import contextmanager
from functools import cache
from threading import Lock

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["one_thread", "one_torch_thread"]


@contextmanager
def one_thread():
    """Context in which the linear algebra of numpy and scipy uses one thread.

    The limit is the process's: of contexts open at once, in several threads, the first
    sets it and the last to close lifts it.
    """
    with _LIMIT.lock:
        _LIMIT.n_open += 1
        if _LIMIT.n_open == 1:
            _LIMIT.limiter = _pools().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _LIMIT.lock:
            _LIMIT.n_open -= 1
            if _LIMIT.n_open == 0:
                _LIMIT.limiter.restore_original_limits()


@contextmanager
def one_torch_thread():
    """Context in which torch uses one thread, on the CPU, in this thread of Python."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


class _Limit:
    """The limit on numpy and scipy, and how many contexts want it."""

    def __init__(self):
        self.lock, self.n_open, self.limiter = Lock(), 0, None


_LIMIT = _Limit()


@cache
def _pools():
    return ThreadpoolController()
