"""What a designed first batch is worth, before any answer: label-free rules and random.

    python benchmarks/first_batch.py --data FOLDER [--half reporting]

In the worlds of the label-efficiency study, each rule chooses 25, 50 or 100 pairs of
the same candidates without a model; the default model is fitted to their answers and
judged on unseen prompts. Prints the mean quality of random and each rule's paired
difference to it, with its standard error over seeds. Writes JSON and PNG.

What "auto" does in a cold start was chosen on the tuning half of the prompts.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from _timing import save
from joblib import Parallel, delayed
from label_efficiency.cells import _fit, _offer
from label_efficiency.config import N_CANDIDATES, WORLDS
from label_efficiency.worlds import make_world

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons

RULES = (
    *("random", "auto", "v_optimal", "greedy_d_optimal", "tournament_d_optimal"),
    *("reward_agnostic", "k_center", "xtx"),
)
NAMES = ("hand", "pca", "pca across", "text", "linear", "heavy tails", "digits")


def run(name, seed, args):
    """Quality after each batch, (n_rules, n_sizes)."""
    world = make_world(WORLDS[name], seed, args)
    rng = np.random.RandomState(seed)
    nothing = np.empty((0, 2), dtype=np.intp)
    offered = _offer(world, N_CANDIDATES, rng, nothing, None)
    table = np.empty((len(RULES), len(args.labels)))
    for row, rule in zip(table, RULES, strict=True):
        for k, n_pairs in enumerate(args.labels):
            sampler = ActiveComparisonSampler(rule, random_state=seed)
            pairs = offered.pairs[sampler.query(offered, n_pairs=n_pairs)]
            asked = Comparisons(world.items, pairs, groups=world.groups)
            model, _ = _fit(BradleyTerryRegressor(), asked, world.answer(pairs))
            row[k] = world.quality(model)
    return table


def draw(rows, args, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    middle = len(args.labels) // 2
    for k, rule in enumerate(RULES[1:]):
        shown = [row for row in rows if row["rule"] == rule]
        place = np.arange(len(worlds)) + (k - (len(RULES) - 2) / 2) * 0.11
        gains = [row["gain"][middle] for row in shown]
        errors = [row["standard error"][middle] for row in shown]
        ax.errorbar(place, gains, errors, fmt="o", ms=4, label=rule)
    ax.axhline(0, color="0.4", lw=1)
    ax.set(
        xticks=np.arange(len(worlds)),
        xticklabels=worlds,
        ylabel="quality less random's, ± s.e.",
        title=f"A first batch of {args.labels[middle]} pairs, {args.half} half",
    )
    ax.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("../shared/data"), help="folder of real data")
    add("--half", choices=["tuning", "reporting", "all"], default="reporting")
    add("--worlds", nargs="+", default=list(NAMES), choices=list(WORLDS))
    add("--labels", type=int, nargs="+", default=[25, 50, 100])
    add("--seeds", type=int, default=20)
    add("--jobs", type=int, default=2)
    add("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    args.features = args.data / "alpacaeval_public_features.npz"
    args.responses = args.data / "alpacaeval_public.jsonl.gz"
    rows = []
    for name in args.worlds:
        tables = np.array(
            Parallel(n_jobs=args.jobs)(
                delayed(run)(name, seed, args) for seed in range(args.seeds)
            )
        )
        print(f"{name}: random {tables[:, 0].mean(axis=0).round(3)}")
        for k, rule in enumerate(RULES[1:], 1):
            gain = tables[:, k] - tables[:, 0]
            error = gain.std(axis=0, ddof=1) / np.sqrt(args.seeds)
            print(f"  {rule:<22}{gain.mean(axis=0).round(3)} ± {error.round(3)}")
            rows.append(
                {
                    "world": name,
                    "rule": rule,
                    "random": tables[:, 0].mean(axis=0).round(4).tolist(),
                    "gain": gain.mean(axis=0).round(4).tolist(),
                    "standard error": error.round(4).tolist(),
                }
            )
    path = args.output / f"first_batch_{args.half}"
    hidden = ("data", "features", "responses", "output")
    save(path, {k: v for k, v in vars(args).items() if k not in hidden}, rows)
    draw(rows, args, path.with_suffix(".png"))
    print(json.dumps({"written": path.with_suffix(".json").name}))


if __name__ == "__main__":
    main()
