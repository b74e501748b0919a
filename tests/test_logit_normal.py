"""Integrals over a normal logit, against adaptive quadrature and Monte Carlo."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import entropy, norm

from skarm._model.logit_normal import (
    answer_of_logit,
    bald_information,
    binary_entropy,
    mean_probability,
    probability_variance,
)
from skarm._model.posterior import mean_bernoulli_variance

LOGITS = [0.0, 0.3, -2.0, 7.0, -30.0]
VARIANCES = [1e-6, 0.05, 1.0, 1.0001, 9.0, 400.0, 1e6]


def expectation(function, mean, variance):
    """E[function(s)] by adaptive quadrature, in pieces about the peaks."""
    sd = np.sqrt(variance)
    edges = np.unique([mean + k * sd for k in range(-12, 13, 2)] + [-40, -5, 0, 5, 40])

    def integrand(s):
        return function(s) * norm.pdf(s, mean, sd)

    pieces = [
        quad(integrand, a, b, epsabs=1e-14, epsrel=1e-13, limit=200)[0]
        for a, b in pairwise(edges)
    ]
    return sum(pieces)


def plain_entropy(s):
    p = expit(-abs(s))
    return -p * np.log(p) - (1 - p) * np.log1p(-p) if p > 0 else 0.0


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("logit", LOGITS)
def test_integrals_agree_with_adaptive_quadrature(logit, variance):
    m, v = np.array([logit]), np.array([variance])
    p = expectation(expit, logit, variance)
    assert mean_probability(m, v)[0] == pytest.approx(p, abs=1e-11)
    square = expectation(lambda s: expit(s) ** 2, logit, variance)
    assert probability_variance(m, v)[0] == pytest.approx(square - p**2, abs=1e-11)
    noise = expectation(plain_entropy, logit, variance)
    information = binary_entropy(p) - noise
    assert bald_information(m, v)[0] == pytest.approx(information, abs=1e-10)


def test_bald_agrees_with_monte_carlo():
    rng = np.random.default_rng(0)
    s = 0.7 + 1.3 * rng.standard_normal(400_000)
    p = expit(s)
    found = bald_information(np.array([0.7]), np.array([1.3**2]))[0]
    expected = binary_entropy(p.mean()) - binary_entropy(p).mean()
    assert found == pytest.approx(expected, abs=2e-3)  # 4 standard errors


def test_nothing_is_learned_of_a_known_logit():
    m, v = np.array([0.0, 3.0, -800.0]), np.zeros(3)
    np.testing.assert_allclose(bald_information(m, v), 0, atol=1e-15)
    np.testing.assert_allclose(probability_variance(m, v), 0, atol=1e-15)
    np.testing.assert_allclose(mean_probability(m, v), expit(m), atol=1e-15)


def test_an_unknown_logit_decides_the_answer():
    m, v = np.zeros(1), np.array([1e12])
    assert bald_information(m, v)[0] == pytest.approx(np.log(2), abs=1e-5)
    assert probability_variance(m, v)[0] == pytest.approx(0.25, abs=1e-5)


def test_integrals_are_blind_to_the_order_of_a_pair():
    rng = np.random.default_rng(0)
    m, v = 5 * rng.standard_normal(200), rng.exponential(4, 200)
    np.testing.assert_allclose(mean_probability(-m, v), 1 - mean_probability(m, v))
    for function in (bald_information, probability_variance):
        np.testing.assert_allclose(function(-m, v), function(m, v), atol=1e-14)


def test_the_variance_of_an_answer_splits_into_what_is_known_and_what_is_not():
    rng = np.random.default_rng(0)
    m, v = 3 * rng.standard_normal(200), rng.exponential(2, 200)
    p = mean_probability(m, v)
    total = probability_variance(m, v) + mean_bernoulli_variance(m, v)
    np.testing.assert_allclose(total, p * (1 - p), atol=2e-7)


def test_answers_are_those_of_the_definition_and_never_overflow():
    s = np.array([0.0, 1.0, -4.0, 30.0])
    expected = expit(s)
    p, h = answer_of_logit(s)
    np.testing.assert_allclose(p, expected)
    np.testing.assert_allclose(h, entropy([expected, 1 - expected]), atol=1e-14)
    np.testing.assert_allclose(binary_entropy(p), h, atol=1e-14)
    assert [float(x) for x in answer_of_logit(np.array(-2000.0))] == [0.0, 0.0]
    # -p log p for small p, which 1 - p cannot hold.
    assert answer_of_logit(np.array(50.0))[1] == pytest.approx(51 * np.exp(-50.0))
