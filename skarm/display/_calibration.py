"""ComparisonCalibrationDisplay: whether 80 % sure means right in 80 %."""

import numpy as np

from skarm.display._axes import open_axes
from skarm.metrics import log_loss, pairwise_accuracy

__all__ = ["ComparisonCalibrationDisplay"]


class ComparisonCalibrationDisplay:
    """Whether predicted preference probabilities are met by the answers.

    The order of a pair means nothing, so each is turned to the side that the model
    prefers: probabilities run from 0.5 to 1, and the curve is the share of answers that
    agree. Bins hold equally many answers.

    Parameters
    ----------
    prob_pred : ndarray of shape (n_bins,)
        Mean predicted probability of the preferred side in each bin.
    prob_true : ndarray of shape (n_bins,)
        Share of answers that agree.
    counts : ndarray of shape (n_bins,)
        Answers in each bin.
    name : str, default=None
        What to call the model.

    Attributes
    ----------
    ax_, figure_
        What was drawn on.
    line_ : Line2D
        The curve.
    bars_ : container
        With 95 % Wilson intervals of the shares.

    See Also
    --------
    skarm.metrics.log_loss : The number to compare models by.

    Examples
    --------
    >>> from skarm import ComparisonCalibrationDisplay
    >>> display = ComparisonCalibrationDisplay(
    ...     prob_pred=[0.6, 0.9], prob_true=[0.5, 0.9], counts=[20, 20]
    ... )
    >>> display.intervals.round(2)
    array([[0.3 , 0.7 ],
           [0.7 , 0.97]])
    """

    def __init__(self, *, prob_pred, prob_true, counts, name=None):
        self.prob_pred = np.asarray(prob_pred, dtype=np.float64)
        self.prob_true = np.asarray(prob_true, dtype=np.float64)
        self.counts = np.asarray(counts)
        self.name = name

    @property
    def intervals(self):
        """95 % Wilson interval of each share, (n_bins, 2)."""
        z = 1.959963984540054  # the 97.5 % quantile of the normal
        n, share = self.counts, self.prob_true
        middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
        return np.stack([middle - half, middle + half], axis=1)

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, n_bins=8, name=None, ax=None, **plot_params
    ):
        """Predict comparisons the model has not learned, and draw.

        Parameters
        ----------
        estimator : estimator
            A fitted reward model, pipeline or learner.
        X : Comparisons or array of shape (n, 2, n_features)
            Comparisons with answers that were not in the fit.
        y : array-like of shape (n,)
            Their outcomes.
        n_bins : int, default=8
            At most how many bins.
        name : str, default=None
            What to call the model; None takes its class.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_params : dict
            For :meth:`plot`.

        Returns
        -------
        display : ComparisonCalibrationDisplay
            Drawn.
        """
        name = name or type(estimator).__name__
        return cls.from_predictions(
            y, estimator.predict(X), n_bins=n_bins, name=name, ax=ax, **plot_params
        )

    @classmethod
    def from_predictions(
        cls, y_true, y_pred, *, n_bins=8, name=None, ax=None, **plot_params
    ):
        """Draw predicted probabilities against answers.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            Outcomes in [0, 1]; NaN = not asked, left out. A tie agrees by one half.
        y_pred : array-like of shape (n,)
            P(first preferred).
        n_bins : int, default=8
            At most how many bins.
        name : str, default=None
            What to call the model.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_params : dict
            For :meth:`plot`.

        Returns
        -------
        display : ComparisonCalibrationDisplay
            Drawn. The legend tells log loss and pairwise accuracy.

        Raises
        ------
        ValueError
            If nothing was answered, or a value is outside its range.
        """
        y, p = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred)
        if np.isnan(y).all():
            raise ValueError(f"y_true must hold answers. Got {len(y)} NaN.")
        loss, accuracy = log_loss(y, p), pairwise_accuracy(y, p)
        asked = ~np.isnan(y)
        y, p = y[asked], p[asked]
        agree, p = np.where(p < 0.5, 1 - y, y), np.maximum(p, 1 - p)
        order = np.argsort(p, kind="stable")
        bins = np.array_split(order, min(n_bins, len(order)))
        text = f"log loss {loss:.3f}, accuracy {accuracy:.3f}"
        display = cls(
            prob_pred=[p[rows].mean() for rows in bins],
            prob_true=[agree[rows].mean() for rows in bins],
            counts=[len(rows) for rows in bins],
            name=f"{name}\n{text}" if name else text,
        )
        return display.plot(ax, **plot_params)

    def plot(self, ax=None, *, name=None, ref_line=True, **line_params):
        """Draw the curve with its intervals.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            What to call the model; None keeps the display's own.
        ref_line : bool, default=True
            Also draw perfect calibration.
        **line_params : dict
            For ``Axes.errorbar``.

        Returns
        -------
        display : ComparisonCalibrationDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = open_axes(self, ax)
        if ref_line:
            ax.plot([0.5, 1], [0.5, 1], color="0.45", ls="--", label="calibrated")
        errors = np.abs(self.intervals - self.prob_true[:, None]).T
        style = {"marker": "o", "ms": 4, "capsize": 2, "elinewidth": 1, **line_params}
        self.bars_ = ax.errorbar(
            self.prob_pred, self.prob_true, errors, label=name or self.name, **style
        )
        self.line_ = self.bars_.lines[0]
        ax.set(
            xlabel="predicted probability of the preferred side",
            ylabel="share of answers that agree",
            xlim=(0.49, 1.01),
        )
        ax.grid(alpha=0.25)
        ax.legend(frameon=False, loc="lower right")
        return self
