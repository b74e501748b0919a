"""Entropy is the level set rule; the largest difference is its opposite."""

import numpy as np
import pytest
import scipy.stats

from skarm.strategies import Design
from skarm.strategies.uncertainty import entropy, max_difference

SEEDS = range(5)


def design_of(gaps):
    """Pair k compares an item of reward gaps[k] with one of reward 0."""
    gaps = np.asarray(gaps, dtype=float)
    n = len(gaps)
    pairs = np.stack([np.arange(n), np.full(n, n)], axis=1)
    return Design(pairs, refuse_to_embed, reward=lambda: np.append(gaps, 0.0))


def refuse_to_embed():
    raise AssertionError("the embedding was read")


def random_gaps(seed, n=200):
    return 3 * np.random.default_rng(seed).standard_normal(n)


def pick(strategy, design, n_pairs, seed=0):
    return strategy(design, n_pairs, rng=np.random.RandomState(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_entropy_is_the_level_set_and_the_ranking_of_binary_entropy(seed):
    gaps = random_gaps(seed)
    picks = pick(entropy, design_of(gaps), 50)
    np.testing.assert_array_equal(picks.positions, np.argsort(np.abs(gaps))[:50])
    p = 1 / (1 + np.exp(-gaps))
    h = scipy.stats.entropy(np.stack([p, 1 - p]))
    np.testing.assert_array_equal(picks.positions, np.argsort(-h)[:50])
    np.testing.assert_allclose(picks.utilities, h[picks.positions])


def test_entropy_ranks_answers_whose_entropy_underflows():
    gaps = [-2000.0, 900.0, -800.0, 1500.0]
    picks = pick(entropy, design_of(gaps), 4)
    assert picks.positions.tolist() == [2, 1, 3, 0]
    assert picks.utilities.tolist() == [0, 0, 0, 0]


def test_entropy_of_an_open_answer_is_log_2():
    picks = pick(entropy, design_of([1.0, 0.0, -3.0]), 1)
    assert picks.positions.tolist() == [1]
    assert picks.utilities[0] == pytest.approx(np.log(2))


@pytest.mark.parametrize("seed", SEEDS)
def test_max_difference_takes_the_largest_gaps_in_either_direction(seed):
    gaps = random_gaps(seed)
    picks = pick(max_difference, design_of(gaps), 50)
    np.testing.assert_array_equal(picks.positions, np.argsort(-np.abs(gaps))[:50])
    np.testing.assert_array_equal(picks.utilities, np.abs(gaps)[picks.positions])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_two_rules_are_each_others_reverse(seed):
    design = design_of(random_gaps(seed))
    forward = pick(entropy, design, 200).positions
    np.testing.assert_array_equal(
        forward, pick(max_difference, design, 200).positions[::-1]
    )


@pytest.mark.parametrize("strategy", [entropy, max_difference])
def test_ties_are_broken_by_the_seed(strategy):
    gaps = [1.0, -1.0, 1.0, -1.0] * 5
    answers = [pick(strategy, design_of(gaps), 3, seed) for seed in range(8)]
    assert len({tuple(a.positions) for a in answers}) > 4
    again = pick(strategy, design_of(gaps), 3, 5)
    np.testing.assert_array_equal(again.positions, answers[5].positions)


@pytest.mark.parametrize("strategy", [entropy, max_difference])
def test_a_cold_start_is_a_uniform_draw(strategy):
    pairs = np.stack([np.arange(10), np.arange(10) + 10], axis=1)
    design = Design(pairs, refuse_to_embed)
    rng = np.random.RandomState(0)
    draws = [strategy(design, 2, rng=rng).positions for _ in range(2000)]
    share = np.bincount(np.ravel(draws), minlength=10) / 4000
    np.testing.assert_allclose(share, 0.1, atol=0.02)  # 4 standard errors
