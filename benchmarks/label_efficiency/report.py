"""From the tidy table of cells to a report: tables in Markdown, and plots."""

import re

import numpy as np
import pandas as pd

from label_efficiency.cells import CEILING
from skarm.metrics import label_savings

__all__ = ["compare", "markdown", "plots"]

MAIN = "skarm"
COLUMNS = (
    *("world", "strategy", "seeds", "first", "last", "area", "gain", "low", "high"),
    *("labels", "labels_low", "labels_high", "of", "seconds"),
)
#: A strategy that has run on fewer seeds than this is not shown yet.
SHOWN_SEEDS = 4
DRAWN = ("random", "auto", "greedy_d_optimal", "v_optimal", "d_optimal", "entropy")


def curves(table, world, recipe, strategy):
    """Qualities (n_seeds, n_rounds) as a frame: seeds by labels."""
    rows = table.query("world == @world and recipe == @recipe")
    rows = rows[rows.strategy == strategy]
    return rows.pivot(index="seed", columns="n_labels", values="quality").dropna()


def ceiling(table, world):
    """Mean quality of the fit on very many labels, or None; their number varies."""
    rows = table[(table.world == world) & (table.strategy == CEILING)]
    return rows.quality.mean() if len(rows) else None


def compare(table, recipe=MAIN):
    """Every strategy beside random in every world, a frame."""
    found = []
    cells = table[(table.recipe == recipe) & (table.strategy != CEILING)]
    for (world, strategy), rows in cells.groupby(["world", "strategy"], sort=False):
        ours = curves(table, world, recipe, strategy)
        base = curves(table, world, recipe, "random")
        seeds = ours.index.intersection(base.index)
        if len(seeds) < max(2, min(SHOWN_SEEDS, len(base))):
            continue
        labels = ours.columns.intersection(base.columns)
        both = ours.loc[seeds, labels].to_numpy(), base.loc[seeds, labels].to_numpy()
        saved = label_savings(*both, n_labels=labels.to_numpy())
        found.append(
            dict(
                world=world,
                strategy=strategy,
                seeds=len(seeds),
                first=both[0][:, 0].mean(),
                last=both[0][:, -1].mean(),
                area=saved.area,
                gain=saved.area_difference,
                low=saved.area_interval[0],
                high=saved.area_interval[1],
                labels=saved.labels,
                labels_low=saved.labels_interval[0],
                labels_high=saved.labels_interval[1],
                of=labels[-1],
                seconds=rows.query_seconds.mean(),
            )
        )
    return pd.DataFrame(found, columns=COLUMNS)


def ranks(found):
    """Mean rank by gain over the worlds that every strategy has, best first.

    The gain is paired with random, so strategies that have fewer seeds so far compare.
    """
    if not len(found):
        return pd.DataFrame(), []
    wide = found.pivot(index="world", columns="strategy", values="gain")
    wide = wide.loc[:, wide.notna().mean() == wide.notna().mean().max()].dropna()
    rank = wide.rank(axis=1, ascending=False)
    seconds = found.groupby("strategy").seconds.mean()
    summary = pd.DataFrame(
        {
            "mean rank": rank.mean(),
            "mean gain": wide.mean(),
            "worst gain": wide.min(),
            "worst world": wide.idxmin(),
            "query s": seconds[rank.columns],
        }
    )
    return summary.sort_values("mean rank"), list(wide.index)


def checks(found, table):
    """What the project set out to reach, and whether it did; (claim, figures, met)."""
    lines = []
    auto = found[found.strategy == "auto"].set_index("world")
    if len(auto):
        low = auto.low.min()
        where = auto.low.idxmin()
        lines.append(
            (
                "auto: lower 95 % bound of the area gain over random above -0.005 in "
                "every world",
                f"lowest {low:+.4f} ({where})",
                low > -0.005,
            )
        )
        limits = {"hand": 500, "pca": 500, "linear": 400, "duplicated": 400}
        for world, limit in limits.items():
            if world in auto.index:
                row = auto.loc[world]
                lines.append(
                    (
                        f"auto: random's final quality with at most {limit} labels in "
                        f"{world}",
                        f"{_labels(row.labels)} ({_labels_interval(row)})",
                        bool(row.labels <= limit),
                    )
                )
        summary, _ = ranks(found)
        if "auto" in summary.index:
            lines.append(
                (
                    "auto: best mean rank of all strategies",
                    f"{1 + list(summary.index).index('auto')} of {len(summary)}",
                    summary.index[0] == "auto",
                )
            )
    for world in ("hand", "pca", "text"):
        paper = curves(table, world, "paper", "d_optimal")
        ours = curves(table, world, MAIN, "auto")
        seeds = paper.index.intersection(ours.index)
        if len(seeds):
            target, mean = paper.loc[seeds].iloc[:, -1].mean(), ours.loc[seeds].mean()
            reached = mean.index[mean >= target]
            figure = f"{reached[0]}" if len(reached) else "never"
            lines.append(
                (
                    f"{world}: the paper's recipe with d_optimal at "
                    f"{paper.columns[-1]} labels ({target:.3f}, {len(seeds)} seeds) "
                    "with at most 200",
                    figure,
                    bool(len(reached) and reached[0] <= 200),
                )
            )
    return lines


def markdown(table, setting):
    """The report."""
    found = compare(table)
    summary, common = ranks(found)
    out = [
        "# Label efficiency: what the study found",
        "",
        "Written by `python benchmarks/study_label_efficiency.py --report-only` from "
        "`cells.parquet`; do not edit. " + setting,
        "",
        "Quality is the rank correlation of rewards within unseen prompts (accuracy on "
        "unseen comparisons where answers are recorded). Gain is the area under the "
        "learning curve minus random's, paired over seeds, with a 95 % bootstrap "
        "interval over seeds. Labels are those after which the mean curve reaches "
        "random's final quality. The first round is chosen before there is a model: by "
        "the strategy, if it needs none, else at random, and at random in the paper's "
        "recipe. Best of 10 is the true reward of the response that the model takes "
        "for the best of ten to an unseen prompt, 0 being the mean of all responses to "
        "it and 1 the best. The ceiling is the fit on 20,000 random labels, or on all.",
        "",
        "## Set out to reach",
        "",
        "| goal | found | met |",
        "| --- | --- | --- |",
        *(
            f"| {a} | {b} | {'yes' if c else '**no**'} |"
            for a, b, c in checks(found, table)
        ),
        "",
        "![learning curves](curves.png)",
        "",
        "## Strategies over worlds",
        "",
        f"Over {len(common)} worlds: {', '.join(common)}.",
        "",
        _table(
            summary,
            {
                "mean rank": "{:.1f}",
                "mean gain": "{:+.4f}",
                "worst gain": "{:+.4f}",
                "query s": "{:.3f}",
            },
        ),
        "",
        "## World by world",
        "",
    ]
    floor = (
        compare(table, "length only") if "length only" in set(table.recipe) else None
    )
    for world in dict.fromkeys(found.world):
        rows = found[found.world == world].sort_values("gain", ascending=False)
        notes = []
        best = ceiling(table, world)
        if best is not None:
            notes.append(f"ceiling {best:.3f}")
        if floor is not None and world in set(floor.world):
            last = floor[floor.world == world]["last"].iloc[0]
            notes.append(f"length alone {last:.3f}")
        last_labels = int(rows.of.iloc[0])
        out += (
            [f"### {world}", "", "; ".join(notes), ""]
            if notes
            else [f"### {world}", ""]
        )
        out += [
            f"| strategy | seeds | round 1 | at {last_labels} | gain | 95 % | labels "
            "| 95 % |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for r in rows.itertuples():
            out.append(
                f"| {r.strategy} | {r.seeds} | {r.first:.3f} | {r.last:.3f} | "
                f"{r.gain:+.4f} | {r.low:+.4f} … {r.high:+.4f} | {_labels(r.labels)} | "
                f"{_labels_interval(r)} |"
            )
        out.append("")
    for recipe in sorted(set(table.recipe) - {MAIN, "length only"}, key=_natural):
        rows = compare(table, recipe)
        if len(rows):
            out += [f"## Recipe: {recipe}", ""]
            out += _recipe_table(rows, table, recipe)
            out.append("")
    return "\n".join(out) + "\n"


def _labels(number):
    """A number of labels, or that there is none."""
    return f"{number:.0f}" if np.isfinite(number) else "never"


def _labels_interval(row):
    return f"{_labels(row.labels_low)} … {_labels(row.labels_high)}"


def _natural(name):
    """Numbers in a name by their size."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def beside_main(table, world, recipe, strategy):
    """Area under a recipe's curve less the main recipe's, and its interval, or None."""
    ours = curves(table, world, recipe, strategy)
    main = curves(table, world, MAIN, strategy)
    seeds = ours.index.intersection(main.index)
    if len(seeds) < 2 or not ours.columns.equals(main.columns):
        return None
    both = ours.loc[seeds].to_numpy(), main.loc[seeds].to_numpy()
    saved = label_savings(*both, n_labels=ours.columns.to_numpy())
    return saved.area_difference, *saved.area_interval


def _recipe_table(rows, table, recipe):
    """Strategies of a recipe beside random; with the best of n, where that was kept.

    And beside the main recipe, where rounds are the same.
    """
    cells = table[table.recipe == recipe]
    names = ["world", "strategy", "seeds", "at the end", "gain", "95 %", "labels"]
    beside = [
        beside_main(table, r.world, recipe, r.strategy) for r in rows.itertuples()
    ]
    if any(beside):
        names += [f"over {MAIN}", "95 %"]
    best = None
    if "best_of" in cells and cells.best_of.notna().any():
        names.append("best of 10")
        last = cells[cells.n_labels == cells.n_labels.max()]
        best = last.groupby(["world", "strategy"]).best_of.mean()
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    for r, more in zip(rows.itertuples(), beside, strict=True):
        interval = f"{r.low:+.4f} … {r.high:+.4f}"
        line = f"{r.world} | {r.strategy} | {r.seeds} | {r.last:.3f} | {r.gain:+.4f}"
        line += f" | {interval} | {_labels(r.labels)}"
        if more:
            line += " | {:+.4f} | {:+.4f} … {:+.4f}".format(*more)
        if best is not None:
            line += f" | {best[r.world, r.strategy]:.3f}"
        lines.append(line)
    return [f"| {line} |" for line in lines]


def _table(frame, formats):
    """A frame as Markdown."""
    head = ["strategy", *frame.columns]
    lines = [
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---" for _ in head) + " |",
    ]
    for name, row in frame.iterrows():
        cells = [formats.get(c, "{}").format(row[c]) for c in frame.columns]
        lines.append("| " + " | ".join([str(name), *cells]) + " |")
    return "\n".join(lines)


def plots(table, folder):
    """Learning curves of the drawn strategies, a panel per world, seed bands."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    main = table[(table.recipe == MAIN) & (table.strategy != CEILING)]
    worlds = list(dict.fromkeys(main.world))
    if not worlds:
        return
    n_columns = min(4, len(worlds))
    n_rows = -(-len(worlds) // n_columns)
    figure, axes = plt.subplots(
        *(n_rows, n_columns),
        figsize=(3.2 * n_columns, 2.6 * n_rows),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat[len(worlds) :]:
        ax.axis("off")
    colors = dict(zip(DRAWN, ("0.3", "C3", "C0", "C1", "C2", "C4"), strict=True))
    for ax, world in zip(axes.flat, worlds, strict=False):
        for strategy in DRAWN:
            random = curves(table, world, MAIN, "random")
            found = curves(table, world, MAIN, strategy)
            found = found.loc[found.index.isin(random.index)]
            if len(found) < max(2, min(SHOWN_SEEDS, len(random))):
                continue
            # Random's curve and the paired difference to it, where seeds are fewer.
            error = found.sem()
            mean = random.mean() + (found - random.loc[found.index]).mean()
            wide = 2.2 if strategy in ("auto", "random") else 1.1
            label = strategy if ax is axes.flat[0] else None
            ax.plot(mean.index, mean, color=colors[strategy], lw=wide, label=label)
            if strategy in ("auto", "random"):
                band = mean - error, mean + error
                ax.fill_between(mean.index, *band, color=colors[strategy], alpha=0.15)
        best = ceiling(table, world)
        if best is not None:
            ax.axhline(best, color="0.7", ls=":", lw=1)
        ax.set_title(world, fontsize=9)
        ax.tick_params(labelsize=7)
    figure.supxlabel("labels", fontsize=9)
    figure.supylabel("quality on unseen prompts (± s.e.)", fontsize=9)
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize=8)
    figure.savefig(folder / "curves.png", dpi=90)
    plt.close(figure)
