"""The Laplace posterior against explicit inverses, sampling and quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from skarm._model.posterior import LastLayerPosterior, mean_bernoulli_variance


def posterior(seed=0, d=4, alpha=0.5):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((2 * d, d))
    return LastLayerPosterior(rng.standard_normal(d), root.T @ root, alpha), (
        np.linalg.inv(root.T @ root + alpha * np.eye(d))
    )


def test_inner_products_of_white_rows_are_posterior_covariances():
    model, covariance = posterior()
    embedding = np.random.default_rng(1).standard_normal((7, 4))
    white = model.whiten(embedding)
    expected = embedding @ covariance @ embedding.T
    np.testing.assert_allclose(white @ white.T, expected, atol=1e-12)


def test_variances_are_the_quadratic_form_of_the_covariance():
    model, covariance = posterior()
    embedding = np.random.default_rng(1).standard_normal((7, 4))
    expected = [x @ covariance @ x for x in embedding]
    np.testing.assert_allclose(model.variances(embedding), expected)


def test_without_answers_the_posterior_is_the_prior():
    model = LastLayerPosterior(np.zeros(3), np.zeros((3, 3)), 4.0)
    embedding = np.random.default_rng(2).standard_normal((5, 3))
    expected = np.square(embedding).sum(axis=1) / 4.0
    np.testing.assert_allclose(model.variances(embedding), expected)


def test_more_information_never_raises_a_variance():
    rng = np.random.default_rng(3)
    x, embedding = rng.standard_normal(4), rng.standard_normal((20, 4))
    before = LastLayerPosterior(np.zeros(4), np.eye(4), 1.0).variances(embedding)
    after = LastLayerPosterior(
        np.zeros(4), np.eye(4) + 0.2 * np.outer(x, x), 1.0
    ).variances(embedding)
    assert (after <= before + 1e-15).all()


def test_draws_converge_to_the_mean_and_the_covariance():
    model, covariance = posterior()
    n = 200_000
    draws = model.draws(np.random.RandomState(0), n)
    assert draws.shape == (n, 4)
    sd = np.sqrt(np.diag(covariance))
    z = (draws.mean(axis=0) - model.coef) / (sd / np.sqrt(n))
    assert np.abs(z).max() < 4.5
    # A sample covariance entry has a standard error below sqrt(2 / n) of sdᵢ sdⱼ.
    error = (np.cov(draws.T) - covariance) / np.outer(sd, sd)
    assert np.abs(error).max() < 4.5 * np.sqrt(2 / n)


def test_draws_repeat_with_their_generator():
    model, _ = posterior()
    one, two = (model.draws(np.random.RandomState(7), 3) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_a_prior_lost_in_rounding_is_refused_by_name():
    information = np.array([[1e12, 1e12], [1e12, 1e12]])
    with pytest.raises(ValueError, match=r"alpha=1e-09 .* Raise alpha"):
        LastLayerPosterior(np.zeros(2), information, 1e-9)


def by_quadrature(mean, variance):
    """E[p (1 - p)], over the axis on which the integrand is the wider peak."""
    sd = np.sqrt(variance)
    if sd < 1:
        return quad(
            lambda z: expit(mean + sd * z) * expit(-mean - sd * z) * norm.pdf(z),
            *(-12, 12),
            epsabs=1e-13,
            limit=500,
        )[0]
    return quad(
        lambda s: expit(s) * expit(-s) * norm.pdf(s, mean, sd),
        *(-45, 45),
        points=[0, mean],
        epsabs=1e-13,
        limit=500,
    )[0]


@pytest.mark.parametrize("mean", [-9.0, -1.0, 0.0, 0.3, 4.0])
@pytest.mark.parametrize("variance", [1e-3, 0.5, 1.0, 1.001, 4.0, 25.0, 400.0, 1e4])
def test_mean_bernoulli_variance_equals_quadrature(mean, variance):
    found = mean_bernoulli_variance(np.array([mean]), np.array([variance]))
    assert found[0] == pytest.approx(by_quadrature(mean, variance), abs=1e-7)


def test_mean_bernoulli_variance_of_a_wide_normal_is_its_density_at_zero():
    # p (1 - p) is a density, of a variable that a wide normal swallows.
    found = mean_bernoulli_variance(np.array([500.0]), np.array([1e6]))
    assert found[0] == pytest.approx(norm.pdf(0, 500, 1000), rel=1e-5)


def test_mean_bernoulli_variance_without_variance_is_the_plug_in():
    s = np.linspace(-40, 40, 81)
    found = mean_bernoulli_variance(s, np.zeros(81))
    np.testing.assert_allclose(found, expit(s) * expit(-s), rtol=1e-13)
    # A variance that rounding made negative is no variance.
    np.testing.assert_array_equal(mean_bernoulli_variance(s, np.full(81, -1e-9)), found)


@pytest.mark.filterwarnings("error")
def test_mean_bernoulli_variance_is_a_variance_whatever_it_is_given():
    mean, variance = (
        a.ravel() for a in np.meshgrid([0, 1, 30, 1e5], [0, 1e-9, 1, 2, 1e3, 1e12])
    )
    found = mean_bernoulli_variance(mean, variance)
    assert (found >= 0).all() and (found <= 0.25 + 1e-15).all()
    mirrored = mean_bernoulli_variance(-mean, variance)
    np.testing.assert_allclose(found, mirrored, rtol=1e-13)
    assert mean_bernoulli_variance(np.empty(0), np.empty(0)).shape == (0,)


def test_mean_bernoulli_variance_of_an_even_pair_falls_with_doubt():
    variance = np.linspace(0, 200, 2001)
    found = mean_bernoulli_variance(np.zeros(2001), variance)
    assert (np.diff(found) < 1e-8).all()
    assert found[-1] < 0.03
