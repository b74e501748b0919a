"""One cell: a world, a recipe, a strategy, a seed; the loop of asking and refitting."""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from label_efficiency.config import N_CANDIDATES, ROUNDS
from label_efficiency.paper_model import PaperModel
from label_efficiency.worlds import make_world
from skarm import ActiveComparisonSampler, BradleyTerryRegressor, Comparisons
from skarm._model.prior import mean_variance
from skarm.strategies import get_strategy, strategy_table

__all__ = ["CEILING", "run_cell"]

#: The fit on every pair that a world offers, or this many random ones of them.
CEILING = "ceiling"
N_CEILING = 20_000


def run_cell(name, spec, recipe_name, recipe, strategy, seed, options):
    """Rows of one cell, a dict per round; [] where the recipe has nothing to say."""
    world = make_world(spec, seed, options)
    if recipe["model"] == "length":
        if world.floor is None:
            return []
        world = world.floor()
    common = dict(world=name, recipe=recipe_name, strategy=strategy, seed=seed)
    common["half"] = options.half
    rows = (
        _ceiling(world) if strategy == CEILING else _loop(world, recipe, strategy, seed)
    )
    return [{**common, "metric": world.metric, **row} for row in rows]


def _model(recipe, seed):
    if recipe["model"] == "paper":
        return PaperModel(seed)
    return BradleyTerryRegressor(**recipe.get("options", {}))


def _ceiling(world):
    """Random pairs without end, by the default model."""
    rng = np.random.RandomState(0)
    asked = _offer(world, N_CEILING, rng, np.empty((0, 2), dtype=np.intp), None)
    model, seconds = _fit(BradleyTerryRegressor(), asked, world.answer(asked.pairs))
    return [_row(len(asked), world, model, seconds, 0.0)]


def _loop(world, recipe, strategy, seed):
    rounds = [n for n in recipe.get("rounds", ROUNDS) if n <= (world.n_labels or n)]
    n_candidates = recipe.get("n_candidates", N_CANDIDATES)
    asked, y, model, rows = np.empty((0, 2), dtype=np.intp), np.empty(0), None, []
    starts_itself = recipe["model"] != "paper" and _needs_no_model(strategy)
    # What is offered does not depend on the strategy, but for what was asked before.
    rng = np.random.RandomState(seed)
    for turn, n_labels in enumerate(rounds):
        offer_rng = np.random.RandomState(rng.randint(2**31 - 1))
        prompts = recipe.get("n_prompts_offered")
        offered = _offer(world, n_candidates, offer_rng, asked, prompts)
        sampler = ActiveComparisonSampler(
            strategy if model is not None or starts_itself else "random",
            random_state=1000 * seed + turn,
        )
        n_pairs = min(n_labels - len(asked), len(offered))
        started = time.perf_counter()
        index = sampler.query(offered, estimator=model, n_pairs=n_pairs)
        query_seconds = time.perf_counter() - started
        picked = offered.pairs[index]
        asked, y = np.vstack([asked, picked]), np.append(y, world.answer(picked))
        comparisons = Comparisons(world.items, asked, groups=world.groups)
        model, seconds = _fit(_model(recipe, seed), comparisons, y)
        row = _row(len(asked), world, model, seconds, query_seconds)
        if "best_of" in recipe:
            row["best_of"] = float(world.best_of(model, recipe["best_of"]))
        rows.append(row)
    return rows


def _needs_no_model(strategy):
    facts = strategy_table("frame").set_index("name")
    return not facts["needs_model"][get_strategy(strategy).__name__]


def _fit(model, comparisons, y):
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(comparisons, y)
    return model, time.perf_counter() - started


def _row(n_labels, world, model, fit_seconds, query_seconds):
    return dict(
        n_labels=n_labels,
        quality=float(world.quality(model)),
        alpha=1 / mean_variance(model.alpha_),
        fit_seconds=fit_seconds,
        query_seconds=query_seconds,
    )


def _offer(world, n, rng, asked, n_prompts):
    """Candidates that were not asked before, drawn afresh."""
    items, groups = world.items, world.groups
    if world.recorded is not None:
        pairs = world.recorded[rng.permutation(len(world.recorded))]
    else:
        pool = Comparisons.all_pairs(items, groups=groups, scope=world.scope)
        size = min(len(pool), n + len(asked))
        pairs = pool[pool._pairs.sample(size, rng)].pairs
        if n_prompts is not None:
            here = rng.permutation(np.unique(groups))[:n_prompts]
            pairs = pairs[np.isin(groups[pairs], here).all(axis=1)]
    codes = _codes(pairs, len(items))
    pairs = pairs[~np.isin(codes, _codes(asked, len(items)))][:n]
    return Comparisons(items, pairs, groups=groups)


def _codes(pairs, n_items):
    low, high = np.sort(pairs, axis=1).astype(np.int64).T
    return low * n_items + high
