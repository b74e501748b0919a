"""skarm: which comparisons to ask for, a reward model on the answers, how sure it is.

Choose the pairs of LLM responses that people should compare next, fit a
Bradley–Terry reward model on their answers, and see how sure it is. The data
convention is in :mod:`skarm.comparisons`.
"""

__version__ = "0.1.0"

from skarm.bradley_terry import BradleyTerryRegressor
from skarm.comparisons import Comparisons
from skarm.itemwise import ItemwiseTransformer, make_reward_pipeline
from skarm.learner import ActiveRewardLearner
from skarm.sampler import ActiveComparisonSampler

__all__ = [
    "ActiveComparisonSampler",
    "ActiveRewardLearner",
    "BradleyTerryRegressor",
    "Comparisons",
    "ItemwiseTransformer",
    "make_reward_pipeline",
]
