"""Fits beside their peers: time, memory, and whether they agree.

    python benchmarks/speed_fit.py linear --comparisons 200000 --items 20000 --dim 768
    python benchmarks/speed_fit.py auto --comparisons 100 300 1000 --dim 128
    python benchmarks/speed_fit.py ids --votes VOTES.jsonl.gz
    python benchmarks/speed_fit.py network --features FILE.npz --key X_pca

Four parts, each alternating the sides in one process, medians over --repeat rounds:

- `linear`: a fit at fixed alpha against LogisticRegression on the differences, without
  intercept, with and without the time to build the differences, at its default
  tolerance and, prebuilt, at --peer-tol if given. Items are float32 with standard
  deviations k^(-decay) along the axes, as embeddings have. Gradients are given
  relative to that at zero.
- `auto`: alpha="auto" with a normal prior against one fit at that alpha; and the
  default, Student's t prior, without groups and, averaging two, with groups of ten;
- `ids`: votes on names (fields model_left, model_right, winner), from the names to the
  strengths, against evalica and choix where they are installed.
- `network`: a 3 x 64 network on --dim wide features, of Gaussian clusters or, with
  --features, random rectified combinations of real ones, answered by a rectified
  reward or the real one; against the paper's recipe: 1,000 full-batch Adam steps of
  rate 1e-3 on materialised differences, no regularization. Ours includes the linear
  model that a network gives way to unless it clearly predicts better; what the network
  itself would predict is told too.

Writes results/speed_fit_PART.json, and PNG where sizes are several.
"""

import argparse
import gzip
import itertools
import json
import warnings
from collections import defaultdict
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from _timing import alternate, extra_megabytes, in_fresh_process, ratio, save
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skarm import BradleyTerryRegressor, Comparisons
from skarm._model.likelihood import BradleyTerryLoss
from skarm.metrics import grouped_spearman


def problem(n_comparisons, n_items, dim, decay=0.0, spread=1.5, seed=0):
    """Comparisons of float32 items, answered by a linear reward."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, dim), dtype=np.float32)
    items *= (np.arange(1, dim + 1) ** -decay).astype(np.float32)
    reward = items @ rng.standard_normal(dim).astype(np.float32)
    reward *= spread / reward.std() / np.sqrt(2)
    first = rng.integers(0, n_items, n_comparisons)
    second = (first + rng.integers(1, n_items, n_comparisons)) % n_items
    y = (rng.random(n_comparisons) < expit(reward[first] - reward[second])) * 1.0
    return Comparisons(items, np.column_stack([first, second])), y


# ---------------------------------------------------------------------------- linear


def logistic(differences, y, alpha, tol):
    model = LogisticRegression(C=1 / alpha, fit_intercept=False, tol=tol, max_iter=2000)
    return model.fit(differences, y).coef_[0].astype(np.float64)


def linear_sides(asked, y, args):
    """Ours, and theirs building differences or not."""
    alpha, tol = args.alpha, 1e-4
    built = asked.differences()
    sides = {
        "ours": lambda: BradleyTerryRegressor(alpha=alpha).fit(asked, y).coef_,
        "theirs": lambda: logistic(asked.differences(), y, alpha, tol),
        "theirs, prebuilt": lambda: logistic(built, y, alpha, tol),
    }
    if args.peer_tol:
        sides["theirs, tight, prebuilt"] = lambda: logistic(
            built, y, alpha, args.peer_tol
        )
    return sides


def gradient(asked, y, coef, alpha):
    """Largest entry of the gradient, relative to that at zero."""
    items = asked.items.astype(np.float64)
    loss = BradleyTerryLoss(items, asked.pairs, y, np.ones(len(y)))
    at_zero = np.abs(loss.gradient(np.zeros(items.shape[1]), 0.0)).max()
    return np.abs(loss.gradient(coef, alpha)).max() / at_zero


def run_linear(args):
    for n in args.comparisons:
        asked, y = problem(n, args.items, args.dim, args.decay)
        for call in linear_sides(*problem(100, 50, 10), args).values():  # warm
            call()
        times, found = alternate(linear_sides(asked, y, args), args.repeat)
        row = {"comparisons": n, "items": args.items, "dim": args.dim, "times": times}
        row["gradient"] = {
            side: gradient(asked, y, coef, args.alpha) for side, coef in found.items()
        }
        row["ratio"] = {side: ratio(times[side], times["ours"]) for side in times}
        command = ["--comparisons", n, "--items", args.items, "--dim", args.dim]
        command += ["--alpha", args.alpha, "--decay", args.decay, "--memory-of"]
        row["extra_megabytes"] = {
            side: in_fresh_process(__file__, "linear", *command, side)
            for side in ("ours", "theirs")
        }
        yield row


def print_memory(args):
    asked, y = problem(args.comparisons[0], args.items, args.dim, args.decay)
    small = problem(100, 50, 10)
    BradleyTerryRegressor(alpha=1.0).fit(*small)
    logistic(small[0].differences(), small[1], 1.0, 1e-4)
    sides = {
        "ours": lambda: BradleyTerryRegressor(alpha=args.alpha).fit(asked, y),
        "theirs": lambda: logistic(asked.differences(), y, args.alpha, 1e-4),
    }
    print(round(extra_megabytes(sides[args.memory_of]), 1))


# ------------------------------------------------------------------------------ auto


#: Items of a prompt, where prompts are known.
GROUP_SIZE = 10


def run_auto(args):
    for n in args.comparisons:
        asked, y = problem(n, args.items or 2 * n, args.dim, args.decay)
        normal = BradleyTerryRegressor(prior="normal")
        fixed = BradleyTerryRegressor(alpha=normal.fit(asked, y).alpha_)
        groups = np.arange(len(asked.items)) // GROUP_SIZE
        grouped = Comparisons(asked.items, asked.pairs, groups=groups)
        calls = {
            "auto": partial(normal.fit, asked, y),
            "fixed": partial(fixed.fit, asked, y),
            "student_t": partial(BradleyTerryRegressor().fit, asked, y),
            "both priors": partial(BradleyTerryRegressor().fit, grouped, y),
        }
        times, _ = alternate(calls, args.repeat)
        yield {
            "comparisons": n,
            "dim": args.dim,
            "times": times,
            "auto / fixed": most(times["auto"], times["fixed"]),
            "student_t / auto": most(times["student_t"], times["auto"]),
            "both priors / auto": most(times["both priors"], times["auto"]),
        }


def most(slower, faster):
    """The larger of the wall and the CPU ratio."""
    return max(slower[clock] / faster[clock] for clock in ("wall", "cpu"))


# ------------------------------------------------------------------------------- ids


def run_ids(args):
    opened = gzip.open if args.votes.suffix == ".gz" else open
    with opened(args.votes, "rt") as file:
        votes = [json.loads(line) for line in file]
    left, right, winner = (
        [vote[field] for vote in votes]
        for field in ("model_left", "model_right", "winner")
    )
    outcome = {"left": 1.0, "right": 0.0, "tie": 0.5}
    y = np.array([outcome[name] for name in winner])

    def coded():
        """Pairs of numbers, and the names that they number."""
        names, code = left + right, defaultdict(itertools.count().__next__)
        codes = np.fromiter(map(code.__getitem__, names), np.int64, len(names))
        return codes.reshape(2, -1).T, code.keys()

    def ours():
        pairs, names = coded()
        asked = Comparisons(sparse.eye_array(len(names)), pairs)
        strength = np.exp(BradleyTerryRegressor(alpha=1e-8).fit(asked, y).coef_)
        return dict(zip(names, strength / strength.sum(), strict=True))

    sides = {"ours": ours}
    try:
        import evalica
    except ImportError:
        pass
    else:
        won = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
        winners = [won[value] for value in y]
        sides["evalica"] = lambda: evalica.bradley_terry(left, right, winners).scores
        exact = evalica.bradley_terry(
            left, right, winners, tolerance=1e-13, limit=10**6
        )
    try:
        import choix
    except ImportError:
        pass
    else:

        def by_choix():
            pairs, names = coded()
            wins = [
                *map(tuple, pairs[y > 0]),
                *((j, i) for i, j in pairs[y < 1]),
            ]  # a tie counts once each way, as there are no halves
            return choix.opt_pairwise(len(names), wins, alpha=1e-6)

        sides["choix"] = by_choix
    for call in sides.values():
        call()
    times, found = alternate(sides, args.repeat)
    row = {"votes": len(votes), "names": len(found["ours"]), "times": times}
    row["ratio"] = {side: ratio(times[side], times["ours"]) for side in times}
    if "evalica" in sides:
        theirs = exact.scores / exact.scores.sum()
        row["greatest difference to evalica"] = max(
            abs(theirs[name] - value) for name, value in found["ours"].items()
        )
    yield row


# --------------------------------------------------------------------------- network


def paper_recipe(items, pairs, y, sizes=(64, 64, 64), n_steps=1000, seed=0):
    """Adam on all comparisons at once, as the paper trains; rewards of new items."""
    torch.manual_seed(seed)
    layers, width = [], items.shape[1]
    for size in sizes:
        layers += [torch.nn.Linear(width, size), torch.nn.GELU()]
        width = size
    network = torch.nn.Sequential(*layers, torch.nn.Linear(width, 1, bias=False))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    first, second = (torch.as_tensor(items[pairs[:, k]]) for k in (0, 1))
    targets = torch.as_tensor(y, dtype=torch.float32)
    for _ in range(n_steps):
        optimizer.zero_grad()
        p = torch.sigmoid(network(first) - network(second))[:, 0]
        torch.nn.functional.binary_cross_entropy(p, targets).backward()
        optimizer.step()

    def rewards(new):
        with torch.no_grad():
            return network(torch.as_tensor(new))[:, 0].numpy().astype(np.float64)

    return rewards


def wide_items(args, rng):
    """Items, rewards and prompts: synthetic, or random features of real ones."""
    if args.features is None:
        groups = np.arange(6000) // 10
        centers = rng.standard_normal((600, 64))
        low = centers[groups] + rng.standard_normal((6000, 64))
        weights = rng.standard_normal((64, 32)) / 8
        reward = np.maximum(low @ weights, 0) @ rng.standard_normal(32)
        reward *= 2 / reward.std()
    else:
        with np.load(args.features, allow_pickle=False) as data:
            keep = data["model"].astype(str) != args.baseline
            low = data[args.key][keep].astype(np.float64)
            groups = data["prompt_id"][keep].astype(str)
            reward = data[args.reward][keep].astype(np.float64) / args.temperature
        low = StandardScaler().fit_transform(low)
    mix = rng.standard_normal((low.shape[1], args.dim)) / np.sqrt(low.shape[1])
    items = np.maximum(low @ mix + 0.3 * rng.standard_normal(args.dim), 0)
    return items.astype(np.float32), reward, groups


def run_network(args):
    for n in args.comparisons:
        rng = np.random.default_rng(args.seed)
        items, reward, groups = wide_items(args, rng)
        prompts = rng.permutation(np.unique(groups))
        unseen = np.isin(groups, prompts[: len(prompts) // 4])
        scaler = StandardScaler().fit(items[~unseen])
        train, test = scaler.transform(items[~unseen]), scaler.transform(items[unseen])
        asked = Comparisons.random_pairs(
            *(train, n), groups=groups[~unseen], scope="within", random_state=args.seed
        )
        gap = np.subtract(*reward[~unseen][asked.pairs.T])
        y = (rng.random(n) < expit(gap)).astype(float)
        model = BradleyTerryRegressor(
            hidden_layer_sizes=(64, 64, 64), random_state=args.seed, device="cpu"
        )
        sides = {
            "ours": lambda asked=asked, y=y, model=model: model.fit(asked, y).predict,
            "paper": lambda train=train, asked=asked, y=y: paper_recipe(
                train, asked.pairs, y
            ),
        }
        model.fit(asked[:20], y[:20])  # warm
        paper_recipe(train, asked.pairs[:20], y[:20], n_steps=2)
        times, found = alternate(sides, args.repeat)
        pairs = Comparisons.random_pairs(
            *(test, 5000), groups=groups[unseen], scope="within", random_state=1
        ).pairs
        truth = expit(np.subtract(*reward[unseen][pairs.T]))
        row = {"comparisons": n, "dim": args.dim, "times": times}
        row["ours gave way to the linear model"] = not model.hidden_coefs_
        with patch("skarm.bradley_terry.network_pays", return_value=True):
            found["ours, the network itself"] = clone(model).fit(asked, y).predict
        for side, rewards in found.items():
            values = rewards(test)
            s = np.subtract(*values[pairs.T])
            row[side] = {
                "spearman": grouped_spearman(
                    reward[unseen], values, groups=groups[unseen]
                ),
                "nll": np.mean(np.logaddexp(0, s) - truth * s),
            }
        row["ratio"] = ratio(times["paper"], times["ours"])
        yield row


# ------------------------------------------------------------------------------ main


def draw(rows, part, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    names = list(rows[-1]["times"])
    ax.barh(names, [rows[-1]["times"][name]["wall"] for name in names])
    ax.set(xscale="log", xlabel="seconds", title=f"{part}, the largest size")
    ax.invert_yaxis()
    figure.savefig(path, dpi=120)


PARTS = {
    "linear": run_linear,
    "auto": run_auto,
    "ids": run_ids,
    "network": run_network,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("part", choices=PARTS)
    add("--comparisons", type=int, nargs="+", default=[1000])
    add("--items", type=int, help="default of auto: two per comparison")
    add("--dim", type=int, default=128)
    add("--decay", type=float, default=0.5)
    add("--alpha", type=float, default=1.0)
    add("--peer-tol", type=float, help="also fit theirs to this tolerance")
    add("--votes", type=Path)
    add("--features", type=Path)
    add("--key", default="X_pca")
    add("--reward", default="golden_wide")
    add("--baseline", default="gpt4_1106_preview", help="model to leave out")
    add("--temperature", type=float, default=3.0)
    add("--seed", type=int, default=0)
    add("--repeat", type=int, default=3)
    add("--label", default="", help="added to the names of the results")
    add("--memory-of", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    add("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    warnings.simplefilter("ignore", category=UserWarning)
    if args.memory_of:
        print_memory(args)
        return
    rows = []
    for row in PARTS[args.part](args):
        rows.append(row)
        print(json.dumps(row, indent=1), flush=True)
    path = args.output / f"speed_fit_{args.part}{args.label}"
    settings = {k: v for k, v in vars(args).items() if k not in ("output", "memory_of")}
    save(path, settings, rows)
    draw(rows, args.part, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
