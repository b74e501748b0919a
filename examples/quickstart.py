"""From a file of responses to a reward model: ask 200 comparisons, compare strategies.

    python examples/quickstart.py                          answers that ship with skarm
    python examples/quickstart.py --data mine.jsonl --ask  your responses, your answers
    python examples/quickstart.py --data mine.csv --reward rating --model path/or/name

A file of responses has the columns prompt and response (JSON Lines, CSV or Parquet);
with --reward naming a column of ratings, an annotator is simulated from it. A file of
recorded preferences has the columns prompt, chosen and rejected; its answers are
replayed. Texts are embedded by --model, any sentence-transformers model, or by a small
one trained here from the texts themselves, which needs no download.
"""

import argparse
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch
from tqdm import tqdm

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
    make_reward_pipeline,
)
from skarm.annotators import (
    AnnotationStopped,
    RecordedAnnotator,
    SimulatedAnnotator,
    TerminalAnnotator,
)
from skarm.datasets import load_assistant_answers
from skarm.io import read_columns, read_responses, read_trl
from skarm.metrics import best_of_n, grouped_spearman, pairwise_accuracy
from skarm.text import SentenceEmbedder, train_static_embedding

STRATEGIES = ("random", "d_optimal", "auto")
NAMES = {"auto": "skarm default", "d_optimal": "paper's d_optimal"}
TITLES = {"best of n": "best of n (0 = average, 1 = best)"}
METRICS = ("Spearman per prompt", "best of n", "pair accuracy")


def read_world(args):
    """Texts and prompts, with a reward per response or recorded comparisons."""
    if args.data is None:
        data = load_assistant_answers()
        return Bunch(**data, reward=data.ratings, recorded=None)
    try:
        columns = read_columns(args.data)
        if "chosen" not in columns:
            data = read_responses(args.data)
            reward = read_reward(columns, args)
            return Bunch(
                prompts=data.prompts,
                responses=data.responses,
                groups=data.groups,
                reward=reward,
                recorded=None,
            )
        data = read_trl(args.data)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"{data.report}.")
    # What people preferred: a response's reward is its share of wins.
    first, second = data.comparisons.pairs.T
    wins = np.bincount(first, minlength=data.comparisons.n_items)
    shown = wins + np.bincount(second, minlength=data.comparisons.n_items)
    return Bunch(
        prompts=data.prompts,
        responses=data.responses,
        groups=data.comparisons.groups,
        reward=wins / shown,
        recorded=(data.comparisons, data.y),
    )


def read_reward(columns, args):
    """The ratings that --reward names, or None where a person answers."""
    if args.reward is None:
        if args.ask:
            return None
        sys.exit(
            "Say where the answers come from: --reward COLUMN simulates an annotator "
            f"from ratings (columns here: {', '.join(columns)}), --ask asks you."
        )
    reward = columns.get(args.reward)
    if reward is None or reward.dtype == object or np.isnan(reward).any():
        what = "is not there" if reward is None else "has texts or empty cells"
        sys.exit(
            f"--reward must name a column of {args.data} with a number in every row. "
            f"{args.reward!r} {what}; the columns are {', '.join(columns)}."
        )
    return reward


def embed(world, model):
    """Each response once, by the given model or one trained on the spot."""
    started = time.perf_counter()
    if model is not None:
        embedder = SentenceEmbedder(model, normalize=True)
        texts = np.column_stack([world.prompts, world.responses])
        features = embedder.transform(texts)
    else:
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = train_static_embedding(list(world.responses), f"{folder}/model")
            except ValueError as error:
                sys.exit(
                    f"These texts cannot train an embedding; pass --model. {error}"
                )
            embedder = SentenceEmbedder(path, normalize=True, cache=False)
            features = np.asarray(embedder.transform(world.responses))
    seconds = time.perf_counter() - started
    what = "responses" if model is None else "prompts with responses"
    print(f"Embedded {len(features):,} {what} in {seconds:.0f} s.")
    return features


def split(world, seed):
    """Items of training and of unseen test prompts (a quarter, at most 100)."""
    prompts = np.random.RandomState(seed).permutation(np.unique(world.groups))
    test = np.isin(world.groups, prompts[: min(len(prompts) // 4, 100)])
    return np.flatnonzero(~test), np.flatnonzero(test)


def make_learner(strategy, seed):
    """The model and strategy under test; everything else is skarm's default."""
    return ActiveRewardLearner(
        make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
        ActiveComparisonSampler(strategy),
        random_state=seed,
    )


def make_pool(world, features, train):
    """Pairs within training prompts; with recorded answers, the recorded pairs."""
    groups = world.groups[train]
    if world.recorded is None:
        return Comparisons.all_pairs(features[train], groups=groups, scope="within")
    pairs = RecordedAnnotator(*world.recorded).pairs
    place = np.full(len(features), -1)
    place[train] = np.arange(len(train))
    pairs = place[pairs]
    pairs = pairs[(pairs >= 0).all(axis=1)]
    return Comparisons(features[train], pairs, groups=groups)


def make_annotator(world, train, temperature, seed):
    """Who answers: a simulated person, or the record."""
    if world.recorded is None:
        reward = world.reward[train]
        return SimulatedAnnotator(reward, temperature=temperature, random_state=seed)
    recorded = RecordedAnnotator(*world.recorded)
    return lambda asked: recorded(train[asked.pairs])


def evaluate(world, test, rewards):
    """The three metrics on the responses to unseen prompts."""
    truth, groups = world.reward[test], world.groups[test]
    pool = Comparisons.all_pairs(
        np.empty((len(test), 0)), groups=groups, scope="within"
    )
    first, second = pool.pairs.T
    preferred = (1 + np.sign(truth[first] - truth[second])) / 2
    predicted = 1 / (1 + np.exp(rewards[second] - rewards[first]))
    n = int(min(4, np.median(np.unique(groups, return_counts=True)[1])))
    return [
        grouped_spearman(truth, rewards, groups=groups),
        best_of_n(truth, rewards, groups=groups, n_values=[n], normalize=True)[0],
        pairwise_accuracy(preferred, predicted),
    ]


def run(world, features, strategy, seed, args):
    """One learning curve: metrics (n_rounds, 3) on unseen prompts, and the learner."""
    train, test = split(world, seed)
    pool = make_pool(world, features, train)
    annotator = make_annotator(world, train, args.temperature, seed)
    learner = make_learner(strategy, seed)
    if len(pool) < args.pairs:
        raise SystemExit(
            f"The training prompts must hold at least --pairs {args.pairs} pairs of "
            f"responses. Got {len(pool)}. Bring more responses, or lower --pairs."
        )
    curve = []
    for round_ in range(args.rounds):
        n_pairs = min(args.pairs, len(pool) - round_ * args.pairs)
        if n_pairs > 0:  # a small pool is asked to its end
            _, asked = learner.query(pool, n_pairs=n_pairs)
            learner.teach(asked, annotator(asked))
        curve.append(evaluate(world, test, learner.predict(features[test])))
    return strategy, seed, curve, learner


def compare(world, features, args):
    """Learning curves by strategy, each (n_seeds, n_rounds, 3), and one learner."""
    jobs = [(s, seed) for seed in range(args.seeds) for s in STRATEGIES]
    results = Parallel(n_jobs=args.jobs, return_as="generator_unordered")(
        delayed(run)(world, features, strategy, seed, args) for strategy, seed in jobs
    )
    curves, learners = {s: [None] * args.seeds for s in STRATEGIES}, {}
    for strategy, seed, curve, learner in tqdm(results, "simulating", len(jobs)):
        curves[strategy][seed] = curve
        learners[strategy, seed] = learner
    curves = {strategy: np.array(runs) for strategy, runs in curves.items()}
    return curves, learners["auto", 0]


def ask_person(world, features, args):
    """One round after another with the person at the terminal."""
    every = np.arange(len(features))
    pool = make_pool(world, features, every)
    learner = make_learner("auto", 0)
    try:
        annotator = TerminalAnnotator(
            world.responses, prompts=world.prompts, path=args.answers
        )
    except ValueError as error:  # answers about other texts, or a damaged file
        sys.exit(str(error))
    print(f"Every answer is saved to {args.answers}; run this again to go on.")
    for round_ in range(args.rounds):
        n_pairs = min(args.pairs, len(pool) - round_ * args.pairs)
        if n_pairs <= 0:
            break
        _, asked = learner.query(pool, n_pairs=n_pairs)
        try:
            learner.teach(asked, annotator(asked))
        except AnnotationStopped as stopped:
            n = len(stopped.y)
            if n:
                learner.teach(asked[:n], stopped.y)
            break
    return learner


# ------------------------------------------------------------------ what a person sees


def print_table(curves, args):
    shown = sorted({max(0, r) for r in (0, 1, 3, args.rounds - 1) if r < args.rounds})
    head = f"{'labels':>6}  {'strategy':<18}" + "".join(f"{m:>22}" for m in METRICS)
    print(f"\nOn unseen prompts, mean ± sd over {args.seeds} seeds")
    print("(best of n, n = 4 or fewer responses: 0 = average, 1 = best)")
    print(head)
    for r in shown:
        for strategy, runs in curves.items():
            mean, sd = runs[:, r].mean(axis=0), runs[:, r].std(axis=0)
            cells = "".join(
                f"{m:>14.3f} ± {s:.3f}" for m, s in zip(mean, sd, strict=True)
            )
            name = NAMES.get(strategy, strategy)
            print(f"{(r + 1) * args.pairs:>6}  {name:<18}{cells}")
    print()


def most_and_least(world, features, learner, rows, n=3):
    """The responses with the highest and lowest rewards, with their uncertainty."""
    model = learner.estimator_
    items = model[:-1].transform(features[rows])
    rewards, std = model[-1].predict(items, return_std=True)
    order = np.argsort(-rewards)
    return [
        [
            Bunch(
                prompt=str(world.prompts[rows[k]]),
                response=str(world.responses[rows[k]]),
                reward=rewards[k],
                std=std[k],
            )
            for k in part
        ]
        for part in (order[:n], order[: -n - 1 : -1])
    ]


def print_extremes(extremes):
    for title, answers in zip(("Most", "Least"), extremes, strict=True):
        print(f"{title} preferred answers")
        for a in answers:
            print(f"  {a.reward:+.2f} ± {a.std:.2f}  {shorten(a.prompt, 70)}")
            print(f"{'':>16}  {shorten(a.response, 70)}")


def shorten(text, width):
    return textwrap.shorten(" ".join(text.split()), width, placeholder=" …")


def draw(curves, extremes, args):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 9 if curves else 5), layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=[1, 1]) if curves else [None, figure]
    if curves:
        labels = args.pairs * np.arange(1, args.rounds + 1)
        colors = dict(zip(curves, ("#777777", "#d95f02", "#1b6ca8"), strict=True))
        axes = rows[0].subplots(1, len(METRICS))
        for m, (ax, metric) in enumerate(zip(axes, METRICS, strict=True)):
            for strategy, runs in curves.items():
                mean, sd = runs[:, :, m].mean(axis=0), runs[:, :, m].std(axis=0)
                name, color = NAMES.get(strategy, strategy), colors[strategy]
                ax.plot(labels, mean, color=color, marker="o", ms=3.5, label=name)
                error = sd / np.sqrt(len(runs))
                ax.fill_between(
                    labels, mean - error, mean + error, color=color, alpha=0.18, lw=0
                )
            ax.set(xlabel="comparisons answered", title=TITLES.get(metric, metric))
            ax.grid(alpha=0.25)
            ax.spines[["top", "right"]].set_visible(False)
        axes[0].legend(frameon=False)
        rows[0].suptitle(
            f"Unseen prompts; mean and standard error over {args.seeds} seeds",
            fontsize=11,
        )
    panels = rows[1].subplots(1, 2)
    for ax, title, answers, color in zip(
        panels, ("Most", "Least"), extremes, ("#e8f1f8", "#fbeee6"), strict=True
    ):
        ax.set_title(f"{title} preferred answers", loc="left", fontsize=11)
        ax.axis("off")
        for k, a in enumerate(answers):
            text = (
                f"reward {a.reward:+.2f} ± {a.std:.2f}\n"
                f"» {shorten(a.prompt, 78)}\n"
                + textwrap.fill(shorten(a.response, 240), 84)
            )
            ax.text(
                *(0.02, 1 - k / 3, text.replace("$", r"\$")),
                va="top",
                fontsize=8.5,
                transform=ax.transAxes,
                bbox={"boxstyle": "round,pad=0.5", "fc": color, "ec": "none"},
            )
    figure.savefig(args.output, dpi=130)
    print(f"\nPicture: {args.output}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="your responses, or recorded preferences")
    add("--reward", help="column of --data with ratings, to simulate an annotator")
    add(
        "--temperature",
        type=float,
        default=2.0,
        help="of the simulated annotator: P = sigmoid(rating difference / temperature)",
    )
    add("--model", help="sentence-transformers model, by folder or name")
    add("--ask", action="store_true", help="you answer, at the terminal")
    add("--answers", default="quickstart_answers.jsonl", help="where --ask saves them")
    add("--rounds", type=int, default=8)
    add("--pairs", type=int, default=25, help="comparisons per round")
    add("--seeds", type=int, default=10, help="repetitions of the simulation")
    add("--jobs", type=int, default=2, help="processes")
    add("--output", type=Path, default=Path("quickstart.png"))
    args = parser.parse_args()

    world = read_world(args)
    n_prompts = len(np.unique(world.groups))
    print(f"{len(world.responses):,} responses to {n_prompts:,} prompts.")
    features = embed(world, args.model)
    if args.ask:
        curves, learner, rows = None, ask_person(world, features, args), None
        if not hasattr(learner, "estimator_"):
            sys.exit("No answer given, nothing learned.")
        rows = np.arange(len(features))
    else:
        curves, learner = compare(world, features, args)
        rows = split(world, 0)[1]
        print_table(curves, args)
    extremes = most_and_least(world, features, learner, rows)
    print_extremes(extremes)
    draw(curves, extremes, args)


if __name__ == "__main__":
    main()
