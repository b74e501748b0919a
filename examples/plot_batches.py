"""
A batch must not repeat itself
==============================

Responses resemble each other: here every item is present four times, nearly. A rule
that ranks each pair by itself, such as the paper's ``d_optimal``, then asks one
question again and again. A rule that chooses the batch together does not.
"""

import matplotlib.pyplot as plt
import numpy as np

from skarm import ActiveComparisonSampler, Comparisons

rng = np.random.default_rng(0)
items = np.repeat(rng.standard_normal((50, 2)), 4, axis=0)
items += 0.01 * rng.standard_normal(items.shape)
pool = Comparisons.all_pairs(items)

# %%
# Twelve pairs by each rule, before any answer, and how much they would tell: the log
# determinant of the information I + Σ x xᵀ / 4, x being the differences of the pairs.
# (``eligible=1.0`` lets the greedy rule ask the outermost pairs too, as ``d_optimal``
# does. By default it leaves them alone.)


def log_det(asked):
    x = asked.differences()
    return np.linalg.slogdet(np.eye(2) + x.T @ x / 4)[1]


figure, axes = plt.subplots(1, 2, figsize=(8, 4), sharey=True, layout="constrained")
rules = {"d_optimal": {}, "greedy_d_optimal": {"eligible": 1.0}}
for ax, (strategy, params) in zip(axes, rules.items(), strict=True):
    sampler = ActiveComparisonSampler(strategy, strategy_params=params, random_state=0)
    asked = pool[sampler.query(pool, n_pairs=12)]
    questions = {frozenset(pair) for pair in (asked.pairs // 4).tolist()}
    ax.scatter(*items.T, s=8, color="0.6")
    for pair in asked.pairs:
        ax.plot(*items[pair].T, color="C0", alpha=0.5)
    ax.set(title=f"{strategy}: {len(questions)} questions")
    print(f"{strategy:>16}: {len(questions):2} questions, log det {log_det(asked):.2f}")
plt.show()
