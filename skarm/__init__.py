"""skarm: which comparisons to ask for, a reward model on the answers, how sure it is.

Choose the pairs of LLM responses that people should compare next, fit a
Bradley–Terry reward model on their answers, and see how sure it is. The data
convention is in :mod:`skarm.comparisons`.
"""

__version__ = "0.1.0"

from skarm.comparisons import Comparisons

__all__ = ["Comparisons"]
