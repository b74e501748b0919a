"""Sample data and synthetic comparisons."""

import numpy as np

from skarm.datasets import load_assistant_answers, make_comparisons
from skarm.metrics import grouped_spearman


def test_sample_answers_are_what_they_say():
    data = load_assistant_answers()
    prompts, counts = np.unique(data.groups, return_counts=True)
    assert len(prompts) == 80 and (counts == 6).all()
    assert len(set(data.responses)) == 480
    parts = [data.columns[name] for name in ("correct", "useful", "clear", "honest")]
    assert np.array_equal(np.sum(parts, axis=0), data.ratings)
    for part, most in zip(parts, (4, 3, 2, 1), strict=True):
        assert set(np.unique(part)) <= set(range(most + 1))
    for prompt in prompts:
        kinds = sorted(data.kinds[data.groups == prompt])
        assert kinds == ["evasive", "excellent", "good", "padded", "terse", "wrong"]
    assert "rubric" in data.DESCR


def test_length_does_not_give_quality_away():
    data = load_assistant_answers()
    for measure in (len, lambda text: len(text.split()), lambda text: text.count("\n")):
        size = np.array([measure(text) for text in data.responses], dtype=float)
        assert abs(grouped_spearman(data.ratings, size, groups=data.groups)) < 0.15


def test_synthetic_comparisons_follow_their_probabilities():
    data = make_comparisons(20000, n_items=400, random_state=0)
    first, second = data.comparisons.pairs.T
    gap = data.rewards[first] - data.rewards[second]
    assert np.allclose(data.probabilities, 1 / (1 + np.exp(-gap)))
    assert np.isclose(gap.std(), 2.0, rtol=0.1)
    error = (data.y - data.probabilities) / np.sqrt(
        data.probabilities * (1 - data.probabilities)
    )
    assert abs(error.mean()) < 4 / np.sqrt(20000)
    grouped = make_comparisons(50, n_groups=20, random_state=0)
    assert len(grouped.comparisons.pair_groups()) == 50
