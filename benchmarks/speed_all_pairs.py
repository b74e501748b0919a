"""Exact greedy D-optimal batches over every pair of n items: time and memory.

    python benchmarks/speed_all_pairs.py --items 2000 5000 10000 20000

    python benchmarks/speed_all_pairs.py --items 100000 --scope across --batch 100 \\
        --sides ours --repeat 1

Sides, alternating in one process, medians over --repeat rounds:

- `greedy_d_all_pairs`, ours; and `greedy_v_all_pairs`, V-optimal, exact too;
- the straightforward exact rule: scan blocks of float64 gains v q, computed entry by
  entry, and keep the best; take greedy picks from this list while they are the best of
  all pairs; scan again;
- that rule with a guessed threshold, two steps on the way to ours: gains are scanned in
  float32, and what may be in the list is known beforehand by a sample of pairs. (What
  is left is ours: one bilinear form, items sorted by reward, blocks skipped.)
- a float64 scan for every pick, without a shortlist: timed over --naive-picks picks
  and scaled to the batch;
- a bare float32 product Φ Φᵀ over the blocks i <= j: the least that one look at all
  pairs costs.

--scope "within" or "across", of groups of --per-group items, is for our sides alone,
and so are more items than --max-straightforward.

Items are Gaussian, rewards linear in them with the given spread, M = I + information of
--past random pairs. All rules must make the same picks. Peak memory is what a rule adds
to a fresh process (Linux only). Judge a busy machine by ratios. Writes JSON and PNG.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from contextlib import contextmanager
from math import comb
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from skarm._information import fisher
from skarm._information.all_pairs import greedy_d_all_pairs
from skarm._information.all_pairs_v import greedy_v_all_pairs

BLOCK = 1024
#: Arguments that are not settings of a run.
HIDDEN = ("output", "memory_of", "name", "progress")
#: Pairs in a list: of 5,000 to 100,000, what suits each side best at 20,000 items.
SHORTLIST, GUESSED_SHORTLIST = 20_000, 100_000


def problem(n_items, args, seed=0):
    """Items, rewards and past information."""
    dim, n_past = args.dim, args.past
    g = torch.Generator().manual_seed(seed)
    embedding = torch.randn(n_items, dim, generator=g, dtype=torch.float64)
    rewards = embedding @ torch.randn(dim, generator=g, dtype=torch.float64)
    rewards *= args.spread / rewards.std()
    first = torch.randint(n_items, (n_past,), generator=g)
    second = (first + torch.randint(1, n_items, (n_past,), generator=g)) % n_items
    p = torch.sigmoid(rewards[first] - rewards[second])
    past = fisher.information(embedding, first, second, p * (1 - p))
    return embedding, rewards, torch.eye(dim, dtype=torch.float64) + past


def blocks(n_items):
    """Blocks i <= j of the items."""
    cuts = range(0, n_items, BLOCK)
    return [
        (slice(i, i + BLOCK), slice(j, j + BLOCK))
        for k, i in enumerate(cuts)
        for j in cuts[k:]
    ]


def bare_product(embedding, rewards, matrix, n_pairs):
    """One float32 product over the blocks i <= j; nothing is picked."""
    phi = embedding.float()
    out = torch.empty(BLOCK * BLOCK)
    for rows, columns in blocks(len(phi)):
        a, b = phi[rows], phi[columns]
        torch.mm(a, b.T, out=out[: len(a) * len(b)].view(len(a), len(b)))


def weights_of(rewards, first, second):
    """Bernoulli variances of pairs."""
    p = torch.sigmoid(rewards[first] - rewards[second])
    return p * (1 - p)


def block_gains(u, rewards, rows, columns):
    """Gains v q of a block."""
    a, b = u[rows], u[columns]
    e = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
    q = torch.addmm(e, a, b.T, alpha=-2)
    p = torch.sigmoid(rewards[rows, None] - rewards[columns])
    return p.mul_(1 - p).mul_(q)


def straightforward(embedding, rewards, matrix, n_pairs):
    """Block scans in float64 that keep a list of the best pairs."""

    def best_pairs(u, lower):
        best, codes = u.new_empty(0), torch.empty(0, dtype=torch.int64)
        for rows, columns in blocks(len(u)):
            gains = block_gains(u, rewards, rows, columns)
            if rows == columns:
                gains.triu_(1)
            width = gains.shape[1]
            gains, at = gains.flatten().topk(min(SHORTLIST, gains.numel()))
            found = (at // width + rows.start) * len(u) + at % width + columns.start
            best, codes = torch.cat([best, gains]), torch.cat([codes, found])
            best, kept = best.topk(min(SHORTLIST, len(best)))
            codes = codes[kept]
        return codes, float(best[-1])

    return greedy_from_lists(embedding, rewards, matrix, n_pairs, best_pairs)


def guessed_threshold(embedding, rewards, matrix, n_pairs):
    """Block scans in float32 for the pairs above a threshold, guessed from a sample."""
    n = len(embedding)
    g = torch.Generator().manual_seed(0)
    sample = torch.randint(n, (2, 200_000), generator=g)
    share = min(GUESSED_SHORTLIST / (n * (n - 1) / 2), 1.0)

    def pairs_above(u, lower):
        gains = weights_of(rewards, *sample)
        gains *= fisher.squared_lengths(embedding, *sample, lower)
        threshold = gains.quantile(1 - share).item()
        u32, r32, found = u.float(), rewards.float(), []
        for rows, columns in blocks(n):
            gains = block_gains(u32, r32, rows, columns)
            if rows == columns:
                gains.triu_(1)
            i, j = (gains > threshold * (1 - 1e-4)).nonzero(as_tuple=True)
            found.append((i + rows.start) * n + j + columns.start)
        return torch.cat(found), threshold

    return greedy_from_lists(embedding, rewards, matrix, n_pairs, pairs_above)


def greedy_from_lists(embedding, rewards, matrix, n_pairs, make_list):
    """Greedy picks from a list while they are the best of all pairs; a new list then.

    `make_list` gives pairs, and what gain all others are below.
    """
    matrix, n = matrix.clone(), len(embedding)
    pairs, gains, taken = [], [], torch.empty(0, dtype=torch.int64)
    while len(gains) < n_pairs:
        lower = fisher.factor(matrix)
        u = torch.linalg.solve_triangular(lower, embedding.T, upper=False).T
        codes, threshold = make_list(u.contiguous(), lower)
        codes = codes[~torch.isin(codes, taken)].sort().values
        first, second = codes // n, codes % n
        weights = weights_of(rewards, first, second)
        lengths = fisher.squared_lengths(embedding, first, second, lower)
        inverse = torch.cholesky_inverse(lower)
        while len(gains) < n_pairs:
            gain = weights * lengths
            k = gain.argmax()
            if gain[k] < threshold:
                break
            x = embedding[first[k]] - embedding[second[k]]
            z = inverse @ x
            shrink = weights[k] / (1 + gain[k])
            along = embedding @ z
            pairs.append([first[k].item(), second[k].item()])
            gains.append(torch.log1p(gain[k]).item())
            taken = torch.cat([taken, codes[k][None]])
            matrix += weights[k] * torch.outer(x, x)
            weights[k] = -1.0
            lengths = lengths - shrink * (along[first] - along[second]) ** 2
            inverse = inverse - shrink * torch.outer(z, z)
    return torch.tensor(pairs), gains


def scan_per_pick(embedding, rewards, matrix, n_pairs):
    """No shortlist: the best of a float64 scan of all blocks, for every pick."""
    matrix, n, taken, pairs = matrix.clone(), len(embedding), set(), []
    for _ in range(n_pairs):
        u = torch.linalg.solve_triangular(
            *(fisher.factor(matrix), embedding.T), upper=False
        ).T.contiguous()
        best = (-1.0, None)
        for rows, columns in blocks(n):
            gains = block_gains(u, rewards, rows, columns)
            if rows == columns:
                gains.triu_(1)
            for i, j in taken:
                if rows.start <= i < rows.stop and columns.start <= j < columns.stop:
                    gains[i - rows.start, j - columns.start] = -1.0
            k = int(gains.argmax())
            i, j = divmod(k, gains.shape[1])
            best = max(best, (float(gains[i, j]), (i + rows.start, j + columns.start)))
        i, j = best[1]
        taken.add(best[1])
        pairs.append(best[1])
        x = embedding[i] - embedding[j]
        p = torch.sigmoid(rewards[i] - rewards[j])
        matrix += p * (1 - p) * torch.outer(x, x)
    return torch.tensor(pairs), None


def ours_v(embedding, rewards, matrix, n_pairs, **rules):
    """Greedy V for the second moment of all differences."""
    target = 2 * torch.cov(embedding.T)
    return greedy_v_all_pairs(embedding, rewards, matrix, target, n_pairs, **rules)


SIDES = {
    "ours": greedy_d_all_pairs,
    "ours, V": ours_v,
    "straightforward": straightforward,
    "guessed threshold": guessed_threshold,
    "scan per pick": scan_per_pick,
    "bare product": bare_product,
}


#: Sides that know nothing of scopes, and are not run on the largest pools.
NAIVE = ("straightforward", "guessed threshold", "scan per pick")


@contextmanager
def rules_of(side, n_items, args):
    """Scope, groups and a bar of progress, for our sides."""
    if not side.startswith("ours"):
        yield {}
        return
    with tqdm(desc=side, unit="pair", delay=2, disable=not args.progress) as bar:

        def progress(n_done, n_total):
            bar.total = n_total
            bar.update(n_done - bar.n)

        groups = np.arange(n_items) // args.per_group
        yield {"scope": args.scope, "groups": groups, "progress": progress}


def peak_megabytes():
    """Peak of this process; ru_maxrss would start at that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def extra_memory(side, n_items, args):
    """Megabytes that a rule adds at its peak, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", side, "--items", str(n_items)]
    command += ["--dim", str(args.dim), "--batch", str(args.batch)]
    command += ["--threads", str(args.threads), "--spread", str(args.spread)]
    command += ["--past", str(args.past), "--scope", args.scope]
    command += ["--per-group", str(args.per_group)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(out.stdout)


def print_extra_memory(args):
    inputs = problem(args.items[0], args)
    SIDES[args.memory_of](*problem(100, args), 2)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = peak_megabytes()
    with rules_of(args.memory_of, args.items[0], args) as rules:
        SIDES[args.memory_of](*inputs, args.batch, **rules)
    print(peak_megabytes() - before)


def measure(n_items, args):
    """Medians of wall and CPU seconds of each side, and their ratios."""
    inputs = problem(n_items, args)
    sides = {side: SIDES[side] for side in args.sides}
    if n_items > args.max_straightforward or args.scope != "all":
        sides = {side: sides[side] for side in sides if side not in NAIVE}
    times = {side: [] for side in sides}
    picks = {}
    for _ in range(args.repeat):
        for side, rule in sides.items():
            is_naive = side == "scan per pick"
            n_pairs = min(args.naive_picks, args.batch) if is_naive else args.batch
            started = np.array([time.perf_counter(), time.process_time()])
            with rules_of(side, n_items, args) as rules:
                picks[side] = rule(*inputs, n_pairs, **rules)
            spent = np.array([time.perf_counter(), time.process_time()]) - started
            times[side].append(spent * (args.batch / n_pairs if is_naive else 1))
    within = np.unique(np.arange(n_items) // args.per_group, return_counts=True)[1]
    n_pairs = {"all": comb(n_items, 2), "within": sum(comb(int(n), 2) for n in within)}
    n_pairs["across"] = n_pairs["all"] - n_pairs["within"]
    row = {"items": n_items, "pairs": n_pairs[args.scope]}
    for side in sides:
        wall, cpu = np.median(times[side], axis=0)
        row[side] = {"wall": round(wall, 4), "cpu": round(cpu, 4)}
        if side in ("ours", "ours, V", "straightforward", "guessed threshold"):
            row[side]["extra_megabytes"] = round(extra_memory(side, n_items, args))
    for other in sides.keys() - {"ours", "ours, V"} if "ours" in sides else ():
        for clock in ("wall", "cpu"):
            a, b = row[other][clock], row["ours"][clock]
            name = f"{other} / ours" if other != "bare product" else f"ours / {other}"
            ratio = a / b if other != "bare product" else b / a
            row[f"{name}, {clock}"] = round(ratio, 2)
    naive = [picks[side][0] for side in NAIVE if side in sides]
    if "ours" in sides and naive:
        same = (torch.equal(picks["ours"][0][: len(pairs)], pairs) for pairs in naive)
        row["same picks"] = all(same)
    return row


def draw(rows, args, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for side in SIDES:
        shown = [row for row in rows if side in row]
        items = [row["items"] for row in shown]
        ax.loglog(items, [row[side]["wall"] for row in shown], "o-", label=side)
    what = f"{args.batch} greedy D-optimal picks, {args.scope} pairs, d = {args.dim}"
    ax.set(xlabel="items", ylabel="seconds", title=what)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--items", type=int, nargs="+", default=[2000, 5000, 10000, 20000])
    add("--dim", type=int, default=64)
    add("--batch", type=int, default=500)
    add("--repeat", type=int, default=3)
    add("--spread", type=float, default=1.5, help="standard deviation of the rewards")
    add("--past", type=int, default=1000, help="pairs already asked")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--max-straightforward", type=int, default=20000, help="items it is run at")
    add("--naive-picks", type=int, default=2)
    add("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    add("--scope", choices=["all", "within", "across"], default="all")
    add("--per-group", type=int, default=10, help="items in a group")
    add("--progress", action="store_true", help="show a bar for our sides")
    add("--name", default="speed_all_pairs", help="of the files written")
    add("--memory-of", choices=list(SIDES), help=argparse.SUPPRESS)
    add("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print_extra_memory(args)
        return
    for rule in SIDES.values():
        rule(*problem(1000, args), 5)  # warm
    rows = []
    for n_items in args.items:
        rows.append(measure(n_items, args))
        print(json.dumps(rows[-1]), flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    name = args.output / args.name
    settings = {k: v for k, v in vars(args).items() if k not in HIDDEN}
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, {args.threads} threads",
        "torch": torch.__version__,
        **settings,
        "rows": rows,
    }
    name.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    draw(rows, args, name.with_suffix(".png"))


if __name__ == "__main__":
    main()
