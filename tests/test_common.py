"""The reward model as a scikit-learn estimator: common checks, searches, pipelines."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted

from skarm import BradleyTerryRegressor, Comparisons, make_reward_pipeline
from skarm.metrics import get_scorer

#: The one check that may be skipped: it asks for SCIPY_ARRAY_API in the environment.
ENVIRONMENT_CHECKS = {"check_array_api_input"}
FOLDS = KFold(3, shuffle=True, random_state=0)


def answers(seed=0, n_pairs=300):
    """Comparisons within prompts, answered by a linear reward; the items are scaled."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((120, 5)) * [1, 10, 100, 1, 1] + 50
    prompts = np.arange(120) // 6
    asked = Comparisons.random_pairs(
        items, n_pairs, groups=prompts, scope="within", random_state=seed
    )
    reward = 2 * items @ [1, 0.1, 0.01, 0, 0]
    gap = reward[asked.pairs[:, 0]] - reward[asked.pairs[:, 1]]
    return asked, (rng.random(n_pairs) < 1 / (1 + np.exp(-gap))).astype(float)


@pytest.mark.parametrize(
    "estimator",
    [
        BradleyTerryRegressor(),
        pytest.param(
            BradleyTerryRegressor(hidden_layer_sizes=(8,), device="cpu"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_common_check_runs_and_passes(estimator):
    with warnings.catch_warnings():
        # A network fitted to ten separable answers has reason to say so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        records = check_estimator(estimator, on_fail=None, on_skip=None)
    by_status = {"passed": [], "failed": [], "skipped": [], "xfail": []}
    for record in records:
        by_status[record["status"]].append(record["check_name"])
    assert len(by_status["passed"]) >= 50  # the checks are not hollow
    assert by_status["failed"] == by_status["xfail"] == []
    assert set(by_status["skipped"]) <= ENVIRONMENT_CHECKS


def test_clones_and_parameters():
    model = BradleyTerryRegressor(hidden_layer_sizes=(4, 4), alpha=0.5)
    twin = clone(model).set_params(alpha="auto", batch_size=16)
    assert model.get_params() | {"alpha": "auto", "batch_size": 16} == twin.get_params()
    assert (
        repr(twin) == "BradleyTerryRegressor(batch_size=16, hidden_layer_sizes=(4, 4))"
    )
    asked, y = answers()
    fitted = BradleyTerryRegressor(alpha=1.0).fit(asked, y)
    with pytest.raises(NotFittedError, match="not fitted"):
        check_is_fitted(clone(fitted))


def test_searches_over_alpha_and_layers_find_what_serial_ones_find():
    asked, y = answers()
    model = make_reward_pipeline(
        StandardScaler(),
        BradleyTerryRegressor(
            learning_rate=1e-2, n_iter_no_change=5, device="cpu", random_state=0
        ),
    )
    grid = [
        {"regressor__alpha": [1e-6, 1.0, 1e6]},
        {"regressor__hidden_layer_sizes": [(), (8,)]},
    ]
    scoring = get_scorer("neg_log_loss")
    searches = [
        GridSearchCV(model, grid, scoring=scoring, cv=FOLDS, n_jobs=n_jobs).fit(
            asked, y
        )
        for n_jobs in (None, 2)
    ]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-6)
    assert scores[0][2] == pytest.approx(-np.log(2), abs=0.01)  # a crushing prior
    assert scores[0].argmax() != 2 and scores[0].max() > -0.55
    items = asked.items
    np.testing.assert_allclose(*(s.predict(items) for s in searches), atol=1e-6)


def test_cross_validation_by_prompt_with_weights_and_groups():
    asked, y = answers()
    prompts = asked.groups[asked.pairs[:, 0]]
    weights = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    params = {"sample_weight": weights, "groups": prompts}
    # Without metadata routing, `groups` is the splitter's and `params` are the fit's.
    folds = list(GroupKFold(4).split(asked, y, prompts))
    model = BradleyTerryRegressor(alpha=1.0)
    found = cross_val_score(model, asked, y, cv=folds, params=params)
    expected = [
        clone(model)
        .fit(asked[a], y[a], sample_weight=weights[a], groups=prompts[a])
        .score(asked[b], y[b])
        for a, b in folds
    ]
    np.testing.assert_allclose(found, expected)
    assert np.mean(found) > 0.7


def test_cross_validated_predictions_are_probabilities_never_seen():
    asked, y = answers()
    p = cross_val_predict(BradleyTerryRegressor(), asked, y, cv=FOLDS)
    assert p.shape == y.shape and ((p > 0) & (p < 1)).all()
    assert np.mean((p > 0.5) == y) > 0.7
    brier = cross_val_score(
        BradleyTerryRegressor(), asked, y, cv=FOLDS, scoring="neg_mean_squared_error"
    )
    assert -np.mean(brier) == pytest.approx(np.mean((p - y) ** 2), abs=1e-3)


def test_a_pipeline_of_item_steps_scales_items_not_comparisons():
    asked, y = answers()
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor(alpha=1.0))
    model.fit(asked, y)
    compact = asked.compact()
    scaler = StandardScaler().fit(compact.items)
    direct = BradleyTerryRegressor(alpha=1.0)
    direct.fit(compact.with_items(scaler.transform(compact.items)), y)
    expected = direct.predict(scaler.transform(asked.items))
    np.testing.assert_allclose(model.predict(asked.items), expected, atol=1e-8)
    assert model.score(asked, y) > 0.7


def test_fit_parameters_reach_the_regressor_through_a_pipeline():
    asked, y = answers()
    weights = np.random.default_rng(2).random(len(y))
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor(alpha=1.0))
    weighted = clone(model).fit(asked, y, regressor__sample_weight=weights)
    plain = clone(model).fit(asked, y)
    assert (weighted[-1].coef_ != plain[-1].coef_).all()
    scaled = weighted[0].transform(asked)
    direct = BradleyTerryRegressor(alpha=1.0).fit(scaled, y, sample_weight=weights)
    np.testing.assert_allclose(weighted[-1].coef_, direct.coef_, atol=1e-8)
