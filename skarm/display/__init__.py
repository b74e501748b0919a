"""Pictures, in scikit-learn's manner.

A display holds the arrays it draws, so that they can be read, saved and drawn again:
``from_estimator``, ``from_predictions`` or ``from_results`` compute them and draw,
``plot(ax=...)`` draws. matplotlib is needed only then, ``skarm[plot]``.
"""

from skarm.display._calibration import ComparisonCalibrationDisplay
from skarm.display._design import DesignDisplay
from skarm.display._learning_curve import ActiveLearningCurveDisplay
from skarm.display._rewards import BestOfNDisplay, RewardDistributionDisplay

__all__ = [
    "ActiveLearningCurveDisplay",
    "BestOfNDisplay",
    "ComparisonCalibrationDisplay",
    "DesignDisplay",
    "RewardDistributionDisplay",
]
