"""
Learning curves, with random and its seeds
==========================================

How much a strategy saves depends on the data, so it is measured: the same loop with
each strategy, several seeds, random among them, judged on items that nobody compared.
On this data, where the model is true, choosing pairs pays.
"""

import matplotlib.pyplot as plt
import numpy as np

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
)
from skarm.annotators import SimulatedAnnotator
from skarm.metrics import grouped_spearman

n_rounds, n_pairs, n_seeds = 6, 15, 6


def curve(strategy, seed):
    """Spearman correlation with the true reward after each round."""
    rng = np.random.default_rng(seed)
    items, unseen = rng.standard_normal((2, 150, 20))
    coef = rng.standard_normal(20) / np.sqrt(20)
    annotator = SimulatedAnnotator(items @ coef, temperature=0.5, random_state=seed)
    pool = Comparisons.all_pairs(items)
    learner = ActiveRewardLearner(
        BradleyTerryRegressor(),
        ActiveComparisonSampler(strategy),
        random_state=seed,
    )
    quality = []
    for _ in range(n_rounds):
        _, asked = learner.query(pool, n_pairs=n_pairs)
        learner.teach(asked, annotator(asked))
        quality.append(grouped_spearman(unseen @ coef, learner.predict(unseen)))
    return quality


# %%
# A band is the standard deviation over seeds. A difference that is smaller than the
# bands is no finding.

n_labels = n_pairs * np.arange(1, n_rounds + 1)
figure, ax = plt.subplots(layout="constrained")
for strategy in ["random", "entropy", "greedy_d_optimal"]:
    curves = np.array([curve(strategy, seed) for seed in range(n_seeds)])
    mean, std = curves.mean(axis=0), curves.std(axis=0)
    ax.plot(n_labels, mean, label=strategy)
    ax.fill_between(n_labels, mean - std, mean + std, alpha=0.2)
    print(f"{strategy:>16}: " + " ".join(f"{value:.2f}" for value in mean))
ax.set(xlabel="comparisons", ylabel="Spearman correlation on unseen items")
ax.legend()
plt.show()
