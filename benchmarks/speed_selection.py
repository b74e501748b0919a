"""Choosing from an explicit list of pairs: time and memory beside the peers.

    python benchmarks/speed_selection.py [--arm-fi PATH]

Two jobs, each with every side in one process, alternating, medians over --repeat:

- the paper's past-aware D-optimal rule, from inputs to picks: --pairs pairs over 2,000
  items of 2,048 features, a network of three 64-unit layers, 1,000 comparisons already
  asked. Ours is `ActiveComparisonSampler.query`, everything included. The peer is the
  authors' rule, from a checkout of theirs (--arm-fi PATH; github YunyiShen/ARM-FI) or,
  without one, the same computation written here: autograd through log det of a sum of
  (n_pairs, d, d) outer products. It is given the features of each pair, prebuilt;
- a greedy V-optimal batch from --candidates pairs, d = 64. The peer refreshes the gain
  of every candidate after every pick.

Both sides must make the same picks. Memory is what a side adds to a fresh process at
its peak (Linux). Judge a busy machine by ratios; the ratio is the smaller of the wall
and the CPU ratio. Writes JSON and PNG.
"""

import argparse
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from _timing import alternate, extra_megabytes, in_fresh_process, ratio, save

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm._information import fisher

N_ITEMS, N_FEATURES, N_PAST, N_PICKS = 2000, 2048, 1000, 100


# --------------------------------------------------------- the paper's rule, past-aware


def network_problem(n_pairs):
    """A pool, what was asked, and a fitted network."""
    rng = np.random.default_rng(0)
    items = rng.standard_normal((N_ITEMS, N_FEATURES)).astype(np.float32)
    past = Comparisons.random_pairs(items, N_PAST, random_state=1)
    gaps = past.differences() @ rng.standard_normal(N_FEATURES) / 20
    y = (rng.logistic(size=N_PAST) < gaps).astype(float)
    model = BradleyTerryRegressor(
        hidden_layer_sizes=(64, 64, 64), max_iter=20, validation_fraction=0
    )
    model.set_params(random_state=0).fit(past, y)
    return Comparisons.random_pairs(items, n_pairs, random_state=2), past, model


def ours(pool, past, model):
    sampler = ActiveComparisonSampler("past_aware_d_optimal", random_state=0)
    return sampler.query(pool, estimator=model, past=past, n_pairs=N_PICKS)


class Network(torch.nn.Module):
    """The same network in the form that the authors' rules take."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.coef = torch.as_tensor(model.coef_, dtype=torch.float32)

    def embd(self, x):
        layers = zip(
            self.model.hidden_coefs_, self.model.hidden_intercepts_, strict=True
        )
        for weight, bias in layers:
            weight, bias = (torch.as_tensor(a, dtype=x.dtype) for a in (weight, bias))
            x = torch.nn.functional.gelu(torch.nn.functional.linear(x, weight, bias))
        return x

    def lastlayer(self, x):
        return x @ self.coef


def autograd_rule(first, second, past_first, past_second, network, n_picks):
    """The gradient of log det in how often each pair is asked, by autograd."""
    with torch.no_grad():
        x = network.embd(first) - network.embd(second)
        past = network.embd(past_first) - network.embd(past_second)
        p, p_past = (torch.sigmoid(network.lastlayer(z)) for z in (x, past))
    times = torch.ones(len(x), requires_grad=True)
    outer = x[:, None, :] * x[:, :, None] * (p * (1 - p) * times)[:, None, None]
    outer_past = past[:, None, :] * past[:, :, None]
    matrix = outer.sum(dim=0) + 1e-6 * torch.eye(x.shape[1])
    matrix = matrix + (outer_past * (p_past * (1 - p_past))[:, None, None]).sum(dim=0)
    gradient = torch.autograd.grad(torch.logdet(matrix), times)[0]
    return None, None, torch.topk(gradient, n_picks).indices


def authors_rule(path):
    """The authors' own function; their compiled coreset package is not needed."""
    for name in ("coresets", "coresets.algorithms"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["coresets.algorithms"].construct_lr_coreset_with_kmeans = None
    file = Path(path) / "model" / "rules_pre_paired.py"
    spec = importlib.util.spec_from_file_location("rules_pre_paired", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pastaware_dopt_rule


def theirs(pool, past, model, path):
    """The peer with its inputs prebuilt: a call without arguments."""
    rule = authors_rule(path) if path else autograd_rule
    sides = [
        torch.as_tensor(np.ascontiguousarray(c.items[c.pairs[:, k]]))
        for c in (pool, past)
        for k in (0, 1)
    ]
    network = Network(model)
    return lambda: rule(*sides, network, N_PICKS)[2].numpy()


def measure_rule(n_pairs, args):
    pool, past, model = network_problem(n_pairs)
    sides = {
        "skarm": lambda: ours(pool, past, model),
        "peer": theirs(pool, past, model, args.arm_fi),
    }
    for call in sides.values():
        call()
    times, picks = alternate(sides, args.repeat)
    same = set(picks["skarm"].tolist()) & set(picks["peer"].tolist())
    return {
        "job": "past-aware D-optimal",
        "pairs": n_pairs,
        "peer is": "the authors' rule" if args.arm_fi else "autograd, written here",
        **rounded(times),
        "ratio": round(ratio(times["peer"], times["skarm"]), 1),
        "same picks": f"{len(same)} of {N_PICKS}",
        **memory("rule", n_pairs, args),
    }


# ------------------------------------------------------------------------- greedy V


def v_problem(n_pairs, d=64):
    g = torch.Generator().manual_seed(0)
    n_items = max(n_pairs // 5, 2000)
    embedding = torch.randn(n_items, d, generator=g, dtype=torch.float64)
    rewards = embedding @ torch.randn(d, generator=g, dtype=torch.float64) / d**0.5
    first = torch.randint(n_items, (n_pairs,), generator=g)
    second = (first + torch.randint(1, n_items, (n_pairs,), generator=g)) % n_items
    p = torch.sigmoid(rewards[first] - rewards[second])
    target = fisher.second_moment(embedding, first, second)
    return embedding, first, second, p * (1 - p), torch.eye(d).double(), target


def refresh(embedding, first, second, weights, matrix, target, n_picks):
    """Greedy V: both quadratic forms of every candidate afresh after every pick."""
    matrix, picks = matrix.clone(), []
    x = embedding[first] - embedding[second]
    closed = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(n_picks):
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        image = x @ inverse
        a = (image * x).sum(dim=1)
        b = ((image @ target) * image).sum(dim=1)
        gain = (weights * b / (1 + weights * a)).masked_fill_(closed, -1.0)
        k = int(gain.argmax())
        closed[k] = True
        picks.append(k)
        matrix += weights[k] * torch.outer(x[k], x[k])
    return picks


def measure_v(n_picks, args):
    """The peer is timed over --naive-picks picks, and scaled: each costs the same."""
    problem = v_problem(args.candidates)
    n_naive = min(args.naive_picks, n_picks)
    sides = {
        "skarm": lambda: fisher.greedy_v(*problem, n_picks)[0],
        "peer": lambda: refresh(*problem, n_naive),
    }
    sides["skarm"]()
    times, picks = alternate(sides, args.repeat)
    for clock in times["peer"]:
        times["peer"][clock] *= n_picks / n_naive
    return {
        "job": "greedy V",
        "pairs": args.candidates,
        "batch": n_picks,
        "peer is": f"every gain refreshed; timed over {n_naive} picks, scaled",
        **rounded(times),
        "ratio": round(ratio(times["peer"], times["skarm"]), 1),
        "same picks": bool(picks["peer"] == picks["skarm"][:n_naive]),
        **memory("v", args.candidates, args),
    }


# ---------------------------------------------------------------------------- record


def rounded(times):
    return {
        side: {clock: round(seconds, 4) for clock, seconds in spent.items()}
        for side, spent in times.items()
    }


def memory(job, n_pairs, args):
    """Extra megabytes of each side, each in a process of its own."""
    known = ["--pairs", n_pairs, "--candidates", n_pairs, "--threads", args.threads]
    known += ["--arm-fi", args.arm_fi] if args.arm_fi else []
    found = {
        side: in_fresh_process(__file__, "--memory-of", f"{job}:{side}", *known)
        for side in ("skarm", "peer")
    }
    return {f"extra megabytes, {side}": round(value) for side, value in found.items()}


def print_memory(args):
    job, side = args.memory_of.split(":")
    n_pairs = args.pairs[0]
    if job == "rule":
        small, pool = network_problem(2000), network_problem(n_pairs)
        run = (lambda p: ours(*p)) if side == "skarm" else None
        call = theirs(*pool, args.arm_fi) if side == "peer" else lambda: run(pool)
        warm = theirs(*small, args.arm_fi) if side == "peer" else lambda: run(small)
    else:
        problem, small = v_problem(n_pairs), v_problem(3000)
        rule = fisher.greedy_v if side == "skarm" else refresh
        call, warm = lambda: rule(*problem, 3), lambda: rule(*small, 3)
    warm()
    print(json.dumps(extra_megabytes(call)))


def draw(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
    labels = [
        f"{row['job']}\n{row['pairs']:,} pairs"
        + (f", batch {row['batch']}" if "batch" in row else "")
        for row in rows
    ]
    place = np.arange(len(rows))
    for shift, side in ((-0.2, "peer"), (0.2, "skarm")):
        ax.barh(place + shift, [row[side]["wall"] for row in rows], 0.38, label=side)
    for k, row in enumerate(rows):
        ax.text(row["peer"]["wall"], k - 0.2, f" {row['ratio']:g}×", va="center")
    ax.set(xscale="log", xlabel="seconds", yticks=place, yticklabels=labels)
    ax.set_title("Choosing pairs from a list")
    ax.margins(x=0.15)
    ax.invert_yaxis()
    ax.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pairs", type=int, nargs="+", default=[20_000, 100_000])
    add("--candidates", type=int, default=100_000)
    add("--batches", type=int, nargs="*", default=[100, 500])
    add("--arm-fi", type=Path, help="checkout of the authors' repository")
    add("--naive-picks", type=int, default=10)
    add("--repeat", type=int, default=5)
    add("--threads", type=int, default=torch.get_num_threads())
    add("--memory-of", help=argparse.SUPPRESS)
    add("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print_memory(args)
        return
    rows = []
    for job, sizes in ((measure_rule, args.pairs), (measure_v, args.batches)):
        for size in sizes:
            rows.append(job(size, args))
            print(json.dumps(rows[-1]), flush=True)
    settings = {k: v for k, v in vars(args).items() if k not in ("output", "memory_of")}
    settings["arm_fi"] = bool(args.arm_fi)
    save(args.output / "speed_selection", settings, rows)
    draw(rows, args.output / "speed_selection.png")


if __name__ == "__main__":
    main()
