"""skarm: which comparisons to ask for, a reward model on the answers, how sure it is.

Choose the pairs of LLM responses that people should compare next, fit a
Bradley–Terry reward model on their answers, and see how sure it is.

==================  ==============================================================
`comparisons`       the data convention: items, pairs, outcomes (start here)
`bradley_terry`     the reward model; its mathematics is in `_model`
`sampler`           which pairs to ask: `strategies` on a `Design`; the mathematics
                    of designs is in `_information`
`learner`           the loop of asking, answering and refitting
`itemwise`, `text`  what comes before the model: item steps, embedding
`annotators`        who answers
`metrics`           how good it is; `model_selection`: splits that leak nothing
`utils`             checks for comparison estimators of your own
`display`           pictures: learning curves, designs, calibration, rewards, best of n
`datasets`          sample data, synthetic comparisons
`io`                preference data in and out: TRL, Label Studio, Argilla, ...
`modal`,            the learner of modAL, and a strategy of scikit-activeml, for
`skactiveml`        comparisons (the latter to be imported by name)
==================  ==============================================================
"""

__version__ = "0.1.0"

from skarm import (
    annotators,
    datasets,
    io,
    metrics,
    modal,
    model_selection,
    strategies,
    text,
    utils,
)
from skarm.bradley_terry import BradleyTerryRegressor
from skarm.comparisons import Comparisons
from skarm.display import (
    ActiveLearningCurveDisplay,
    BestOfNDisplay,
    ComparisonCalibrationDisplay,
    DesignDisplay,
    RewardDistributionDisplay,
)
from skarm.itemwise import ItemwiseTransformer, make_reward_pipeline
from skarm.learner import ActiveRewardLearner
from skarm.sampler import ActiveComparisonSampler

__all__ = [
    "ActiveComparisonSampler",
    "ActiveLearningCurveDisplay",
    "ActiveRewardLearner",
    "BestOfNDisplay",
    "BradleyTerryRegressor",
    "ComparisonCalibrationDisplay",
    "Comparisons",
    "DesignDisplay",
    "ItemwiseTransformer",
    "RewardDistributionDisplay",
    "annotators",
    "datasets",
    "io",
    "make_reward_pipeline",
    "metrics",
    "modal",
    "model_selection",
    "strategies",
    "text",
    "utils",
]
