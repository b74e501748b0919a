"""skarm: which comparisons to ask for, a reward model on the answers, how sure it is.

Choose the pairs of LLM responses that people should compare next, fit a
Bradley–Terry reward model on their answers, and see how sure it is.

==================  ==============================================================
`comparisons`       the data convention: items, pairs, outcomes (start here)
`bradley_terry`     the reward model; `_likelihood` (formulas), `_linear` and
                    `_newton` (exact fit), `_evidence` (alpha), `_networks` and
                    `_training` (MLP), `_choice` (MLP or linear), `_posterior`
`sampler`           which pairs to ask: `strategies` on a `Design`; `_fisher` (the
                    information), `_all_pairs` and `_pair_scan` (among every pair)
`learner`           the loop of asking, answering and refitting
`itemwise`, `text`  what comes before the model: item steps, embedding
`annotators`        who answers
`metrics`           how good it is
`datasets`          sample data, synthetic comparisons
`io`                preference data in and out: TRL, Label Studio, Argilla, ...
==================  ==============================================================
"""

__version__ = "0.1.0"

from skarm import annotators, datasets, io, metrics, strategies, text
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
    "annotators",
    "datasets",
    "io",
    "make_reward_pipeline",
    "metrics",
    "strategies",
    "text",
]
