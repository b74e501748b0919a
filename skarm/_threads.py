"""One thread for products that are many and short.

Threads wait for each other longer than such products take, and where other processes
are busy, many times as long. Those of numpy and those of scipy also wait for work
spinning, a tenth of a second after each product, in the way of each other.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["many_threads", "one_thread", "one_torch_thread"]

_before = threading.local()


@contextmanager
def one_thread():
    """Context in which the linear algebra of numpy and scipy uses one thread."""
    with _pools().limit(limits=1, user_api="blas") as limit:
        outer = getattr(_before, "n_threads", None)
        _before.n_threads = outer or limit.get_original_num_threads()["blas"] or 1
        try:
            yield
        finally:
            _before.n_threads = outer


@contextmanager
def many_threads():
    """Context in which work is shared out among threads, each on its own.

    For products of which linear algebra would do some on many threads, some on one.

    Yields
    ------
    each : callable
        ``each(work, n, *args)`` calls ``work(part, *args)`` for slices that make up n
        rows, one for each thread that linear algebra would use or :func:`one_thread`
        set aside, and returns when all are done. Work lets go of Python's lock, and
        writes nothing that others read.
    """
    with one_thread(), ThreadPoolExecutor(n_parts := _before.n_threads) as pool:

        def each(work, n, *args):
            ends = [n * part // n_parts for part in range(n_parts + 1)]
            parts = map(slice, ends[:-1], ends[1:])
            list(pool.map(lambda part: work(part, *args), parts))

        yield each


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
