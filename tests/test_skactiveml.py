"""The scikit-activeml face, against the installed scikit-activeml."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    BradleyTerryRegressor,
    Comparisons,
    make_reward_pipeline,
)
from skarm.strategies import get_strategy_names

base = pytest.importorskip("skactiveml.base", reason="needs scikit-activeml")

from skactiveml.pool import SubSamplingWrapper  # noqa: E402
from skactiveml.utils import is_unlabeled, unlabeled_indices  # noqa: E402

from skarm.skactiveml import ComparisonSampler  # noqa: E402

ITEMS = np.random.default_rng(0).standard_normal((16, 3))
POOL = Comparisons.all_pairs(ITEMS)[:]
TRUE = (ITEMS[POOL.pairs[:, 0]] @ [2, 1, 0] > ITEMS[POOL.pairs[:, 1]] @ [2, 1, 0]) * 1.0
MODEL = BradleyTerryRegressor(alpha=1.0)


def some_labels(n=12, seed=0):
    y = np.full(len(POOL), np.nan)
    known = np.random.default_rng(seed).permutation(len(POOL))[:n]
    y[known] = TRUE[known]
    return y


def sampler(strategy="greedy_d_optimal", random_state=0, **params):
    return ComparisonSampler(
        ActiveComparisonSampler(strategy, **params), random_state=random_state
    )


def test_it_is_a_strategy_of_the_installed_package():
    import skactiveml

    assert "skarm" not in skactiveml.__file__.split("/site-packages/")[-1]
    strategy = sampler("entropy")
    assert isinstance(strategy, base.SingleAnnotatorPoolQueryStrategy)
    twin = clone(strategy)
    assert twin.get_params()["sampler__strategy"] == "entropy"
    assert clone(ComparisonSampler()).sampler is None


@pytest.mark.parametrize("strategy", get_strategy_names())
def test_its_loop_asks_everything_once(strategy):
    y = np.full(len(POOL), np.nan)
    rule = sampler(strategy)
    for _ in range(3):
        chosen = rule.query(POOL, y, reg=MODEL, batch_size=7)
        assert is_unlabeled(y)[chosen].all() and len(set(chosen)) == 7
        y[chosen] = TRUE[chosen]
    with pytest.warns(UserWarning, match="larger than number of candidates"):
        chosen = rule.query(POOL, y, reg=MODEL, batch_size=1000)
    assert sorted(chosen) == sorted(np.flatnonzero(np.isnan(y)))


@pytest.mark.parametrize("strategy", ["entropy", "past_aware_d_optimal", "v_optimal"])
def test_it_asks_what_the_sampler_asks(strategy):
    y = some_labels()
    chosen = sampler(strategy).query(POOL, y, reg=MODEL, batch_size=4)
    asked = ~np.isnan(y)
    fitted = clone(MODEL).fit(POOL[asked], y[asked])
    for reg, fit_reg in ((fitted, False), (fitted, True), (MODEL, True)):
        again = sampler(strategy).query(POOL, y, reg, fit_reg, batch_size=4)
        np.testing.assert_array_equal(again, chosen)
    direct = ActiveComparisonSampler(strategy).query(
        *(POOL,), estimator=fitted, past=POOL[asked], exclude=asked, n_pairs=4
    )
    np.testing.assert_array_equal(direct, chosen)
    materialised = sampler(strategy).query(np.asarray(POOL), y, reg=MODEL, batch_size=4)
    np.testing.assert_array_equal(materialised, chosen)


@pytest.mark.parametrize("strategy", get_strategy_names())
def test_utilities_are_nan_off_the_candidates_and_largest_at_the_pick(strategy):
    y, allowed = some_labels(), np.arange(3, 60)
    allowed = allowed[np.isnan(y[allowed])]
    chosen, utilities = sampler(strategy).query(
        *(POOL, y, MODEL), candidates=allowed, batch_size=5, return_utilities=True
    )
    assert utilities.shape == (5, len(POOL))
    for k in range(5):
        left = np.setdiff1d(allowed, chosen[:k])
        np.testing.assert_array_equal(np.flatnonzero(~np.isnan(utilities[k])), left)
        if np.isfinite(utilities[k, left]).all():  # else a batch rule
            assert utilities[k, chosen[k]] >= utilities[k, left].max() - 1e-12
    twice = sampler(strategy).query(POOL, y, MODEL, candidates=allowed, batch_size=5)
    np.testing.assert_array_equal(twice, chosen)


def test_a_pointwise_rule_states_the_utility_of_every_candidate():
    y = some_labels()
    _, utilities = sampler("entropy").query(POOL, y, MODEL, return_utilities=True)
    p = clone(MODEL).fit(POOL, y).predict(POOL)
    entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
    np.testing.assert_allclose(
        utilities[0], np.where(np.isnan(y), entropy, np.nan), atol=1e-9
    )


@pytest.mark.parametrize("strategy", ["entropy", "greedy_d_optimal"])
@pytest.mark.parametrize("exclude", [False, True])
def test_the_subsampling_wrapper_works_over_it(strategy, exclude):
    y = some_labels()
    wrapper = SubSamplingWrapper(
        *(sampler(strategy), 0.3), exclude_non_subsample=exclude, random_state=1
    )
    chosen, utilities = wrapper.query(
        X=np.asarray(POOL), y=y, reg=MODEL, batch_size=3, return_utilities=True
    )
    assert np.isnan(y[chosen]).all() and utilities.shape == (3, len(POOL))
    n_evaluated = np.isfinite(utilities[0]).sum()
    assert n_evaluated <= np.ceil(0.3 * np.isnan(y).sum())
    assert np.isnan(utilities[:, ~np.isnan(y)]).all()
    # Comparisons too, which the wrapper materialises.
    again = wrapper.query(X=POOL, y=y, reg=MODEL, batch_size=3)
    np.testing.assert_array_equal(again, chosen)


def test_candidates_may_be_comparisons_of_their_own():
    y = some_labels()
    others = Comparisons.random_pairs(ITEMS + 1.0, 20, random_state=3)
    expected = sampler().query(POOL, y, MODEL, candidates=others, batch_size=4)
    chosen, utilities = sampler().query(
        *(POOL, y, MODEL),
        candidates=np.asarray(others),
        batch_size=4,
        return_utilities=True,
    )
    np.testing.assert_array_equal(chosen, expected)
    assert chosen.max() < 20 and utilities.shape == (4, 20)


def test_cold_starts_other_marks_weights_and_pipelines():
    nothing = np.full(len(POOL), np.nan)
    cold = sampler().query(POOL, nothing, batch_size=3)
    np.testing.assert_array_equal(
        sampler().query(POOL, nothing, reg=MODEL, batch_size=3), cold
    )
    y = some_labels()
    marked = ComparisonSampler(
        ActiveComparisonSampler("entropy"), missing_label=-1, random_state=0
    )
    pipeline = make_reward_pipeline(StandardScaler(), MODEL)
    for reg in (MODEL, pipeline):
        np.testing.assert_array_equal(
            marked.query(POOL, np.nan_to_num(y, nan=-1), reg, batch_size=3),
            sampler("entropy").query(POOL, y, reg, batch_size=3),
        )
    # Weight 0 is an answer not given.
    known = np.flatnonzero(~np.isnan(y))
    weights = np.ones(len(y))
    weights[known[:6]] = 0
    fewer = y.copy()
    fewer[known[:6]] = np.nan
    fit = clone(MODEL).fit(POOL, fewer)
    np.testing.assert_array_equal(
        sampler("entropy").query(POOL, y, MODEL, sample_weight=weights, batch_size=3),
        sampler("entropy").query(POOL, y, fit, fit_reg=False, batch_size=3),
    )


def test_texts_are_comparisons_too():
    texts = Comparisons.all_pairs([f"answer {k}" for k in range(5)])
    y = np.full(10, np.nan)
    y[:2] = 1
    chosen = sampler("random").query(texts, y, batch_size=8)
    np.testing.assert_array_equal(np.sort(chosen), unlabeled_indices(y))


def test_bad_arguments_are_refused_as_in_the_package():
    y = some_labels()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        sampler().query(POOL, y[1:])
    with pytest.raises(ValueError, match="batch_size"):
        sampler().query(POOL, y, batch_size=0)
    with pytest.raises(TypeError, match="return_utilities"):
        sampler().query(POOL, y, return_utilities="yes")
    with pytest.raises(ValueError, match="array of comparisons of shape"):
        sampler().query(ITEMS, y)


def test_without_the_package_the_import_names_the_extra():
    code = (
        "import sys; sys.modules['skactiveml'] = None\n"
        "try:\n    import skarm.skactiveml\n"
        "except ImportError as error:\n    print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "skarm.skactiveml needs skactiveml" in run.stdout
    assert "pip install 'skarm[skactiveml]'" in run.stdout
