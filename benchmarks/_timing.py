"""What the speed scripts share: time two sides fairly, their memory, and the record.

Judge a busy machine by ratios; of the wall and the CPU ratio the smaller is the claim.
"""

import gc
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

#: A timing goes on until it has taken as many seconds, as timeit's.
LONG = 0.2

__all__ = ["alternate", "extra_megabytes", "in_fresh_process", "ratio", "save"]


def alternate(sides, repeat):
    """Medians of wall and CPU seconds of each side, run in turn in this process.

    As in `timeit`, Python collects no garbage while a side is timed: none pays for what
    another left; and a short call is timed many times at once, `LONG` seconds: one call
    would measure what the other side left in the caches.

    Parameters
    ----------
    sides : dict of str to callable
        What to time, warmed up beforehand; called without arguments.
    repeat : int
        Rounds; each runs every side once.

    Returns
    -------
    times : dict of str to {"wall": float, "cpu": float}
        Seconds. CPU seconds are those of all threads of this process.
    results : dict of str to object
        What each side returned last.
    """
    times, results = {side: [] for side in sides}, {}
    for _ in range(repeat):
        for side, call in sides.items():
            gc.disable()
            started, n_calls, spent = clocks(), 0, np.zeros(2)
            while spent[0] < LONG:
                results[side] = call()
                n_calls, spent = n_calls + 1, clocks() - started
            gc.enable()
            times[side].append(spent / n_calls)
    medians = {
        side: dict(zip(("wall", "cpu"), np.median(spent, axis=0).tolist(), strict=True))
        for side, spent in times.items()
    }
    return medians, results


def clocks():
    """Wall and CPU seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def ratio(slow, fast):
    """How many times faster: the smaller of the wall and the CPU ratio."""
    return min(slow[clock] / fast[clock] for clock in ("wall", "cpu"))


def extra_megabytes(call):
    """Megabytes that a call adds, at its peak, to what this process holds (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(field):
    """A field of this process's status; ru_maxrss would start at its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def in_fresh_process(script, *arguments):
    """Run a script with arguments, and read the one JSON value that it prints."""
    command = [sys.executable, script, *map(str, arguments)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(out.stdout)


def save(path, settings, rows):
    """Write rows with date, hardware and settings to PATH.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        **{
            key: value.name if isinstance(value, Path) else value
            for key, value in settings.items()
        },
        "rows": rows,
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
