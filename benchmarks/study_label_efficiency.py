"""Which strategy gets the most reward per label? A study over worlds and seeds.

    python benchmarks/study_label_efficiency.py --quick            # under ten minutes
    python benchmarks/study_label_efficiency.py --jobs 2           # all; resumes
    python benchmarks/study_label_efficiency.py --report-only      # tables and plots
    python benchmarks/study_label_efficiency.py --features FILE.npz --half all
    python benchmarks/study_label_efficiency.py --comparisons FILE.jsonl

`label_efficiency/config.py` says what is run. Cells that the output folder holds
already are not run again. --features takes arrays with one row per response:
`prompt_id`, `golden_wide` (the reward in log-odds), features under any key that starts
with X_, and optionally `model`. --comparisons takes rows with `prompt, chosen,
rejected`. Either replaces the worlds of the configuration.
"""

import argparse
import os
import sys
import time
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes share the cores

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from label_efficiency import report
from label_efficiency.cells import CEILING, run_cell
from label_efficiency.config import HALVES, QUICK, RECIPES, SEEDS, WORLDS

from skarm.strategies import get_strategy, get_strategy_names

AUTO = get_strategy("auto")
HERE = Path(__file__).resolve().parent
KEY = ["world", "recipe", "strategy", "seed"]
FIGURES = {"quality", "best_of", "alpha", "fit_seconds", "query_seconds"}


def worlds_of(args):
    """The worlds that the arguments ask for."""
    if args.comparisons:
        return {args.comparisons.name: dict(kind="comparisons")}
    if args.features_given:
        with np.load(args.features, allow_pickle=False) as data:
            n = len(data["prompt_id"])
            keys = [k for k in data.files if k.startswith("X_") and len(data[k]) == n]
        return {
            f"{args.features.stem} {key}": dict(
                kind="features", key=key, temperature=3.0
            )
            for key in keys
        }
    names = args.worlds or (QUICK["worlds"] if args.quick else list(WORLDS))
    return {name: WORLDS[name] for name in names}


def cells_of(args):
    """Every cell, one seed of all after the other, so that a part is balanced."""
    worlds = worlds_of(args)
    names = get_strategy_names()
    everything = ["auto", *(n for n in names if get_strategy(n) is not AUTO)]
    cells = []
    for seed, recipe_name in product(range(args.seeds), args.recipes or RECIPES):
        recipe = RECIPES[recipe_name]
        names = recipe["strategies"] or everything
        wanted = args.strategies or (QUICK["strategies"] if args.quick else names)
        if recipe["strategies"] is None:
            names = dict.fromkeys(["random", *wanted, CEILING])
        else:
            names = [name for name in names if name == "random" or name in wanted]
        for world, strategy in product(worlds, names):
            if args.own_worlds or world in recipe.get("worlds", worlds):
                cells.append(
                    (world, worlds[world], recipe_name, recipe, strategy, seed)
                )
    return cells


def main():
    args = parse()
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "cells.parquet"
    table = pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=KEY)
    if not args.report_only:
        done = set(map(tuple, table[KEY].drop_duplicates().to_numpy()))
        cells = [c for c in cells_of(args) if (c[0], c[2], c[4], c[5]) not in done]
        table = run(cells, table, path, args)
    text = report.markdown(table, setting_of(table))
    (args.output / "REPORT.md").write_text(text, encoding="utf-8")
    report.plots(table, args.output)
    print(text.split("## World by world")[0])


def run(cells, table, path, args):
    """Run cells, and write the table after every few."""
    started, size = time.time(), 16 * args.jobs
    with Parallel(n_jobs=args.jobs) as parallel:
        for start in range(0, len(cells), size):
            rows = parallel(
                delayed(attempt)(cell, args) for cell in cells[start : start + size]
            )
            new = pd.DataFrame([row for found in rows for row in found])
            table = pd.concat([table, new], ignore_index=True) if len(table) else new
            for column in FIGURES & set(table.columns):
                table[column] = table[column].astype(np.float32)
            table.to_parquet(path.with_suffix(".part"), compression="zstd")
            path.with_suffix(".part").replace(path)
            n_done = min(start + size, len(cells))
            spent = time.time() - started
            left = spent / n_done * (len(cells) - n_done)
            message = f"{n_done}/{len(cells)} cells, {spent:.0f} s, {left:.0f} s to go"
            print(message, file=sys.stderr, flush=True)
            if args.minutes and spent > 60 * args.minutes:
                break
    return table


def attempt(cell, args):
    """The rows of a cell; a strategy that cannot answer says so, and stops nothing."""
    try:
        return run_cell(*cell, args)
    except Exception as error:
        print(f"{cell[0]}, {cell[4]}, seed {cell[5]}: {error!r}", file=sys.stderr)
        return []


def setting_of(table):
    n_seeds = table[table.recipe == report.MAIN].seed.nunique()
    halves = sorted(set(table.half))
    which = "all prompts and models"
    if halves != ["all"]:
        which = f"the {' and '.join(halves)} half of prompts and models"
        which += " (mixed: models of both)"
    n_cells = len(table.drop_duplicates(KEY))
    return f"At most {n_seeds} seeds, {n_cells} cells; {which}."


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    add("--features", type=Path, help="FILE.npz instead of the configured worlds")
    add("--comparisons", type=Path, help="FILE.jsonl[.gz] instead of them")
    add("--half", choices=[*HALVES, "all"], help="default: reporting; all of a FILE")
    add("--output", type=Path, help="folder of cells.parquet, REPORT.md and plots")
    add("--quick", action="store_true")
    add("--report-only", action="store_true")
    add("--seeds", type=int)
    add("--worlds", nargs="+", choices=list(WORLDS))
    add("--recipes", nargs="+", choices=list(RECIPES))
    add("--strategies", nargs="+")
    add("--jobs", type=int, default=2)
    add("--minutes", type=float, help="stop, resumably, after so many")
    args = parser.parse_args()
    args.features_given = args.features is not None
    args.own_worlds = args.features_given or args.comparisons is not None
    args.half = args.half or ("all" if args.features_given else "reporting")
    args.seeds = args.seeds or (QUICK["seeds"] if args.quick else SEEDS)
    if args.quick and not args.recipes:
        args.recipes = ["skarm", "length only"]
    if args.output is None:
        name = "label_efficiency" + ("_quick" if args.quick else "")
        given = args.features or args.comparisons
        name += f"_{given.stem}" if given else ""
        args.output = HERE / "results" / name
    args.features = args.features or args.data / "alpacaeval_public_features.npz"
    args.responses = args.data / "alpacaeval_public.jsonl.gz"
    return args


if __name__ == "__main__":
    main()
