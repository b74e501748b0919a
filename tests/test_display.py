"""The displays: the arrays they hold by other routes, and that they draw them."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import binomtest
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    ActiveLearningCurveDisplay,
    ActiveRewardLearner,
    BestOfNDisplay,
    BradleyTerryRegressor,
    ComparisonCalibrationDisplay,
    Comparisons,
    DesignDisplay,
    RewardDistributionDisplay,
    make_reward_pipeline,
)
from skarm.datasets import make_comparisons
from skarm.metrics import best_of_n, get_scorer

plt = pytest.importorskip("matplotlib.pyplot", reason="needs matplotlib")


@pytest.fixture(scope="module")
def world():
    return make_comparisons(400, n_items=80, n_features=5, n_groups=4, random_state=0)


@pytest.fixture(scope="module")
def learner(world):
    learner = make_learner(budget=60)
    return learner.fit(world.comparisons[:300], world.y[:300])


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def make_learner(**params):
    model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    return ActiveRewardLearner(
        model, ActiveComparisonSampler(), n_initial=20, n_pairs=20, **params
    )


def drawn(display, ax=None):
    """That a display remembers where it drew, and that it can be drawn."""
    assert display.figure_ is display.ax_.figure
    assert ax is None or display.ax_ is ax
    display.figure_.canvas.draw()
    return display


# ------------------------------------------------------------------------------ curves


def test_curves_are_means_and_bands_their_standard_errors():
    rows = np.random.default_rng(0).random((2, 5, 3))
    results = {"random": rows[0], "auto": rows[1]}
    display = ActiveLearningCurveDisplay.from_results(
        results, score="pairwise_accuracy", n_labels=[10, 20, 30]
    )
    drawn(display)
    for line, band, runs in zip(display.lines_, display.bands_, rows, strict=True):
        np.testing.assert_allclose(line.get_xdata(), [10, 20, 30])
        np.testing.assert_allclose(line.get_ydata(), runs.mean(axis=0))
        error = runs.std(axis=0, ddof=1) / np.sqrt(5)
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.max() == pytest.approx((runs.mean(axis=0) + error).max())
        assert heights.min() == pytest.approx((runs.mean(axis=0) - error).min())
    legend = display.ax_.get_legend()
    assert legend.get_title().get_text() == "mean ± standard error, 5 seeds"
    assert display.ax_.get_ylabel() == "pairwise accuracy"
    _, ax = plt.subplots()
    drawn(display.plot(ax, band="range", names={"auto": "ours"}), ax)
    assert [text.get_text() for text in ax.get_legend().texts] == ["random", "ours"]
    heights = display.bands_[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (rows[0].min(), rows[0].max())
    assert display.plot(band=None).bands_ == []
    with pytest.raises(ValueError, match="band must be 'se', 'sd', 'range' or None"):
        display.plot(band="iqr")


def test_a_curve_without_random_beside_it_is_refused():
    message = "results must hold the baseline 'random', because a curve means nothing"
    results = {"auto": [[0.5, 0.6]], "entropy": [[0.5, 0.6]]}
    with pytest.raises(ValueError, match=message):
        ActiveLearningCurveDisplay.from_results(results, score="x", n_labels=[1, 2])
    display = ActiveLearningCurveDisplay.from_results(
        results, score="x", n_labels=[1, 2], baseline="entropy"
    )
    assert display.lines_[1].get_linestyle() == "--" and display.bands_ == []
    assert display.ax_.get_legend().get_title().get_text() == "one seed"


def test_results_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"n_rounds being the length of n_labels"):
        ActiveLearningCurveDisplay(n_labels=[1, 2], scores={"random": [[1.0]]})
    with pytest.raises(ValueError, match="n_labels must be given with arrays"):
        ActiveLearningCurveDisplay.from_results({"random": [[1.0]]}, score="x")


def test_a_tidy_table_gives_the_same_curves_as_its_arrays():
    pandas = pytest.importorskip("pandas")
    rows = np.random.default_rng(0).random((2, 3, 4))
    index = pandas.MultiIndex.from_product(
        [["random", "auto"], range(3), [5, 10, 15, 20]],
        names=["strategy", "seed", "n_labels"],
    )
    table = pandas.DataFrame({"spearman": rows.ravel()}, index=index).reset_index()
    shuffled = table.sample(frac=1, random_state=0)
    display = ActiveLearningCurveDisplay.from_results(shuffled, score="spearman")
    np.testing.assert_array_equal(display.n_labels, [5, 10, 15, 20])
    np.testing.assert_array_equal(display.scores["random"], rows[0])
    np.testing.assert_array_equal(display.scores["auto"], rows[1])
    with pytest.raises(ValueError, match=r"lacks \['accuracy'\]"):
        ActiveLearningCurveDisplay.from_results(table, score="accuracy")
    with pytest.raises(ValueError, match="must have every round for every seed"):
        ActiveLearningCurveDisplay.from_results(table[:-1], score="spearman")


def test_a_replay_is_scored_after_every_round_with_random_in_it(world):
    X, y = world.comparisons, world.y
    splits = [(np.arange(300), np.arange(300, 400)), (np.arange(100, 400), np.r_[:100])]
    display = ActiveLearningCurveDisplay.from_estimator(
        make_learner(budget=60), X, y, strategies=["entropy"], cv=splits, n_jobs=2
    )
    drawn(display)
    assert list(display.scores) == ["random", "entropy"]
    np.testing.assert_array_equal(display.n_labels, [20, 40, 60])
    for name in display.scores:
        for seed, (train, test) in enumerate(splits):
            direct = make_learner(budget=40, random_state=seed)
            direct.set_params(sampler__strategy=name).fit(X[train], y[train])
            known = train[direct.asked_indices_]
            model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
            score = model.fit(X[known], y[known]).score(X[test], y[test])
            assert display.scores[name][seed, 1] == pytest.approx(score)
    other = ActiveLearningCurveDisplay.from_estimator(
        *(make_learner(budget=20), X, y),
        strategies=["random"],
        scoring=get_scorer("neg_log_loss"),
        random_state=0,
    )
    assert other.scores["random"].shape == (10, 1) and other.score_name == "score"
    assert (other.scores["random"] < 0).all()


# ----------------------------------------------------------------------------- rewards


def test_histograms_hold_every_item_of_every_label(world, learner):
    items = world.comparisons.items
    display = RewardDistributionDisplay.from_estimator(learner, items, bins=12)
    np.testing.assert_array_equal(drawn(display).rewards, learner.predict(items))
    assert display.order == [] and len(display.histograms_) == 1
    labels = np.array(["low", "high"])[(display.rewards > 0).astype(int)]
    display = RewardDistributionDisplay.from_estimator(learner, items, labels=labels)
    assert drawn(display).order == ["high", "low"]
    for patch in display.histograms_:
        assert patch.get_data().values.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RewardDistributionDisplay(rewards=[1.0, 2.0], labels=["a"])


def test_best_of_n_lies_between_chance_and_what_is_attainable(world, learner):
    items, groups = world.comparisons.items, world.comparisons.groups
    display = BestOfNDisplay.from_estimator(
        learner, items, world.rewards, groups=groups, n_values=[1, 2, 16, 64]
    )
    np.testing.assert_array_equal(drawn(display).n_values, [1, 2, 16])  # of 20 items
    (row,) = display.rewards.values()
    np.testing.assert_allclose(
        row,
        best_of_n(
            world.rewards,
            learner.predict(items),
            groups=groups,
            n_values=[1, 2, 16],
            normalize=True,
        ),
    )
    assert row[0] == pytest.approx(0) and (row <= display.attainable + 1e-12).all()
    assert list(display.rewards) == ["ActiveRewardLearner"]
    perfect = BestOfNDisplay.from_predictions(
        world.rewards, {"truth": 3 * world.rewards}, groups=groups, n_values=[4]
    )
    np.testing.assert_allclose(perfect.rewards["truth"], perfect.attainable)
    with pytest.raises(ValueError, match="as many responses as one of n_values"):
        BestOfNDisplay.from_predictions(
            world.rewards, {"a": world.rewards}, groups=groups, n_values=[64]
        )
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        BestOfNDisplay(n_values=[1, 2], rewards={"a": [0.0]}, attainable=[0.0, 1.0])


# ------------------------------------------------------------------------- calibration


def test_calibration_does_not_know_the_order_of_a_pair():
    rng = np.random.default_rng(0)
    p = rng.random(500)
    y = np.where(rng.random(500) < 0.1, np.nan, rng.integers(0, 3, 500) / 2)
    turned = rng.random(500) < 0.5
    display = ComparisonCalibrationDisplay.from_predictions(y, p, name="mine")
    other = ComparisonCalibrationDisplay.from_predictions(
        np.where(turned, 1 - y, y), np.where(turned, 1 - p, p)
    )
    for name in ("prob_pred", "prob_true", "counts"):
        np.testing.assert_allclose(getattr(display, name), getattr(other, name))
    assert display.counts.sum() == (~np.isnan(y)).sum()
    assert np.ptp(display.counts) <= 1
    assert (display.prob_pred >= 0.5).all() and (np.diff(display.prob_pred) > 0).all()
    np.testing.assert_allclose(drawn(display).line_.get_ydata(), display.prob_true)
    assert "mine\nlog loss" in display.name


def test_answers_drawn_from_the_probabilities_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    display = ComparisonCalibrationDisplay.from_predictions(rng.random(len(p)) < p, p)
    np.testing.assert_allclose(display.prob_true, display.prob_pred, atol=0.02)


def test_intervals_are_wilsons():
    display = ComparisonCalibrationDisplay(
        prob_pred=[0.6, 0.9, 1.0], prob_true=[0.4, 0.9, 1.0], counts=[10, 40, 7]
    )
    for (low, high), k, n in zip(
        display.intervals, [4, 36, 7], display.counts, strict=True
    ):
        expected = binomtest(k, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high))


def test_calibration_of_a_model_on_answers_it_has_not_seen(world, learner):
    X, y = world.comparisons[300:], world.y[300:]
    display = ComparisonCalibrationDisplay.from_estimator(learner, X, y, n_bins=4)
    assert len(drawn(display).prob_pred) == 4
    assert f"accuracy {learner.score(X, y):.3f}" in display.name
    assert "ActiveRewardLearner" in display.name
    few = ComparisonCalibrationDisplay.from_estimator(learner, X[:2], y[:2])
    assert len(few.prob_pred) == 2
    with pytest.raises(ValueError, match="y_true must hold answers"):
        ComparisonCalibrationDisplay.from_predictions([np.nan] * 3, [0.5] * 3)


# ----------------------------------------------------------------------------- designs


def test_a_design_is_drawn_where_the_model_sees_the_items(world, learner):
    items = world.comparisons.items
    pool = Comparisons.all_pairs(items)
    indices, utilities = ActiveComparisonSampler(random_state=0).query(
        pool, estimator=learner, n_pairs=7, return_utilities=True
    )
    display = DesignDisplay.from_estimator(learner, pool[indices], utilities=utilities)
    ends = np.array([path.vertices for path in drawn(display).segments_.get_paths()])
    np.testing.assert_allclose(ends, display.positions[pool.pairs[indices]])
    np.testing.assert_array_equal(display.segments_.get_array(), utilities)
    np.testing.assert_allclose(display.rewards, learner.predict(items))
    # Positions are a projection: distances shrink, and hold the stated variance.
    seen = learner.estimator_[:-1].transform(items)
    share = display.positions.var(axis=0).sum() / seen.var(axis=0).sum()
    assert display.explained == pytest.approx(share)
    assert f"{share:.0%} of the variance" in display.ax_.get_title()


def test_a_learner_shows_what_it_has_asked_in_order(learner):
    display = DesignDisplay.from_estimator(learner)
    np.testing.assert_array_equal(display.pairs, learner.asked_.pairs)
    np.testing.assert_array_equal(drawn(display).segments_.get_array(), np.r_[1:61])


@pytest.mark.parametrize("n_features", [1, 2])
def test_items_of_two_features_are_shown_as_they_are(n_features):
    items = np.random.default_rng(0).random((6, n_features))
    asked = Comparisons(items, [[0, 1], [2, 5]])
    _, ax = plt.subplots()
    display = drawn(DesignDisplay.from_estimator(None, asked, ax=ax), ax)
    np.testing.assert_array_equal(display.positions[:, :n_features], items)
    assert display.explained is None and display.rewards is None


def test_networks_and_sparse_items_have_maps_too():
    data = make_comparisons(60, n_items=20, n_features=6, random_state=0)
    model = BradleyTerryRegressor(
        hidden_layer_sizes=(4,), max_iter=400, device="cpu", random_state=0
    ).fit(data.comparisons, data.y)
    display = DesignDisplay.from_estimator(model, data.comparisons[:5])
    spread = model.embed(data.comparisons.items).var(axis=0).sum()
    assert display.positions.var(axis=0).sum() <= spread + 1e-12
    asked = Comparisons(sparse.random(20, 9, 0.3, "csr", random_state=0), [[0, 1]])
    assert DesignDisplay.from_estimator(None, asked).positions.shape == (20, 2)


def test_designs_that_cannot_be_drawn_say_why():
    asked = Comparisons(["a", "b"], [[0, 1]])
    with pytest.raises(ValueError, match="needs numbers"):
        DesignDisplay.from_estimator(None, asked)
    with pytest.raises(ValueError, match="asked must be given"):
        DesignDisplay.from_estimator(None)
    with pytest.raises(NotFittedError):
        DesignDisplay.from_estimator(BradleyTerryRegressor(), asked)
    with pytest.raises(ValueError, match=r"positions must have shape \(n_items, 2\)"):
        DesignDisplay(positions=np.ones((3, 4)), pairs=[[0, 1]])
    with pytest.raises(ValueError, match="utilities must hold one number per pair, 1"):
        DesignDisplay(positions=np.ones((3, 2)), pairs=[[0, 1]], utilities=[1, 2])
    with pytest.raises(ValueError, match="rewards must hold one number per item, 3"):
        DesignDisplay(positions=np.ones((3, 2)), pairs=[[0, 1]], rewards=[1, 2])


def test_without_matplotlib_plot_names_the_extra():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from skarm import RewardDistributionDisplay\n"
        "display = RewardDistributionDisplay(rewards=[1.0])\n"
        "try:\n    display.plot()\n"
        "except ImportError as error:\n    print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "RewardDistributionDisplay.plot needs matplotlib" in run.stdout
    assert "pip install 'skarm[plot]'" in run.stdout
