"""
Moving a modAL loop
===================

A loop written for modAL's ``ActiveLearner`` runs on comparisons by changing one import:

    from modAL.models import ActiveLearner  # before
    from skarm.modal import ActiveLearner   # after

Below the loop takes the class as an argument, so that the same lines run with both,
where modAL is installed. From scikit-learn 1.8 on, modAL's own ``teach`` raises.
"""

import numpy as np
from sklearn.preprocessing import StandardScaler

from skarm import ActiveComparisonSampler, BradleyTerryRegressor, make_reward_pipeline
from skarm import modal as skarm_modal
from skarm.datasets import make_comparisons

# Arrays (n, 2, n_features), as a modAL user has them. Comparisons work too, and keep
# each item once however many pairs name it.
data = make_comparisons(600, n_items=120, n_features=8, random_state=0)
X, y = np.asarray(data.comparisons), data.y
X_test, y_test = X[400:], y[400:]


def loop(ActiveLearner, query_strategy, n_queries=10):
    """Nothing in here knows whose class it is given."""
    X_pool, y_pool = X[:400], y[:400]
    learner = ActiveLearner(
        estimator=make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
        query_strategy=query_strategy,
        X_training=X_pool[:5],
        y_training=y_pool[:5],
    )
    X_pool, y_pool = X_pool[5:], y_pool[5:]
    for _ in range(n_queries):
        query_idx, query_inst = learner.query(X_pool, n_instances=5)
        learner.teach(X=query_inst, y=y_pool[query_idx])
        X_pool = np.delete(X_pool, query_idx, axis=0)
        y_pool = np.delete(y_pool, query_idx)
    return learner.score(X_test, y_test), len(learner.X_training)


def report(name, ActiveLearner, query_strategy):
    try:
        accuracy, n_asked = loop(ActiveLearner, query_strategy)
        print(f"{name:<44} pairwise accuracy {accuracy:.3f} at {n_asked} answers")
    except TypeError as error:
        print(f"{name:<44} {type(error).__name__}: {error}")


sampler = ActiveComparisonSampler(random_state=0)
report("skarm.modal, skarm's sampler", skarm_modal.ActiveLearner, sampler)
try:
    from modAL.models import ActiveLearner
    from modAL.uncertainty import uncertainty_sampling
except ImportError:
    print("modAL is not installed; skarm.modal does not need it.")
else:
    report(
        "skarm.modal, modAL's uncertainty_sampling",
        skarm_modal.ActiveLearner,
        uncertainty_sampling,
    )
    report("modAL, skarm's sampler", ActiveLearner, sampler)
