"""One thread for products that are many and short.

Threads wait for each other longer than such products take, and where other processes
are busy, many times as long.
"""

from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["one_thread", "one_torch_thread"]


def one_thread():
    """Context in which the linear algebra of numpy and scipy uses one thread."""
    return _pools().limit(limits=1, user_api="blas")


@contextmanager
def one_torch_thread():
    """Context in which torch uses one thread, on the CPU, in this thread of Python."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@cache
def _pools():
    return ThreadpoolController()
