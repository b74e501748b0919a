"""Peak memory of the selection rules against the formulas of their docstrings."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PRELUDE = """
    import torch
    from pathlib import Path
    from skarm._information import fisher, pair_scan
    from skarm._information.all_pairs import greedy_d_all_pairs
    from skarm._information.all_pairs_v import greedy_v_all_pairs
    from skarm._information.certificate import d_efficiency, rows_of, top_of_list
    from skarm._information.exchange import exchange_d, exchange_v
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    def problem(n, d, n_listed):
        embedding = torch.randn(n, d, generator=generator).double()
        rewards = torch.randn(n, generator=generator).double()
        first = torch.randint(n, (n_listed,), generator=generator)
        second = (first + torch.randint(1, n, (n_listed,), generator=generator)) % n
        weights = torch.full((n_listed,), 0.2).double()
        matrix = 50 * torch.eye(d).double()
        return embedding, rewards, (first, second, weights), matrix
    def certificate(embedding, first, second, weights, matrix):
        rows = rows_of(embedding, first[:20], second[:20], weights[:20])
        top = top_of_list(embedding, first, second, weights, 20)
        return d_efficiency(matrix, rows, torch.arange(20), top)
    def run(embedding, rewards, listed, matrix):
        {call}
    def status(field):
        text = Path("/proc/self/status").read_text()
        return int(text.split(field + ":")[1].split()[0]) / 1024
    run(*problem(2000, {d}, 20_000))  # loads what is loaded lazily
    inputs = problem({n}, {d}, {n_listed})
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = status("VmRSS")
    run(*inputs)
    print(status("VmHWM") - before)
"""

N, D, LISTED = 20_000, 64, 500_000
K_D, K_V, BLOCK, SAMPLE, CHUNK = 20_000, 20_000, 512, 262_144, 131_072
RULES = {
    "greedy_d": (
        "fisher.greedy_d(embedding, *listed, matrix, 20)",
        8 * (N * D + 4 * LISTED) + 24 * CHUNK,
    ),
    "greedy_v": (
        "fisher.greedy_v(embedding, *listed, matrix, torch.eye({d}).double(), 20)",
        8 * (2 * N * D + 8 * LISTED) + 24 * CHUNK,
    ),
    "exchange_d": (
        "exchange_d(embedding, *listed, matrix, list(range(20)))",
        8 * (N * D + 4 * LISTED) + 24 * CHUNK,
    ),
    "exchange_v": (
        "exchange_v(embedding, *listed, matrix, torch.eye({d}).double(), [*range(20)])",
        8 * (2 * N * D + 8 * LISTED) + 24 * CHUNK,
    ),
    "d_efficiency": (
        "certificate(embedding, *listed, matrix)",
        8 * 1000 * (3 * D + 8) + 8 * (N * D + 2 * LISTED) + 24 * CHUNK,
    ),
    "greedy_d_all_pairs": (
        "greedy_d_all_pairs(embedding, rewards, matrix, 20)",
        28 * N * (D + 8) + 16 * BLOCK**2 + 8 * K_D * (D + 16) + 48 * SAMPLE,
    ),
    "greedy_v_all_pairs": (
        "greedy_v_all_pairs(embedding, rewards, matrix, torch.eye({d}).double(), 20)",
        32 * N * (D + 8) + 16 * BLOCK**2 + 20 * K_V * (D + 8) + 48 * SAMPLE,
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak is read from /proc"
)
@pytest.mark.parametrize("rule", RULES)
def test_peak_memory_is_that_of_the_docstring_within_a_factor_of_two(rule):
    call, bytes_stated = RULES[rule]
    sizes = {"n": N, "d": D, "n_listed": LISTED if "all" not in rule else 10}
    call = call.replace("{d}", "matrix.shape[0]")
    script = textwrap.dedent(PRELUDE).format(call=call, **sizes)
    # Else the peak is also what glibc keeps of what was let go: up to three times more.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert run.returncode == 0, run.stderr
    megabytes = float(run.stdout)
    assert 0.5 < megabytes / (bytes_stated / 2**20) < 2
