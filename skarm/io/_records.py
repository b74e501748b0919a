"""What readers return: preferences, responses, and a report of the reading."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from skarm._data.checks import check_outcomes
from skarm.comparisons import Comparisons
from skarm.io._texts import as_item_texts, objects

__all__ = ["Preferences", "ReadReport", "Responses"]


@dataclass(frozen=True)
class ReadReport:
    """What a reader saw, and what it left out and why.

    Parameters
    ----------
    n_read : int, default=0
        Rows in the source.
    reasons : dict of str to list of str, default=None
        Where each reason to leave something out occurred, such as ``"line 3"``.

    Examples
    --------
    >>> from skarm.io import ReadReport
    >>> print(ReadReport(5, {"both responses are the same": ["line 2", "line 4"]}))
    5 rows read, 2 left out: both responses are the same (line 2, line 4)
    """

    n_read: int = 0
    reasons: dict = None

    def __post_init__(self):
        object.__setattr__(self, "reasons", dict(self.reasons or {}))

    @property
    def n_skipped(self):
        """How many rows, or answers within rows, were left out."""
        return sum(len(places) for places in self.reasons.values())

    def __str__(self):
        if not self.reasons:
            return f"{self.n_read:,} rows read, none left out"
        reasons = []
        for reason, places in self.reasons.items():
            shown = ", ".join(places[:5])
            more = f", {len(places) - 5:,} more" if len(places) > 5 else ""
            reasons.append(f"{reason} ({shown}{more})")
        return f"{self.n_read:,} rows read, {self.n_skipped:,} left out: " + "; ".join(
            reasons
        )


class _Texts:
    """Prompts and responses of a store of item texts."""

    @property
    def prompts(self):
        """Prompt of each item: a text or messages."""
        return objects([item.prompt for item in self._items])

    @property
    def responses(self):
        """Response of each item: a text or messages."""
        return objects([item.response for item in self._items])


@dataclass(frozen=True, eq=False, repr=False)
class Preferences(_Texts):
    """Comparisons of texts, their outcomes, and who said so.

    Parameters
    ----------
    comparisons : Comparisons
        Over texts (each distinct response to a prompt once), with prompts as groups.
    y : array-like of shape (n,), default=None
        Outcomes in [0, 1], NaN for a pair that the person would not judge; several
        annotators of one pair are several rows. None means all NaN.
    ids : array-like of shape (n,), default=None
        Id of each row, as in the source.
    annotators : array-like of shape (n,), default=None
        Who answered each row.
    sample_weight : array-like of shape (n,), default=None
        Weight of each row, for ``fit``.
    margins : array-like of shape (n,), default=None
        By how much the preferred one is better, as the source says; NaN where it does
        not.
    columns : dict of str to ndarray, default=None
        Every further column of the source, one entry per row.
    report : ReadReport, default=None
        What was read, and what was left out and why.

    Raises
    ------
    ValueError
        If lengths disagree, or an outcome lies outside [0, 1].

    Examples
    --------
    >>> from skarm import Comparisons
    >>> from skarm.io import Preferences
    >>> votes = Comparisons(["Yes.", "No idea."], [[0, 1], [1, 0], [0, 1]])
    >>> Preferences(votes, [1, 0, 0], annotators=["ann", "bob", "cy"]).aggregate().y
    array([0.66666667])
    """

    comparisons: Comparisons
    y: np.ndarray = None
    ids: np.ndarray = None
    annotators: np.ndarray = None
    sample_weight: np.ndarray = None
    margins: np.ndarray = None
    columns: dict = None
    report: ReadReport = None

    def __post_init__(self):
        n = len(self.comparisons)
        y = np.full(n, np.nan) if self.y is None else self.y
        checked = {
            "y": check_outcomes(y, n),
            "ids": self.ids if self.ids is None else objects(self.ids),
            "annotators": None if self.annotators is None else objects(self.annotators),
            "columns": {n: objects(c) for n, c in (self.columns or {}).items()},
        }
        for name in ("sample_weight", "margins"):
            value = getattr(self, name)
            checked[name] = None if value is None else np.asarray(value, dtype=float)
        rows = {**checked, **checked["columns"]}
        for name in rows.keys() - {"columns"}:
            if rows[name] is not None and len(rows[name]) != n:
                raise ValueError(
                    f"{name} must hold one entry per comparison, {n}. "
                    f"Got {len(rows[name])}. Select both by the same indices."
                )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def _items(self):
        return as_item_texts(self.comparisons.items)

    def __len__(self):
        return len(self.y)

    def __repr__(self):
        answered = int(np.sum(~np.isnan(self.y)))
        report = "" if self.report is None else f"; {self.report}"
        return (
            f"Preferences({len(self)} comparisons, {answered} answered, over "
            f"{self.comparisons.n_items} responses{report})"
        )

    def aggregate(self):
        """Make one row of all answers to a pair, on whichever side it was shown.

        Returns
        -------
        preferences : Preferences
            In order of first appearance, sides as there. ``y`` is the share of
            annotators who preferred the first (weighted, if there are weights),
            ``sample_weight`` their number (or total weight), so that a fit sees the
            same likelihood; ``ids`` the first id. Annotators, margins and columns are
            left behind.
        """
        pairs = self.comparisons.pairs
        low, high = np.sort(pairs, axis=1).T
        keys, first, code = np.unique(
            low * np.intp(self.comparisons.n_items) + high,
            return_index=True,
            return_inverse=True,
        )
        swapped = pairs[:, 0] != pairs[first[code], 0]
        y = np.where(swapped, 1.0 - self.y, self.y)
        weight = np.ones(len(y)) if self.sample_weight is None else self.sample_weight
        weight = np.where(np.isnan(y), 0.0, weight)
        total = np.bincount(code, weight, minlength=len(keys))
        won = np.bincount(code, weight * np.nan_to_num(y), minlength=len(keys))
        with np.errstate(invalid="ignore"):
            share = np.clip(won / total, 0.0, 1.0)
        order = np.argsort(first)
        return Preferences(
            self.comparisons[first[order]],
            share[order],
            ids=None if self.ids is None else self.ids[first[order]],
            sample_weight=total[order],
            report=self.report,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Responses(_Texts):
    """Responses to prompts, perhaps rated.

    Parameters
    ----------
    items : array-like of ItemText
        One text per response.
    groups : array-like of shape (n_items,)
        Prompt of each response: its id in the source, or a number.
    ratings : array-like of shape (n_items,), default=None
        Rating of each response, NaN where there is none.
    ids : array-like of shape (n_items,), default=None
        Id of each response, as in the source.
    columns : dict of str to ndarray, default=None
        Every further column of the source, one entry per response.
    report : ReadReport, default=None
        What was read, and what was left out and why.
    """

    items: np.ndarray
    groups: np.ndarray
    ratings: np.ndarray = None
    ids: np.ndarray = None
    columns: dict = None
    report: ReadReport = None

    def __post_init__(self):
        object.__setattr__(self, "columns", dict(self.columns or {}))

    @property
    def _items(self):
        return self.items

    def __len__(self):
        return len(self.items)

    def __repr__(self):
        rated = "" if self.ratings is None else ", rated"
        report = "" if self.report is None else f"; {self.report}"
        prompts = len(set(self.groups.tolist()))
        return f"Responses({len(self)} to {prompts} prompts{rated}{report})"

    def preferences(self, *, ties=False):
        """Compare the responses to each prompt by their ratings.

        Parameters
        ----------
        ties : bool, default=False
            Whether responses of equal rating are compared, with outcome 0.5.

        Returns
        -------
        preferences : Preferences
            Every pair in a prompt; ``margins`` are the rating differences.

        Raises
        ------
        ValueError
            If there are no ratings.
        """
        if self.ratings is None:
            raise ValueError(
                "responses must have ratings to be compared. Got none. Read them with "
                "rating=COLUMN, or ask: Comparisons.all_pairs(items, groups=groups)."
            )
        members = {}
        for row, group in enumerate(self.groups.tolist()):
            if not np.isnan(self.ratings[row]):
                members.setdefault(group, []).append(row)
        pairs = [pair for rows in members.values() for pair in combinations(rows, 2)]
        pairs = np.array(pairs, dtype=np.intp).reshape(-1, 2)
        gap = np.subtract(*self.ratings[pairs].T)
        keep = np.flatnonzero((gap != 0) | ties)
        return Preferences(
            Comparisons(self.items, pairs[keep], groups=self.groups),
            (1.0 + np.sign(gap[keep])) / 2.0,
            margins=np.abs(gap[keep]),
            report=self.report,
        )
