"""How comparisons and learners show themselves, in a terminal and in a notebook."""

from html import escape

import numpy as np
from scipy import sparse

from skarm._data.items import describe_items

__all__ = ["comparisons_html", "comparisons_text", "progress_text"]

#: Pairs, features of an item, and characters of a text that are shown.
N_PAIRS, N_FEATURES, N_CHARACTERS = 5, 3, 80


def comparisons_text(comparisons):
    """One line: how many pairs over what, and the first of them."""
    shown = [str(tuple(pair)) for pair in comparisons[:3].pairs.tolist()]
    if len(comparisons) > 3:
        shown.append("...")
    pairs = f": {', '.join(shown)}" if shown else ""
    return f"Comparisons({_summary(comparisons)}{pairs})"


def comparisons_html(comparisons):
    """The first pairs as a table, their items beside each other."""
    head = comparisons[:N_PAIRS]
    rows = []
    for pair in head.pairs.tolist():
        cells = "".join(
            f"<td style='text-align:left'><b>{k}</b> {escape(_item(head.items, k))}"
            f"{_group(head.groups, k)}</td>"
            for k in pair
        )
        rows.append(f"<tr>{cells}</tr>")
    if len(comparisons) > len(head):
        n_more = len(comparisons) - len(head)
        rows.append(f"<tr><td colspan='2'>… {n_more:,} more</td></tr>")
    return (
        f"<p>Comparisons: {escape(_summary(comparisons))}</p>"
        "<table><tr><th style='text-align:left'>first</th>"
        f"<th style='text-align:left'>second</th></tr>{''.join(rows)}</table>"
    )


def progress_text(learner):
    """What a learner has asked, what is left, and its last score; "" before that."""
    y = getattr(learner, "y_", None)
    if y is None:
        return ""
    parts = [f"asked {len(y)}"]
    skipped = int(np.isnan(y).sum())
    if skipped:
        parts[0] += f" ({skipped} skipped)"
    if hasattr(learner, "n_left_"):
        parts.append(f"left {learner.n_left_}")
    scores = [record["accuracy_before"] for record in getattr(learner, "history_", [])]
    scores = [score for score in scores if not np.isnan(score)]
    if scores:
        parts.append(f"accuracy on the last answers before learning {scores[-1]:.2f}")
    return ", ".join(parts)


def _summary(comparisons):
    lazy = ""
    if comparisons.is_lazy:
        lazy = f", every pair of {comparisons._pairs.scope!r}"
    kind = describe_items(comparisons.items)
    return f"{len(comparisons)} pairs over {comparisons.n_items} {kind}{lazy}"


def _item(items, k):
    """A text, shortened, or the first features."""
    if hasattr(items, "iloc"):
        row = items.iloc[k].tolist()
    elif sparse.issparse(items):
        row = items[[k]].toarray().ravel().tolist()
    elif items.ndim == 1:
        text = " ".join(str(items[k]).split())
        return text if len(text) <= N_CHARACTERS else text[: N_CHARACTERS - 1] + "…"
    else:
        row = items[k].tolist()
    cells = [
        f"{value:.3g}" if isinstance(value, float) else str(value) for value in row
    ]
    more = ", …" if len(cells) > N_FEATURES else ""
    return f"[{', '.join(cells[:N_FEATURES])}{more}]"


def _group(groups, k):
    return "" if groups is None else f" <i>(group {escape(str(groups[k]))})</i>"
