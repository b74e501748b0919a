"""
What every strategy asks
========================

One picture, one panel per rule::

    python examples/plot_strategies.py --output strategies.png

Sixty prompts have five answers each, and an answer two features. A comparison of two
answers to a prompt is their difference: a point of the plane, and its mirror image is
the same question. Grey dots are all that may be asked, crosses what was asked before.
Yellow is where a model of those few answers finds the next one open. Blue dots, with
their mirror images, are what a rule asks next; the larger, the earlier.

Where they lie tells the rules apart. Uncertainty asks along the open line only; designs
go out where an answer bears on the coefficients and is open too; diversity covers the
cloud; duels look for each prompt's best answer. Six prompts have an answer far out: the
greedy designs leave such pairs alone unless told not to (`eligible`), the published
rules are drawn to them.
"""

import argparse
from pathlib import Path

import numpy as np

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm.strategies import get_strategy_names

TRUTH = np.array([1.2, 0.5])
FAMILIES = {
    "baseline": "baseline",
    "uncertainty": "uncertainty",
    "diversity": "diversity",
    "bayesian": "Bayesian",
    "optimal_design": "optimal design",
    "cold_start": "cold start",
    "dueling": "dueling",
}


def make_world(seed):
    """Comparisons within prompts, those asked before, and a model of the answers."""
    rng = np.random.default_rng(seed)
    prompts = np.repeat(np.arange(60), 5)
    answers = rng.standard_normal((300, 2)) * [1.0, 0.6]
    answers[::50] *= 2.5  # six far out
    pool = Comparisons.all_pairs(answers, groups=prompts, scope="within")
    asked = pool[rng.permutation(len(pool))[:25]]
    y = (rng.logistic(size=25) < asked.differences() @ TRUTH).astype(float)
    return pool, asked, BradleyTerryRegressor(alpha=1.0).fit(asked, y)


def choose(world, n_pairs):
    """What each strategy asks next, by name, in the order of families."""
    pool, asked, model = world
    known = {"estimator": model, "past": asked, "exclude": asked}
    listed = [name for family in FAMILIES for name in get_strategy_names(family)]
    names = listed + [name for name in get_strategy_names() if name not in listed]
    return {
        name: pool[
            ActiveComparisonSampler(name, random_state=0).query(
                pool, n_pairs=n_pairs, **known
            )
        ].differences()
        for name in names
    }


def family_of(name):
    for family, title in FAMILIES.items():
        if name in get_strategy_names(family):
            return title
    return ""


def draw(world, chosen, plt):
    """One panel per rule."""
    pool, asked, model = world
    x = pool.differences()
    cloud, before = np.vstack([x, -x]), asked.differences()
    reach = np.abs(x).max(axis=0) * 1.08
    grid = np.stack(np.meshgrid(*(np.linspace(-r, r, 120) for r in reach)), axis=-1)
    chance = 1 / (1 + np.exp(-grid @ model.coef_))
    yellow = np.zeros((*chance.shape, 4))
    yellow[:] = [1.0, 0.87, 0.35, 1.0]
    yellow[..., 3] = 2.6 * chance * (1 - chance)
    n_columns = 7
    n_rows = -(-(len(chosen) + 1) // n_columns)  # one panel holds the key
    figure, axes = plt.subplots(
        *(n_rows, n_columns),
        figsize=(2.15 * n_columns, 1.75 * n_rows + 0.5),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, picks) in zip(axes.flat, chosen.items(), strict=False):
        ax.imshow(
            *(yellow,),
            extent=(-reach[0], reach[0], -reach[1], reach[1]),
            origin="lower",
            aspect="auto",
        )
        ax.scatter(*cloud.T, s=1.6, color="#8a8a8a", lw=0)
        for sign in (1, -1):
            ax.scatter(*(sign * before).T, s=9, marker="x", color="#b3421b", lw=0.7)
        sizes = np.linspace(34, 12, len(picks))
        for sign in (1, -1):
            ax.scatter(
                *(sign * picks).T, s=sizes, color="#0b4f8a", edgecolor="white", lw=0.5
            )
        ax.set_title(name, fontsize=9, pad=14, loc="left", fontweight="bold")
        ax.text(
            *(0, 1.03, family_of(name)),
            transform=ax.transAxes,
            fontsize=7.5,
            color="#666666",
        )
        ax.set_axis_on()
        ax.set(xticks=[], yticks=[], xlim=(-reach[0], reach[0]))
        ax.set_ylim(-reach[1], reach[1])
        ax.spines[:].set_color("#cccccc")
    handles = [
        plt.Line2D([], [], ls="", marker=marker, color=color, ms=size)
        for marker, color, size in (
            *(("o", "#0b4f8a", 6), ("o", "#8a8a8a", 2)),
            *(("x", "#b3421b", 4), ("s", "#ffe27a", 8)),
        )
    ]
    words = ["asked next", "may be asked", "asked before", "answer open"]
    axes.flat[-1].legend(handles, words, loc="center", frameon=False, fontsize=9)
    n = len(next(iter(chosen.values())))
    figure.suptitle(
        f"The next {n} of {len(x)} comparisons, as differences of two features",
        fontsize=11,
    )
    return figure


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pairs", type=int, default=16, help="comparisons per rule")
    add("--seed", type=int, default=0)
    add("--output", type=Path, help="write a picture here instead of showing it")
    args = parser.parse_args()
    if args.output:
        import matplotlib

        matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    world = make_world(args.seed)
    figure = draw(world, choose(world, args.pairs), plt)
    if args.output:
        figure.savefig(args.output, dpi=130)
        print(f"Picture: {args.output}")
    else:
        plt.show()


if __name__ == "__main__":
    main()
