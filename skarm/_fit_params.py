"""What goes with each comparison into a learner's fits: weights, groups."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import _routing_enabled, process_routing

__all__ = ["join_fit_params", "route_fit_params"]


def route_fit_params(learner, fit_params):
    """What of the metadata given to a learner's ``fit`` is its reward model's.

    Without scikit-learn's metadata routing that is all of it. With it, what the model
    requests; item steps, which are fitted without answers, get none either way.
    """
    fit_params = {k: v for k, v in fit_params.items() if v is not None}
    if not (fit_params and _routing_enabled()):
        return fit_params
    params = process_routing(learner, "fit", **fit_params).estimator.fit
    if isinstance(learner.estimator, Pipeline):
        name = learner.estimator.steps[-1][0]
        params = process_routing(learner.estimator, "fit", **params)[name].fit
    return params


def join_fit_params(known, new, n_new):
    """Fit parameters of all answers, from those before (None: no answer yet)."""
    new = {k: np.asarray(v) for k, v in new.items() if v is not None}
    if known is not None and known.keys() != new.keys():
        raise ValueError(
            "every teach must be given the same fit parameters. Got "
            f"{sorted(new)} after {sorted(known)}."
        )
    for name, values in new.items():
        if values.shape[:1] != (n_new,):
            raise ValueError(
                f"{name} must hold one entry per comparison, {n_new}. Got shape "
                f"{values.shape}."
            )
    if known is None:
        return new
    return {name: np.concatenate([known[name], new[name]]) for name in new}
