"""Sample data that ships with skarm, and synthetic comparisons."""

from skarm.datasets._samples import load_assistant_answers, make_comparisons

__all__ = ["load_assistant_answers", "make_comparisons"]
