"""The sample data that ships with skarm, and synthetic comparisons."""

from importlib.resources import as_file, files

import numpy as np
from scipy.special import expit
from sklearn.utils import Bunch, check_random_state

from skarm.comparisons import Comparisons
from skarm.io import read_responses

__all__ = ["load_assistant_answers", "make_comparisons"]


def load_assistant_answers():
    """Load 480 rated answers to 80 everyday prompts, written for skarm.

    Six answers a prompt, of really different quality: wrong, evasive, padded, terse,
    good and excellent. Ratings follow a written rubric; length does not give quality
    away.

    Returns
    -------
    data : Bunch
        ``prompts``, ``responses``, ``kinds`` (ndarrays of str, one entry per answer),
        ``groups`` (prompt ids), ``ratings`` (float, 0 to 10), ``columns`` (the parts of
        the rating too) and ``DESCR``, the rubric.

    Notes
    -----
    The bad answers are bad on purpose; do not take advice from them.

    Examples
    --------
    >>> from skarm.datasets import load_assistant_answers
    >>> data = load_assistant_answers()
    >>> len(data.responses), len(set(data.groups))
    (480, 80)
    """
    folder = files("skarm.datasets") / "data"
    with as_file(folder / "assistant_answers.jsonl") as path:
        data = read_responses(path, rating="rating")
    return Bunch(
        prompts=data.prompts,
        responses=data.responses,
        kinds=data.columns["kind"],
        groups=data.groups,
        ratings=data.ratings,
        columns=data.columns,
        DESCR=(folder / "README.md").read_text(encoding="utf-8"),
    )


def make_comparisons(
    n_comparisons=500,
    *,
    n_items=200,
    n_features=10,
    n_groups=None,
    scale=2.0,
    random_state=None,
):
    """Draw comparisons of Gaussian items under a linear Bradley–Terry reward.

    Parameters
    ----------
    n_comparisons : int, default=500
        Distinct pairs to draw.
    n_items : int, default=200
        Items.
    n_features : int, default=10
        Features of an item, independent standard normal.
    n_groups : int, default=None
        Deal the items to so many groups and draw pairs within them only.
    scale : float, default=2.0
        Standard deviation of a true reward difference, in nats.
    random_state : int, RandomState or None, default=None
        Seed.

    Returns
    -------
    data : Bunch
        ``comparisons``, ``y`` (0 or 1, drawn with the true probabilities),
        ``probabilities``, ``rewards`` (per item) and ``coef``, the truth.

    Examples
    --------
    >>> from skarm.datasets import make_comparisons
    >>> data = make_comparisons(100, random_state=0)
    >>> data.comparisons
    Comparisons(100 pairs over 200 items of 10 features)
    """
    rng = check_random_state(random_state)
    items = rng.standard_normal((n_items, n_features))
    coef = rng.standard_normal(n_features)
    coef *= scale / np.sqrt(2) / np.linalg.norm(coef)
    groups = None if n_groups is None else np.arange(n_items) % n_groups
    comparisons = Comparisons.random_pairs(
        *(items, n_comparisons),
        groups=groups,
        scope="all" if n_groups is None else "within",
        random_state=rng,
    )
    rewards = items @ coef
    probabilities = expit(np.subtract(*rewards[comparisons.pairs].T))
    return Bunch(
        comparisons=comparisons,
        y=(rng.uniform(size=n_comparisons) < probabilities).astype(float),
        probabilities=probabilities,
        rewards=rewards,
        coef=coef,
    )
