"""ActiveLearningCurveDisplay: quality against the number of answers, with random."""

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import ShuffleSplit, check_cv

from skarm._data.checks import check_outcomes, check_some_pairs
from skarm.display._axes import open_axes
from skarm.metrics import get_scorer

__all__ = ["ActiveLearningCurveDisplay"]


class ActiveLearningCurveDisplay:
    """Quality of the model against the number of answers, one curve per strategy.

    A curve without spread or without random beside it says nothing: every strategy has
    a row per seed, and the baseline must be among them.

    Parameters
    ----------
    n_labels : ndarray of shape (n_rounds,)
        Answers known at each point.
    scores : dict of str to ndarray of shape (n_seeds, n_rounds)
        By strategy; greater is better.
    score_name : str, default="score"
        What the scores are, for the axis.
    baseline : str, default="random"
        The strategy that all others must beat.

    Attributes
    ----------
    ax_, figure_
        What was drawn on.
    lines_ : list of Line2D
        Means over seeds, a line per strategy.
    bands_ : list of artists
        Spreads over seeds.

    Raises
    ------
    ValueError
        If the baseline is missing, or the arrays do not fit together.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : The passive one.

    Examples
    --------
    >>> from skarm import ActiveLearningCurveDisplay
    >>> display = ActiveLearningCurveDisplay(
    ...     n_labels=[10, 20], scores={"random": [[0.5, 0.6]], "auto": [[0.6, 0.7]]}
    ... )
    >>> display.scores["auto"].shape
    (1, 2)
    """

    def __init__(self, *, n_labels, scores, score_name="score", baseline="random"):
        self.n_labels = np.asarray(n_labels)
        self.scores = {
            name: np.atleast_2d(np.asarray(rows, dtype=np.float64))
            for name, rows in scores.items()
        }
        self.score_name = score_name
        self.baseline = baseline
        if baseline not in self.scores:
            raise ValueError(
                f"results must hold the baseline {baseline!r}, because a curve means "
                f"nothing alone. Got {list(self.scores)}. Run {baseline!r} under the "
                "same seeds and rounds, or name another one with baseline=."
            )
        for name, rows in self.scores.items():
            if rows.ndim != 2 or rows.shape[1:] != self.n_labels.shape:
                raise ValueError(
                    "scores must be arrays (n_seeds, n_rounds), n_rounds being the "
                    f"length of n_labels, {self.n_labels.shape}. Those of {name!r} "
                    f"have shape {rows.shape}."
                )

    @classmethod
    def from_results(
        cls,
        results,
        *,
        score,
        n_labels=None,
        baseline="random",
        ax=None,
        **plot_params,
    ):
        """Draw recorded results.

        Parameters
        ----------
        results : DataFrame or dict
            A tidy table with columns ``strategy``, ``seed``, ``n_labels`` and the
            score, one row per round; or arrays (n_seeds, n_rounds) by strategy.
        score : str
            Column of the score, or what the arrays hold.
        n_labels : array-like of shape (n_rounds,), default=None
            Answers at each round; needed for arrays.
        baseline : str, default="random"
            The strategy that all others must beat.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_params : dict
            For :meth:`plot`.

        Returns
        -------
        display : ActiveLearningCurveDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the baseline or a column is missing, or a strategy lacks rounds.
        """
        if hasattr(results, "iloc"):
            n_labels, results = _pivot(results, score)
        elif n_labels is None:
            raise ValueError(
                "n_labels must be given with arrays: the number of answers at each "
                "round. Got None."
            )
        display = cls(
            n_labels=n_labels, scores=results, score_name=score, baseline=baseline
        )
        return display.plot(ax, **plot_params)

    @classmethod
    def from_estimator(
        cls,
        learner,
        X,
        y,
        *,
        strategies=("random", "auto"),
        scoring="pairwise_accuracy",
        cv=None,
        n_jobs=None,
        random_state=None,
        ax=None,
        **plot_params,
    ):
        """Replay recorded answers under several strategies, and draw.

        Parameters
        ----------
        learner : ActiveRewardLearner
            Says model, budget and batch sizes; cloned.
        X : Comparisons or array of shape (n, 2, n_features)
            Comparisons whose answers were recorded.
        y : array-like of shape (n,)
            The outcomes.
        strategies : sequence of str, default=("random", "auto")
            To compare; "random" is run even if it is not named.
        scoring : str or callable, default="pairwise_accuracy"
            A name of :func:`skarm.metrics.get_scorer`, or a scorer.
        cv : int, splitter or iterable, default=None
            Each split is a seed. None draws 10 random splits, a quarter for scoring;
            give :class:`skarm.model_selection.ItemKFold` or splits by prompt where
            items or prompts must not be on both sides.
        n_jobs : int, default=None
            Processes.
        random_state : int, RandomState or None, default=None
            Of the splits; the learner's own is the number of the split.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_params : dict
            For :meth:`plot`.

        Returns
        -------
        display : ActiveLearningCurveDisplay
            Drawn. At every round the model is fitted afresh on the answers so far.
        """
        X = check_some_pairs(X)
        y = check_outcomes(y, len(X))
        if cv is None:
            cv = ShuffleSplit(10, test_size=0.25, random_state=random_state)
        scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        splits = list(check_cv(cv).split(X, y))
        names = list(dict.fromkeys(["random", *strategies]))
        curves = Parallel(n_jobs=n_jobs)(
            delayed(_replay)(learner, name, seed, X, y, *split, scorer)
            for name in names
            for seed, split in enumerate(splits)
        )
        # Splits may differ by an answer or two; the rounds that all have are drawn.
        n_rounds = min(len(labels) for labels, _ in curves)
        n_labels = curves[0][0][:n_rounds]
        scores = np.array([curve[:n_rounds] for _, curve in curves])
        scores = scores.reshape(len(names), len(splits), n_rounds)
        display = cls(
            n_labels=n_labels,
            scores=dict(zip(names, scores, strict=True)),
            score_name=scoring if isinstance(scoring, str) else "score",
        )
        return display.plot(ax, **plot_params)

    def plot(self, ax=None, *, band="se", names=None, colors=None):
        """Draw the curves.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        band : {"se", "sd", "range"} or None, default="se"
            Spread over seeds: standard error of the mean, standard deviation, or from
            least to greatest.
        names : dict of str to str, default=None
            What to call strategies in the legend.
        colors : dict of str to color, default=None
            Of strategies. The baseline is gray and dashed unless named here.

        Returns
        -------
        display : ActiveLearningCurveDisplay
            Drawn.

        Raises
        ------
        ValueError
            If `band` is unknown.
        ImportError
            If matplotlib is not installed.
        """
        if band not in ("se", "sd", "range", None):
            raise ValueError(f"band must be 'se', 'sd', 'range' or None. Got {band!r}.")
        ax = open_axes(self, ax)
        names, colors = names or {}, colors or {}
        self.lines_, self.bands_ = [], []
        for strategy, rows in self.scores.items():
            style = {"marker": "o", "ms": 3.5, "color": colors.get(strategy)}
            if strategy == self.baseline:
                style |= {"ls": "--", "color": colors.get(strategy, "0.45")}
            label = names.get(strategy, strategy)
            mean = rows.mean(axis=0)
            (line,) = ax.plot(self.n_labels, mean, label=label, **style)
            self.lines_.append(line)
            if band is not None and len(rows) > 1:
                sd = rows.std(axis=0, ddof=1)
                error = sd / np.sqrt(len(rows)) if band == "se" else sd
                ends = (mean - error, mean + error)
                if band == "range":
                    ends = (rows.min(axis=0), rows.max(axis=0))
                area = ax.fill_between(
                    self.n_labels, *ends, color=line.get_color(), alpha=0.18, lw=0
                )
                self.bands_.append(area)
        n_seeds = sorted({len(rows) for rows in self.scores.values()})
        seeds = " to ".join(map(str, dict.fromkeys([n_seeds[0], n_seeds[-1]])))
        spread = {"se": "mean ± standard error", "sd": "mean ± sd", "range": "range"}
        title = f"{spread.get(band, 'mean')}, {seeds} seeds"
        if n_seeds[-1] == 1:
            title = "one seed"
        ax.legend(
            frameon=False,
            title=title,
            title_fontsize="small",
        )
        ylabel = self.score_name.replace("_", " ")
        ax.set(xlabel="comparisons answered", ylabel=ylabel)
        ax.grid(alpha=0.25)
        return self


def _pivot(table, score):
    """Rounds, and (n_seeds, n_rounds) by strategy, of a tidy table."""
    needed = ["strategy", "seed", "n_labels", score]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(
            f"results must have the columns {needed}. Got {list(table.columns)}, "
            f"which lacks {missing}."
        )
    scores = {}
    for strategy, rows in table.groupby("strategy", sort=False):
        rows = rows.pivot_table(index="seed", columns="n_labels", values=score)
        scores[str(strategy)] = rows
    n_labels = np.unique(table["n_labels"])
    for strategy, rows in scores.items():
        if len(rows.columns) != len(n_labels) or rows.isna().to_numpy().any():
            raise ValueError(
                "every strategy must have every round for every seed. "
                f"{strategy!r} lacks some of n_labels {n_labels.tolist()}. Finish the "
                "run, or keep the rounds that all have."
            )
    return n_labels, {name: rows.to_numpy() for name, rows in scores.items()}


def _replay(learner, strategy, seed, X, y, train, test, scorer):
    """Answers and score after each round of one replay."""
    learner = clone(learner).set_params(sampler__strategy=strategy, random_state=seed)
    learner.fit(X[train], y[train])
    asked = train[learner.asked_indices_]
    n_labels = np.cumsum([record["n_new"] for record in learner.history_])
    scores = []
    for n in n_labels:
        known = asked[:n]
        model = clone(learner.estimator).fit(X[known], y[known])
        scores.append(scorer(model, X[test], y[test]))
    return n_labels, scores
