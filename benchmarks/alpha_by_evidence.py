"""Is alpha="auto" as good as the best fixed alpha, and are other priors better?

    python benchmarks/alpha_by_evidence.py --features FILE.npz --key X_pca

The file holds features under --key, and `prompt_id`, `model` and a reward column, one
row per response. Prompts are split into training and test; random within-prompt pairs
of training prompts are answered with P = sigmoid(reward difference / temperature).
Prints the Spearman correlation within test prompts, mean over seeds, for a normal prior
with each fixed alpha and with "auto", the gap of "auto" to the best fixed alpha in
hindsight, and what is gained over "auto" by Student's t prior (no groups given), and by
the default, which also knows how responses to a prompt differ. Writes JSON and PNG next
to each other.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.preprocessing import StandardScaler

from skarm import BradleyTerryRegressor, Comparisons
from skarm.annotators import SimulatedAnnotator
from skarm.metrics import grouped_spearman

ALPHAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)


def run(seed, X, groups, reward, args):
    """Spearman on test prompts, (n_labels, n_alphas + 3), and the alphas chosen."""
    rng = np.random.RandomState(seed)
    prompts = rng.permutation(np.unique(groups))
    test = np.isin(groups, prompts[: args.test_prompts])
    train = np.isin(groups, prompts[args.test_prompts :][: args.train_prompts])
    scaler = StandardScaler().fit(X[train])
    items, unseen = scaler.transform(X[train]), scaler.transform(X[test])
    pairs = Comparisons.random_pairs(
        *(items, max(args.labels)),
        groups=groups[train],
        scope="within",
        random_state=rng,
    )
    annotator = SimulatedAnnotator(
        reward[train], temperature=args.temperature, random_state=seed
    )
    y = annotator(pairs)
    table, chosen = [], []
    for n in args.labels:
        models = [
            *(BradleyTerryRegressor(alpha=alpha, prior="normal") for alpha in ALPHAS),
            *(BradleyTerryRegressor(prior=p) for p in ("normal", "student_t")),
        ]
        alone = Comparisons(items, pairs[:n].pairs)
        predicted = [model.fit(alone, y[:n]).predict(unseen) for model in models]
        predicted += [BradleyTerryRegressor().fit(pairs[:n], y[:n]).predict(unseen)]
        judged = dict(groups=groups[test])
        table.append([grouped_spearman(reward[test], p, **judged) for p in predicted])
        chosen.append(models[-2].alpha_)
    return table, chosen


def draw(args, mean, error, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for n, row, se in zip(args.labels, mean, error, strict=True):
        (line,) = ax.semilogx(ALPHAS, row[:-3], "o-", ms=4, label=f"{n} labels")
        color = line.get_color()
        styles = (":", "--", "-")
        for value, error, style in zip(row[-3:], se[-3:], styles, strict=True):
            ax.axhline(value, color=color, ls=style, lw=1.2)
            ax.axhspan(value - error, value + error, color=color, alpha=0.12, lw=0)
    ax.set(
        xlabel="fixed alpha",
        ylabel="Spearman within unseen prompts",
        title=f'{args.key}: fixed alpha, "auto" (dotted), t (dashed), default; ± s.e.',
    )
    ax.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--features", type=Path, required=True)
    add("--key", default="X_pca")
    add("--reward", default="golden_wide")
    add("--baseline", default="gpt4_1106_preview", help="model to leave out")
    add("--temperature", type=float, default=3.0)
    add("--labels", type=int, nargs="+", default=[100, 300, 1000])
    add("--seeds", type=int, default=20)
    add("--train-prompts", type=int, default=300)
    add("--test-prompts", type=int, default=100)
    add("--jobs", type=int, default=2)
    add("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()

    with np.load(args.features, allow_pickle=False) as data:
        keep = data["model"].astype(str) != args.baseline
        X = data[args.key][keep].astype(np.float64)
        groups = data["prompt_id"][keep].astype(str)
        reward = data[args.reward][keep].astype(np.float64)
    started = time.time()
    results = Parallel(n_jobs=args.jobs)(
        delayed(run)(seed, X, groups, reward, args) for seed in range(args.seeds)
    )
    tables = np.array([table for table, _ in results])
    chosen = np.array([alphas for _, alphas in results])
    mean = tables.mean(axis=0)
    error = tables.std(axis=0, ddof=1) / np.sqrt(args.seeds)
    gap = mean[:, :-3].max(axis=1) - mean[:, -3]
    gain = tables[..., -2:] - tables[..., -3, None]
    gain_error = gain.std(axis=0, ddof=1) / np.sqrt(args.seeds)
    gain = gain.mean(axis=0)

    print(f"{args.key}, T = {args.temperature:g}, {args.seeds} seeds, Spearman")
    print(
        "labels "
        + "".join(f"{a:>8g}" for a in ALPHAS)
        + "    auto       t default  (alpha)    gap   t gains          default gains"
    )
    rows = zip(args.labels, mean, chosen.T, gap, gain, gain_error, strict=True)
    for n, row, alphas, lost, more, se in rows:
        cells = "".join(f"{value:8.3f}" for value in row)
        print(f"{n:>6} {cells} {np.median(alphas):8.0f} {lost:+6.3f}", end="")
        print("".join(f"  {m:+6.3f} ± {e:.3f}" for m, e in zip(more, se, strict=True)))

    args.output.mkdir(parents=True, exist_ok=True)
    name = args.output / f"alpha_by_evidence_{args.key}"
    name.with_suffix(".json").write_text(
        json.dumps(
            {
                "date": time.strftime("%Y-%m-%d"),
                "hardware": f"{platform.machine()}, {args.jobs} processes",
                "seconds": round(time.time() - started),
                "features": args.features.name,
                **{
                    k: v
                    for k, v in vars(args).items()
                    if k not in ("features", "output")
                },
                "alphas": list(ALPHAS),
                "mean": mean.round(4).tolist(),
                "standard_error": error.round(4).tolist(),
                "alpha_chosen": np.median(chosen, axis=0).round(1).tolist(),
                "gap_to_best_fixed": gap.round(4).tolist(),
                "gains_of_student_t_and_default": gain.round(4).tolist(),
                "their_standard_errors": gain_error.round(4).tolist(),
            },
            indent=1,
        )
        + "\n"
    )
    draw(args, mean, error, name.with_suffix(".png"))


if __name__ == "__main__":
    main()
