"""
What "sure" means
=================

The model returns a standard deviation with each reward. If it is honest, the truth
lies within one standard deviation of the estimate in about 68 % of cases and within two
in about 95 %. With some hundred answers it is, where the model is true. With twenty, on
eight features, it is surer than it should be. The regularization is not given; the
model finds it by evidence.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from skarm import BradleyTerryRegressor
from skarm.datasets import make_comparisons

n_labels = [20, 60, 200, 600]
levels = np.linspace(0.05, 0.95, 19)


def errors(n, seed):
    """Errors of reward differences, in units of their standard deviation."""
    data = make_comparisons(n, n_items=100, n_features=8, random_state=seed)
    model = BradleyTerryRegressor().fit(data.comparisons, data.y)
    items = data.comparisons.items
    x = items[:50] - items[50:]  # a difference of rewards is the reward of x
    estimate, std = model.predict(x, return_std=True)
    return (estimate - x @ data.coef) / std


figure, ax = plt.subplots(layout="constrained")
ax.axline((0, 0), slope=1, color="0.6", linestyle="--")
for n in n_labels:
    z = np.abs(np.concatenate([errors(n, seed) for seed in range(40)]))
    covered = [np.mean(z < norm.ppf((1 + level) / 2)) for level in levels]
    ax.plot(levels, covered, label=f"{n} comparisons")
    print(
        f"{n:4} comparisons: {np.mean(z < 1):.0%} within one, {np.mean(z < 2):.0%} two"
    )
ax.set(xlabel="probability that the model states", ylabel="share that is so")
ax.legend()
plt.show()
