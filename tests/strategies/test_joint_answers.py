"""Joint answers: enumeration by hand, and what sampling does to it."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import entropy

from skarm.strategies._joint_answers import JointAnswers

SEEDS = range(3)


def probabilities(seed, n, n_draws=7):
    rng = np.random.default_rng(seed)
    return 1 / (1 + np.exp(-2 * rng.standard_normal((n, n_draws))))


def entropies(p):
    return entropy([p, 1 - p])


def mutual_information(p):
    """I(answers of all rows; draw) by enumerating every configuration."""
    joint = [
        np.prod(np.where(np.array(answers)[:, None], p, 1 - p), axis=0).mean()
        for answers in product([True, False], repeat=len(p))
    ]
    return entropy(joint) - entropies(p).mean(axis=1).sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_gains_add_up_to_the_enumerated_mutual_information(seed):
    p = probabilities(seed, 6)
    answers = JointAnswers(7, 32, np.random.RandomState(0))
    total = 0
    for i in range(6):
        total += answers.information(p[[i]], entropies(p[[i]]))[0]
        assert total == pytest.approx(mutual_information(p[: i + 1]), abs=1e-12)
        answers.add(p[i])


@pytest.mark.parametrize("seed", SEEDS)
def test_candidates_are_scored_as_if_each_alone_joined_the_batch(seed):
    p = probabilities(seed, 8)
    answers = JointAnswers(7, 8, np.random.RandomState(0))
    for row in p[:3]:
        answers.add(row)
    before = mutual_information(p[:3])
    expected = [mutual_information(p[[0, 1, 2, i]]) - before for i in range(3, 8)]
    found = answers.information(p[3:], entropies(p[3:]))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_configurations_are_exact_up_to_the_limit_and_no_more_are_kept():
    p = probabilities(0, 12)
    answers = JointAnswers(7, 64, np.random.RandomState(0))
    for i, row in enumerate(p):
        assert len(answers.shares) == min(2**i, 64)
        assert answers.shares.sum() == pytest.approx(1)
        np.testing.assert_allclose(answers.weights.sum(axis=1), 1)
        answers.add(row)


@pytest.mark.parametrize("seed", SEEDS)
def test_sampled_configurations_estimate_the_enumerated_information(seed):
    p = probabilities(seed, 11)
    exact = mutual_information(p) - mutual_information(p[:10])
    found = []
    for repetition in range(40):
        answers = JointAnswers(7, 128, np.random.RandomState(repetition))
        for row in p[:10]:
            answers.add(row)
        found.append(answers.information(p[10:], entropies(p[10:]))[0])
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(exact, abs=4 * error)
    assert error < 0.1 * exact


def test_certain_answers_teach_nothing_and_leave_numbers():
    answers = JointAnswers(3, 4, np.random.RandomState(0))
    certain = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    for row in [*certain, *certain]:
        np.testing.assert_allclose(answers.information(certain, 0 * certain), 0)
        answers.add(row)
    assert np.isfinite(answers.weights).all()


def test_an_answer_that_names_the_draw_leaves_nothing_to_learn():
    answers = JointAnswers(2, 4, np.random.RandomState(0))
    telling = np.array([[1.0, 0.0]])
    gain = answers.information(telling, 0 * telling)
    np.testing.assert_allclose(gain, np.log(2))
    answers.add(telling[0])
    np.testing.assert_allclose(answers.information(telling, 0 * telling), 0, atol=1e-15)
