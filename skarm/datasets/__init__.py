"""Sample data that ships with skarm, readers for yours, and synthetic comparisons."""

from skarm.datasets._readers import read_columns, read_preferences, read_responses
from skarm.datasets._samples import load_assistant_answers, make_comparisons

__all__ = [
    "load_assistant_answers",
    "make_comparisons",
    "read_columns",
    "read_preferences",
    "read_responses",
]
