"""What all displays share: axes to draw on, and a quiet look."""

from skarm._optional import import_optional

__all__ = ["open_axes"]


def open_axes(display, ax):
    """The figure and axes to draw on; new ones where none are given."""
    needed_by = f"{type(display).__name__}.plot"
    plt = import_optional("matplotlib.pyplot", needed_by=needed_by, extra="plot")
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    display.ax_, display.figure_ = ax, ax.figure
    return ax
