"""
Five pictures of one reward model
=================================

What it learned, and how::

    python examples/plot_displays.py --output displays.png

Did choosing comparisons pay? Which were asked? Are the probabilities honest on prompts
it has never seen? How are the rewards spread? What is picking the best of n by them
worth? Each panel is one call of a display, which keeps the numbers it draws. Answers
are simulated: 20 prompts with 10 responses each, and 12 features to a response.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    ActiveLearningCurveDisplay,
    ActiveRewardLearner,
    BestOfNDisplay,
    BradleyTerryRegressor,
    ComparisonCalibrationDisplay,
    DesignDisplay,
    RewardDistributionDisplay,
    make_reward_pipeline,
)
from skarm.datasets import make_comparisons


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("displays.png"))
    args = parser.parse_args()

    data = make_comparisons(800, n_features=12, n_groups=20, random_state=0)
    X, y, prompts = data.comparisons, data.y, data.comparisons.groups
    splits = list(GroupKFold(5).split(X, y, X.pair_groups()))
    train, test = splits[0]
    unseen = np.isin(prompts, X.pair_groups()[test])
    learner = ActiveRewardLearner(
        make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
        ActiveComparisonSampler(),
        budget=120,
        n_initial=20,
        n_pairs=20,
        random_state=0,
    ).fit(X[train], y[train])

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.5), layout="constrained")
    ActiveLearningCurveDisplay.from_estimator(learner, X, y, cv=splits, ax=axes[0, 0])
    DesignDisplay.from_estimator(learner, learner.asked_[-20:], ax=axes[0, 1])
    ComparisonCalibrationDisplay.from_estimator(
        learner, X[test], y[test], name="unseen prompts", ax=axes[0, 2]
    )
    labels = np.where(unseen, "unseen prompts", "prompts of training")
    RewardDistributionDisplay.from_estimator(
        learner, X.items, labels=labels, ax=axes[1, 0]
    )
    BestOfNDisplay.from_estimator(
        *(learner, X.items[unseen], data.rewards[unseen]),
        groups=prompts[unseen],
        n_values=[1, 2, 4, 8],
        name="learner, unseen prompts",
        ax=axes[1, 1],
    )
    axes[1, 2].axis("off")
    figure.savefig(args.output, dpi=110)
    print(f"{learner}\nPicture: {args.output}")


if __name__ == "__main__":
    main()
