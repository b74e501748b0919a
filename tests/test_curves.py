"""Learning curves: labels saved and areas, against definitions and coverage."""

import numpy as np
import pytest

from skarm.metrics import label_savings

LABELS = [50, 100, 200, 400]
every_seed = pytest.mark.parametrize("seed", range(3))


def noisy(rng, mean, n_seeds, scale=0.01):
    return mean + scale * rng.standard_normal((n_seeds, len(mean)))


@every_seed
def test_a_curve_against_itself_saves_nothing(seed):
    rng = np.random.RandomState(seed)
    curve = noisy(rng, np.array([0.1, 0.2, 0.3, 0.4]), 12)
    found = label_savings(curve, curve, n_labels=LABELS)
    assert found.labels == pytest.approx(400)
    assert found.saved == pytest.approx(0)
    assert found.area_difference == 0
    assert found.area_interval == (0, 0)


def test_labels_are_where_a_line_crosses_the_target():
    """Quality n / 1000 of the curve reaches the baseline's 0.3 at 300 labels."""
    n = np.array(LABELS)
    found = label_savings([n / 1000] * 2, [n * 0.3 / 400] * 2, n_labels=n)
    assert found.labels == pytest.approx(300)
    assert found.labels_interval == pytest.approx((300, 300))
    assert found.saved == pytest.approx(0.25)
    assert found.area == pytest.approx(0.225)  # of a line, the value halfway
    assert found.area_difference == pytest.approx(0.225 - 0.225 * 0.75)


def test_the_first_crossing_counts_and_the_first_round_may_be_it():
    found = label_savings([[0.5, 0.3, 0.6]], [[0.1, 0.2, 0.4]])
    assert found.labels == 1


def test_a_target_never_reached_is_nan_with_an_open_interval():
    found = label_savings([[0.1, 0.2]] * 3, [[0.1, 0.5]] * 3)
    assert np.isnan(found.labels)
    assert found.labels_interval == (np.inf, np.inf)
    assert found.saved == -np.inf


@every_seed
def test_pairing_makes_the_interval_as_narrow_as_the_differences(seed):
    """A constant gain is certain, however much the seeds differ from each other."""
    rng = np.random.RandomState(seed)
    baseline = noisy(rng, np.zeros(4), 10, scale=1.0)
    found = label_savings(baseline + 0.02, baseline, n_labels=LABELS)
    assert found.area_interval == pytest.approx((0.02, 0.02))


def test_the_interval_covers_the_true_gain_about_as_often_as_it_says():
    rng, hits = np.random.RandomState(0), 0
    for seed in range(200):
        baseline, gain = noisy(rng, np.zeros(4), 20), noisy(rng, np.full(4, 0.01), 20)
        found = label_savings(
            baseline + gain, baseline, level=0.9, n_resamples=200, random_state=seed
        )
        low, high = found.area_interval
        hits += low <= 0.01 <= high
    assert 0.80 <= hits / 200 <= 0.96  # 0.9 - a small-sample bias; s.e. 0.021


@pytest.mark.parametrize(
    ("curve", "baseline", "params", "match"),
    [
        ([0.1, 0.2], [0.1, 0.2], {}, r"one shape \(n_seeds, n_rounds\).*Got \(2,\)"),
        ([[0.1, 0.2]], [[0.1, 0.2]] * 2, {}, r"Got \(1, 2\) and \(2, 2\)"),
        ([[0.1]], [[0.1]], {}, "at least two rounds"),
        ([[0.1, np.nan]], [[0.1, 0.2]], {}, "must be finite"),
        ([[0.1, 0.2]], [[0.1, 0.2]], {"n_labels": [2, 2]}, "2 increasing numbers"),
        ([[0.1, 0.2]], [[0.1, 0.2]], {"n_labels": [1]}, "2 increasing numbers"),
        ([[0.1, 0.2]], [[0.1, 0.2]], {"level": 1}, "strictly between 0 and 1"),
    ],
)
def test_wrong_curves_are_refused(curve, baseline, params, match):
    with pytest.raises(ValueError, match=match):
        label_savings(curve, baseline, **params)
