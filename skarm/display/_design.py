"""DesignDisplay: a map of the items, and the pairs that were asked."""

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA, TruncatedSVD

from skarm._data.checks import check_numeric, check_some_pairs
from skarm._pool_design import _open
from skarm.display._axes import open_axes

__all__ = ["DesignDisplay"]


class DesignDisplay:
    """Map of the items in two dimensions, asked pairs as segments between them.

    Parameters
    ----------
    positions : ndarray of shape (n_items, 2)
        Where each item lies.
    pairs : ndarray of shape (n_pairs, 2)
        Indices of the items of each pair, in the order of asking.
    utilities : ndarray of shape (n_pairs,), default=None
        What each was worth to the strategy; colors the segments. None colors them by
        the order of asking.
    rewards : ndarray of shape (n_items,), default=None
        Of the items, to color them by.
    explained : float, default=None
        Share of the items' variance that the two dimensions show.

    Attributes
    ----------
    ax_, figure_
        What was drawn on.
    points_ : PathCollection
        The items.
    segments_ : LineCollection
        The pairs.

    Raises
    ------
    ValueError
        If positions are not in two dimensions, or lengths disagree.

    Examples
    --------
    >>> from skarm import DesignDisplay
    >>> display = DesignDisplay(positions=[[0, 0], [1, 2], [3, 1]], pairs=[[0, 2]])
    >>> display.positions.shape, display.pairs.shape
    ((3, 2), (1, 2))
    """

    def __init__(
        self, *, positions, pairs, utilities=None, rewards=None, explained=None
    ):
        self.positions = np.asarray(positions, dtype=np.float64)
        self.pairs = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
        self.utilities = None if utilities is None else np.asarray(utilities)
        self.rewards = None if rewards is None else np.asarray(rewards)
        self.explained = explained
        if self.positions.ndim != 2 or self.positions.shape[1] != 2:
            raise ValueError(
                "positions must have shape (n_items, 2). Got "
                f"{self.positions.shape}. from_estimator projects items of more "
                "features."
            )
        for name, values, n in (
            ("utilities", self.utilities, len(self.pairs)),
            ("rewards", self.rewards, len(self.positions)),
        ):
            if values is not None and values.shape != (n,):
                what = "pair" if name == "utilities" else "item"
                raise ValueError(
                    f"{name} must hold one number per {what}, {n}. Got shape "
                    f"{values.shape}."
                )

    @classmethod
    def from_estimator(
        cls, estimator, asked=None, *, utilities=None, ax=None, **plot_params
    ):
        """Draw the items as the model sees them, and pairs that were asked.

        Parameters
        ----------
        estimator : estimator or None
            A fitted reward model, pipeline or learner: the map shows the features
            that its last layer weighs. None shows the items as they are.
        asked : Comparisons or array of shape (n, 2, n_features), default=None
            The pairs to draw; all of their items are shown, named by a pair or not.
            None takes those that a learner has asked.
        utilities : array-like of shape (n,), default=None
            Of the pairs, as ``query(..., return_utilities=True)`` gives them.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_params : dict
            For :meth:`plot`.

        Returns
        -------
        display : DesignDisplay
            Drawn. More than two features are shown in their first two principal
            components, and the title says how much of the variance they hold.

        Raises
        ------
        ValueError
            If no pair is known.
        NotFittedError
            If the estimator is not fitted.
        """
        if asked is None:
            asked = getattr(estimator, "asked_", None)
            if asked is None:
                raise ValueError(
                    "asked must be given: the comparisons to draw. Got None, and the "
                    f"{type(estimator).__name__} is no learner that has asked any."
                )
        asked = check_some_pairs(asked)
        steps, model = _open(estimator)
        items = asked.items
        for step in steps:
            items = step.transform(items)
        rewards = None if model is None else model.predict(items)
        features = model.embed(items) if hasattr(model, "embed") else items
        positions, explained = _project(features)
        display = cls(
            positions=positions,
            pairs=asked.pairs,
            utilities=utilities,
            rewards=rewards,
            explained=explained,
        )
        return display.plot(ax, **plot_params)

    def plot(self, ax=None, *, cmap="viridis", colorbar=True, lw=1.6, s=14):
        """Draw the map.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        cmap : str or Colormap, default="viridis"
            Of the segments.
        colorbar : bool, default=True
            Draw the scales of colors.
        lw : float, default=1.6
            Width of the segments.
        s : float, default=14
            Area of the points.

        Returns
        -------
        display : DesignDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = open_axes(self, ax)
        from matplotlib.collections import LineCollection
        from matplotlib.ticker import MaxNLocator

        by_order = self.utilities is None
        values = np.arange(1, len(self.pairs) + 1) if by_order else self.utilities
        self.segments_ = LineCollection(
            self.positions[self.pairs], array=values, cmap=cmap, lw=lw, zorder=2
        )
        ax.add_collection(self.segments_)
        colors = {"color": "0.6"}
        if self.rewards is not None:
            colors = {"c": self.rewards, "cmap": "coolwarm"}
        self.points_ = ax.scatter(
            *self.positions.T, s=s, zorder=3, edgecolor="white", lw=0.3, **colors
        )
        if colorbar:
            label = "order of asking" if by_order else "utility when chosen"
            ticks = MaxNLocator(integer=True) if by_order else None
            self.figure_.colorbar(self.segments_, ax=ax, label=label, ticks=ticks)
            if self.rewards is not None:
                self.figure_.colorbar(self.points_, ax=ax, label="reward (nats)")
        title = f"{len(self.pairs)} pairs among {len(self.positions)} items"
        names = ("feature 1", "feature 2")
        if self.explained is not None:
            title += f"; {self.explained:.0%} of the variance is shown"
            names = ("component 1", "component 2")
        ax.set_title(title, fontsize="medium")
        ax.set(xlabel=names[0], ylabel=names[1])
        return self


def _project(features):
    """Two coordinates per row, and the share of variance they hold if fewer."""
    check_numeric(features, "DesignDisplay")
    if sparse.issparse(features):
        svd = TruncatedSVD(2, random_state=0)
        positions = svd.fit_transform(features)
        return positions, float(svd.explained_variance_ratio_.sum())
    features = np.asarray(features, dtype=np.float64)
    n_features = features.shape[1]
    if n_features <= 2:
        return np.pad(features, [(0, 0), (0, 2 - n_features)]), None
    pca = PCA(2, random_state=0)
    positions = pca.fit_transform(features)
    return positions, float(pca.explained_variance_ratio_.sum())
