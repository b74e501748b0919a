"""What every strategy costs: one batch from many candidate pairs, time and memory.

    python benchmarks/speed_strategies.py --candidates 20000 --dim 64 --batch 100

Each registered strategy is timed as a user calls it, `ActiveComparisonSampler.query` on
a fitted linear model with its past, everything included; of the default also the choice
alone, variances and information being there. Where they are installed, the peers run in
the same process, in turn with ours:

- scikit-activeml's CoreSet, Badge and BatchBALD (ten bagged logistic regressions) on
  the same difference vectors, their models fitted beforehand;
- BoTorch's PairwiseGP, fitted to --gp comparisons among --gp items of that dimension:
  what a Gaussian-process user pays before anything is chosen. Ours beside it are a fit
  to as many comparisons, the posterior included (another model: only what it costs),
  and that fit and a query together.

Rules slower than --slow seconds are run once, the others --repeat times, the median
counts. Peak memory is what a query adds to a fresh process (Linux only). Judge a busy
machine by ratios. Writes JSON and PNG.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from _timing import alternate, extra_megabytes, in_fresh_process, ratio, save
from sklearn.linear_model import LogisticRegression

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm._pool_design import make_design
from skarm.strategies import AUTO, get_strategy, get_strategy_names

PEERS = ("CoreSet", "Badge", "BatchBALD", "PairwiseGP")


def problem(args, seed=0):
    """A pool with groups of ten, comparisons asked before, and the model of them."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((args.items, args.dim))
    groups = np.arange(args.items) // 10
    pool = Comparisons.random_pairs(items, args.candidates, random_state=seed)
    pool = Comparisons(items, pool.pairs, groups=groups)
    past = Comparisons.random_pairs(items, args.past, random_state=seed + 1)
    past = Comparisons(items, past.pairs, groups=groups)
    truth = 1.5 * rng.standard_normal(args.dim) / np.sqrt(2 * args.dim)
    y = (rng.logistic(size=args.past) < past.differences() @ truth).astype(float)
    return pool, past, y, BradleyTerryRegressor().fit(past, y)


def query(strategy, args, pool, past, model):
    sampler = ActiveComparisonSampler(strategy, random_state=0)
    return sampler.query(pool, estimator=model, past=past, n_pairs=args.batch)


def activeml_sides(args, pool, past, y):
    """Calls of scikit-activeml's rules, by name; none where it is not installed."""
    try:
        from skactiveml.classifier import SklearnClassifier
        from skactiveml.pool import Badge, BatchBALD, CoreSet
    except ImportError:
        return {}
    x, asked = pool.differences(), past.differences()
    y = y.astype(int)

    def fitted(rows):
        head = LogisticRegression(fit_intercept=False)
        return SklearnClassifier(head, classes=[0, 1]).fit(asked[rows], y[rows])

    one = fitted(np.arange(len(y)))
    rng = np.random.default_rng(0)
    bagged = [fitted(rng.integers(0, len(y), len(y))) for _ in range(10)]
    given = {"candidates": x, "batch_size": args.batch}

    def core_set():
        everything = np.vstack([asked, x])
        labels = np.append(y.astype(float), np.full(len(x), np.nan))
        return CoreSet(random_state=0).query(everything, labels, batch_size=args.batch)

    def badge():
        return Badge(random_state=0).query(asked, y, one, fit_clf=False, **given)

    def batch_bald():
        rule = BatchBALD(random_state=0)
        return rule.query(asked, y, bagged, fit_ensemble=False, **given)

    return {"CoreSet": core_set, "Badge": badge, "BatchBALD": batch_bald}


def gaussian_process_side(args):
    """A call that fits BoTorch's PairwiseGP, or none where it is not installed."""
    try:
        from botorch.fit import fit_gpytorch_mll
        from botorch.models.pairwise_gp import (
            PairwiseGP,
            PairwiseLaplaceMarginalLogLikelihood,
        )
    except ImportError:
        return {}
    rng = np.random.default_rng(0)
    items = torch.as_tensor(rng.random((args.gp, args.dim)))
    values = items @ torch.as_tensor(rng.standard_normal(args.dim))
    first = rng.integers(0, args.gp, args.gp)
    second = (first + rng.integers(1, args.gp, args.gp)) % args.gp
    wins = (values[first] > values[second]).numpy()
    pairs = np.where(wins[:, None], np.c_[first, second], np.c_[second, first])

    def fit():
        model = PairwiseGP(items, torch.as_tensor(pairs))
        mll = PairwiseLaplaceMarginalLogLikelihood(model.likelihood, model)
        fit_gpytorch_mll(mll)
        return model

    return {"PairwiseGP": fit}


def measure(args):
    """Rows of seconds, of rules and peers, and their ratios."""
    pool, past, y, model = problem(args)
    names = args.strategies or get_strategy_names()
    calls = {name: lambda n=name: query(n, args, pool, past, model) for name in names}
    calls["fit"] = lambda: model_of(args, past, y)
    calls["fit and query"] = lambda: query(
        AUTO, args, pool, past[: args.gp], model_of(args, past, y)
    )
    calls["choice alone"] = choice_side(args, pool, past, model)
    if not args.no_peers:
        calls |= activeml_sides(args, pool, past, y) | gaussian_process_side(args)
    first = {}
    for name, call in calls.items():  # warm, and see who is slow
        first |= alternate({name: call}, 1)[0]
        print(f"{name}: {first[name]['wall']:.3f} s", flush=True)
    quick = {name: calls[name] for name in calls if first[name]["wall"] < args.slow}
    times = first | alternate(quick, args.repeat)[0]
    rows = []
    for name, spent in times.items():
        row = {"name": name, "of": "a peer" if name in PEERS else "skarm", **spent}
        if name in names:
            row["megabytes"] = round(memory_of(name, args))
        rows.append(row)
    return rows, ratios(times)


def choice_side(args, pool, past, model):
    """The default's choice by itself, of a design that has been read before."""
    design = make_design(pool, np.arange(len(pool)), model, past=past)
    strategy = get_strategy(AUTO)
    return lambda: strategy(design, args.batch, rng=np.random.RandomState(0))


def model_of(args, past, y):
    return BradleyTerryRegressor().fit(past[: args.gp], y[: args.gp])


def ratios(times):
    """How many times faster our default is than each peer, and rule beside rule."""
    beside = [(peer, ours) for ours in (AUTO, "choice alone") for peer in PEERS[:3]]
    beside += [("PairwiseGP", "fit"), ("PairwiseGP", "fit and query")]
    beside += [("CoreSet", "k_center"), ("Badge", "badge"), ("BatchBALD", "batch_bald")]
    return {
        f"{peer} / {ours}": round(ratio(times[peer], times[ours]), 1)
        for peer, ours in beside
        if {peer, ours} <= times.keys()
    }


def memory_of(name, args):
    """Megabytes that a query adds, in a process of its own."""
    sizes = [f"--{key}={getattr(args, key)}" for key in SIZES]
    return in_fresh_process(__file__, "--memory-of", name, *sizes)


def print_memory(args):
    pool, past, _, model = problem(args)
    small = argparse.Namespace(**{**vars(args), "batch": 2})
    query(args.memory_of, small, pool[:500], past, model)  # warm
    print(
        json.dumps(
            extra_megabytes(lambda: query(args.memory_of, args, pool, past, model))
        )
    )


def draw(rows, args, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = sorted(rows, key=lambda row: row["wall"])
    colors = {"a peer": "#b0b0b0", "skarm": "#1b6ca8"}
    figure, ax = plt.subplots(figsize=(8, 0.26 * len(rows) + 1), layout="constrained")
    ax.barh(
        [row["name"] for row in rows],
        [row["wall"] for row in rows],
        color=[colors[row["of"]] for row in rows],
        height=0.7,
    )
    for k, row in enumerate(rows):
        memory = f", {row['megabytes']} MB" if "megabytes" in row else ""
        ax.text(
            row["wall"] * 1.06, k, f"{row['wall']:.3g} s{memory}", va="center", size=8
        )
    ax.set(
        xscale="log",
        xlabel="seconds",
        title=f"{args.batch} of {args.candidates:,} pairs, d = {args.dim}",
    )
    ax.margins(x=0.25, y=0.01)
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in colors.values()]
    ax.legend(handles, ["scikit-activeml, BoTorch", "skarm"], loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


SIZES = ("candidates", "items", "dim", "batch", "past", "threads")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--candidates", type=int, default=20000)
    add("--items", type=int, default=2000)
    add("--dim", type=int, default=64)
    add("--batch", type=int, default=100)
    add("--past", type=int, default=1000, help="comparisons already asked")
    add("--gp", type=int, default=500, help="comparisons that PairwiseGP is fitted to")
    add("--repeat", type=int, default=5)
    add("--slow", type=float, default=2.0, help="seconds above which to run once")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--strategies", nargs="+", help="instead of all")
    add("--no-peers", action="store_true")
    add("--memory-of", help=argparse.SUPPRESS)
    add("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print_memory(args)
        return
    for name in args.strategies or ():
        get_strategy(name)  # raises with the names there are
    rows, found = measure(args)
    for row in rows:
        print(json.dumps(row))
    print(json.dumps(found, indent=1))
    path = args.output / "speed_strategies"
    hidden = ("output", "memory_of", "strategies")
    settings = {key: value for key, value in vars(args).items() if key not in hidden}
    save(path, {**settings, "times faster": found}, rows)
    draw(rows, args, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
