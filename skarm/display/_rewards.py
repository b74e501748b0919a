"""How rewards are distributed, and what picking the best of n by them is worth."""

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from skarm.display._axes import open_axes
from skarm.metrics import best_of_n

__all__ = ["BestOfNDisplay", "RewardDistributionDisplay"]


class RewardDistributionDisplay:
    """How the rewards of items are distributed, all together or by label.

    Parameters
    ----------
    rewards : ndarray of shape (n_items,)
        In nats.
    labels : ndarray of shape (n_items,), default=None
        Of each item, such as the model that wrote it; None draws one histogram.

    Attributes
    ----------
    ax_, figure_
        What was drawn on.
    histograms_ : list of StepPatch
        In the order of the labels' means, highest first.

    Raises
    ------
    ValueError
        If the lengths disagree.

    Examples
    --------
    >>> from skarm import RewardDistributionDisplay
    >>> display = RewardDistributionDisplay(rewards=[0.0, 1.0, 3.0], labels=list("aab"))
    >>> display.order
    ['b', 'a']
    """

    def __init__(self, *, rewards, labels=None):
        self.rewards = column_or_1d(np.asarray(rewards, dtype=np.float64))
        self.labels = None if labels is None else np.asarray(labels)
        check_consistent_length(self.rewards, self.labels)

    @property
    def order(self):
        """Labels by mean reward, highest first; empty without labels."""
        if self.labels is None:
            return []
        names = np.unique(self.labels)
        means = [self.rewards[self.labels == name].mean() for name in names]
        return names[np.argsort(-np.array(means), kind="stable")].tolist()

    @classmethod
    def from_estimator(cls, estimator, items, *, labels=None, ax=None, **plot_params):
        """Predict the rewards of items, and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted reward model, pipeline or learner.
        items : array-like of n_items rows
            What ``estimator.predict`` turns into rewards.
        labels : array-like of shape (n_items,), default=None
            Of each item, such as the model that wrote it.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_params : dict
            For :meth:`plot`.

        Returns
        -------
        display : RewardDistributionDisplay
            Drawn.
        """
        display = cls(rewards=estimator.predict(items), labels=labels)
        return display.plot(ax, **plot_params)

    def plot(self, ax=None, *, bins="auto"):
        """Draw the histograms, over common bins.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        bins : int, sequence or str, default="auto"
            As for ``numpy.histogram``.

        Returns
        -------
        display : RewardDistributionDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = open_axes(self, ax)
        edges = np.histogram_bin_edges(self.rewards, bins)
        parts = {None: self.rewards}
        if self.labels is not None:
            parts = {name: self.rewards[self.labels == name] for name in self.order}
        self.histograms_ = []
        for k, (name, rewards) in enumerate(parts.items()):
            counts, _ = np.histogram(rewards, edges)
            share = counts / max(counts.sum(), 1)
            label = None if name is None else f"{name} (mean {rewards.mean():+.2f})"
            patch = ax.stairs(
                share, edges, fill=name is None, color=f"C{k % 10}", label=label
            )
            self.histograms_.append(patch)
            if name is not None:
                ax.axvline(rewards.mean(), color=f"C{k % 10}", ls=":", lw=1)
        if self.labels is not None:
            ax.set_ylim(top=(1 + 0.1 * len(parts)) * ax.get_ylim()[1])
            ax.legend(frameon=False)
        ax.set(xlabel="reward (nats)", ylabel="share of items")
        return self


class BestOfNDisplay:
    """What taking the best of n responses is worth, by predicted and by true reward.

    Parameters
    ----------
    n_values : array-like of int
        How many responses to a prompt are drawn.
    rewards : dict of str to ndarray of shape (len(n_values),)
        By model: expected true reward of the one it prefers, rescaled for each prompt
        so that 0 is the mean response and 1 the best.
    attainable : ndarray of shape (len(n_values),)
        The same if the truly best of the n is taken.

    Attributes
    ----------
    ax_, figure_
        What was drawn on.
    lines_ : list of Line2D
        A line per model.

    Raises
    ------
    ValueError
        If the lengths disagree.

    See Also
    --------
    skarm.metrics.best_of_n : The numbers, which are exact.

    Examples
    --------
    >>> from skarm import BestOfNDisplay
    >>> display = BestOfNDisplay(
    ...     n_values=[1, 2], rewards={"model": [0.0, 0.4]}, attainable=[0.0, 0.6]
    ... )
    >>> display.rewards["model"]
    array([0. , 0.4])
    """

    def __init__(self, *, n_values, rewards, attainable):
        self.n_values = np.asarray(n_values)
        self.rewards = {name: np.asarray(row) for name, row in rewards.items()}
        self.attainable = np.asarray(attainable)
        check_consistent_length(self.n_values, self.attainable, *self.rewards.values())

    @classmethod
    def from_estimator(
        cls,
        estimator,
        items,
        reward_true,
        *,
        groups=None,
        n_values=(1, 2, 4, 8, 16),
        name=None,
        ax=None,
        **plot_params,
    ):
        """Predict the rewards of items, and draw what the best of n is worth.

        Parameters
        ----------
        estimator : estimator
            A fitted reward model, pipeline or learner.
        items : array-like of n_items rows
            What ``estimator.predict`` turns into rewards.
        reward_true : array-like of shape (n_items,)
            True rewards; NaN = not rated.
        groups : array-like of shape (n_items,), default=None
            The prompt of each item.
        n_values : array-like of int, default=(1, 2, 4, 8, 16)
            How many responses to draw; those that no prompt has are left out.
        name : str, default=None
            What to call the model; None takes its class.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_params : dict
            For :meth:`plot`.

        Returns
        -------
        display : BestOfNDisplay
            Drawn.
        """
        return cls.from_predictions(
            reward_true,
            {name or type(estimator).__name__: estimator.predict(items)},
            groups=groups,
            n_values=n_values,
            ax=ax,
            **plot_params,
        )

    @classmethod
    def from_predictions(
        cls,
        reward_true,
        rewards_pred,
        *,
        groups=None,
        n_values=(1, 2, 4, 8, 16),
        ax=None,
        **plot_params,
    ):
        """Draw what the best of n is worth by several predictions.

        Parameters
        ----------
        reward_true : array-like of shape (n_items,)
            True rewards; NaN = not rated.
        rewards_pred : dict of str to array-like of shape (n_items,)
            Predicted rewards, by model.
        groups : array-like of shape (n_items,), default=None
            The prompt of each item.
        n_values : array-like of int, default=(1, 2, 4, 8, 16)
            How many responses to draw; those that no prompt has are left out.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_params : dict
            For :meth:`plot`.

        Returns
        -------
        display : BestOfNDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the lengths differ, or no prompt has so many responses.
        """
        params = {"groups": groups, "n_values": n_values, "normalize": True}
        truth = np.asarray(reward_true, dtype=np.float64)
        attainable = best_of_n(truth, np.nan_to_num(truth), **params)
        known = ~np.isnan(attainable)
        if not known.any():
            raise ValueError(
                f"a group must have as many responses as one of n_values, {n_values}, "
                "not all of the same reward. None has. Pass groups, or smaller n."
            )
        rewards = {
            name: best_of_n(truth, pred, **params)[known]
            for name, pred in rewards_pred.items()
        }
        display = cls(
            n_values=np.asarray(n_values)[known],
            rewards=rewards,
            attainable=attainable[known],
        )
        return display.plot(ax, **plot_params)

    def plot(self, ax=None):
        """Draw the curves between chance and the attainable.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : BestOfNDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = open_axes(self, ax)
        ax.plot(self.n_values, self.attainable, color="0.25", ls=":", label="true best")
        self.lines_ = [
            ax.plot(self.n_values, row, marker="o", ms=4, label=name)[0]
            for name, row in self.rewards.items()
        ]
        chance = np.zeros(len(self.n_values))
        ax.plot(self.n_values, chance, color="0.45", ls="--", label="taken at random")
        ax.set_xscale("log", base=2)
        ax.set_xticks(self.n_values, labels=map(str, self.n_values))
        ax.minorticks_off()
        ax.set(
            xlabel="n, responses to choose from",
            ylabel="true reward of the choice\n(0 = mean, 1 = best of all)",
        )
        ax.grid(alpha=0.25)
        ax.legend(frameon=False)
        return self
