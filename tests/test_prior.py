"""The prior that items imply: its moment, its roots, and when a fit takes it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import expit, softmax

from skarm import BradleyTerryRegressor, Comparisons
from skarm._model import linear, prior
from skarm._model.prior import as_matrix, mean_variance, roots, within_moment


def problem(seed=0, n=120, power=1.0, d=12, n_items=400):
    """Responses with few directions of large spread, and a reward along these."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((d, d)))
    sd = np.geomspace(3, 0.1, d)
    groups = np.repeat(np.arange(n_items // 10), 10)
    level = 4 * rng.standard_normal((n_items // 10, d))  # of a prompt
    items = (rng.standard_normal((n_items, d)) * sd) @ axes + level[groups]
    coef = axes.T @ (rng.choice([-1, 1], d) * sd**power)
    pool = Comparisons.all_pairs(items, groups=groups, scope="within")
    pool = pool[rng.permutation(len(pool))[:n]]
    gap = pool.differences() @ coef
    return pool, (rng.random(n) < expit(2 * gap / gap.std())).astype(float)


def without_groups(comparisons):
    return Comparisons(comparisons.items, comparisons.pairs)


# ------------------------------------------------------------------------- the moment


def test_the_moment_inside_groups_is_the_mean_over_their_pairs():
    rng = np.random.default_rng(0)
    items, groups = rng.standard_normal((60, 3)) + 7, rng.integers(0, 9, 60)
    x = Comparisons.all_pairs(items, groups=groups, scope="within").differences()
    np.testing.assert_allclose(within_moment(items, groups), x.T @ x / len(x))
    names = np.array(list("abcdefghi"))[groups]
    np.testing.assert_allclose(within_moment(items, names), x.T @ x / len(x))


def test_without_two_items_in_a_group_or_any_difference_there_is_none():
    items = np.random.default_rng(0).standard_normal((60, 3))
    assert within_moment(items, np.arange(60)) is None
    assert within_moment(np.ones((60, 3)), np.zeros(60)) is None


def test_with_few_differences_what_is_off_the_diagonal_shrinks():
    rng = np.random.default_rng(5)
    items, groups = rng.standard_normal((30, 4)), np.repeat(np.arange(10), 3)
    plain = within_moment(items, groups)
    ratio = within_moment(items, groups, shrink=True) / plain
    kept = 20 / (20 + 4)  # of 10 groups of three, two differences each
    np.testing.assert_allclose(ratio, np.where(np.eye(4), 1, kept))


def test_items_that_are_not_finite_are_left_out():
    rng = np.random.default_rng(1)
    items, groups = rng.standard_normal((40, 3)), rng.integers(0, 4, 40)
    worse = np.vstack([items, [[np.nan, 0, 0], [0, np.inf, 0]]])
    np.testing.assert_allclose(
        within_moment(worse, np.r_[groups, 0, 1]), within_moment(items, groups)
    )


def test_of_very_many_items_whole_groups_are_enough(monkeypatch):
    rng = np.random.default_rng(2)
    items, groups = rng.standard_normal((400, 2)), np.repeat(np.arange(100), 4)
    monkeypatch.setattr(prior, "MAX_ITEMS", 100)
    some = groups % 4 == 0
    expected = within_moment(items[some], groups[some])
    np.testing.assert_allclose(within_moment(items, groups), expected)


def test_items_alone_in_their_group_do_not_crowd_out_the_others(monkeypatch):
    rng = np.random.default_rng(3)
    items = rng.standard_normal((300, 2))
    groups = np.r_[2 * np.arange(200), np.repeat(2 * np.arange(25) + 1, 4)]
    monkeypatch.setattr(prior, "MAX_ITEMS", 150)
    expected = within_moment(items[200:], groups[200:])
    np.testing.assert_allclose(within_moment(items, groups), expected)


@pytest.mark.parametrize("n_groups", [1, 3])
def test_no_more_items_are_looked_at_where_groups_are_vast(n_groups, monkeypatch):
    rng = np.random.default_rng(4)
    items = rng.standard_normal((6000, 2)) * [1, 3]
    seen, as_floats = [], prior._as_floats
    monkeypatch.setattr(prior, "_as_floats", lambda x: seen.append(x) or as_floats(x))
    monkeypatch.setattr(prior, "MAX_ITEMS", 1000)
    moment = within_moment(items, np.arange(6000) % n_groups)
    assert len(seen[0]) <= 2000
    np.testing.assert_allclose(moment, np.diag([2, 18]), atol=1.5)


def test_the_largest_group_is_not_passed_over(monkeypatch):
    rng = np.random.default_rng(6)
    items = rng.standard_normal((202, 3))
    monkeypatch.setattr(prior, "MAX_ITEMS", 150)
    found = within_moment(items, np.r_[0, 0, np.ones(200, dtype=int)])
    np.testing.assert_allclose(found, within_moment(items[2:], np.zeros(200)))


def test_items_equal_inside_every_group_have_no_moment():
    items = np.repeat(np.random.default_rng(7).standard_normal((40, 3)), 5, axis=0)
    assert within_moment(items, np.arange(200) // 5) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", [[np.inf, -np.inf, 0], [1e200, 0, 0]])
def test_an_odd_item_that_nobody_asked_about_spoils_no_fit(odd):
    rng = np.random.default_rng(5)
    items, groups = rng.standard_normal((40, 3)), np.arange(41) // 4
    pairs = np.arange(40).reshape(-1, 2)
    asked = Comparisons(np.vstack([items, [odd]]), pairs, groups=np.minimum(groups, 9))
    model = BradleyTerryRegressor().fit(asked, np.arange(20) % 2)
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("hidden", [(), (4,)])
@pytest.mark.parametrize("kind", ["sparse", "frame"])
def test_items_of_any_kind_have_a_moment(kind, hidden):
    rng = np.random.default_rng(6)
    items, groups = rng.standard_normal((42, 3)), np.arange(42) // 6
    expected = within_moment(items[:40], groups[:40])
    if kind == "sparse":
        store = sparse.csr_matrix(np.vstack([items[:40], np.full((2, 3), np.nan)]))
    else:
        store = pd.DataFrame(items, columns=list("abc")).astype("Float64")
        store.iloc[40:, 0] = pd.NA
    np.testing.assert_allclose(within_moment(store, groups), expected)
    pairs = np.arange(36).reshape(-1, 2)
    asked = Comparisons(store, pairs, groups=groups)
    model = BradleyTerryRegressor(hidden_layer_sizes=hidden, random_state=0)
    model.fit(asked, np.arange(18) % 2)
    assert np.isfinite(model.coef_).all()


# -------------------------------------------------------------------------- its roots


def test_roots_of_a_moment_are_symmetric_and_inverse_to_each_other():
    x = np.random.default_rng(3).standard_normal((50, 5))
    root, inverse = roots(x.T @ x)
    np.testing.assert_allclose(root, root.T)
    np.testing.assert_allclose(root @ root * np.square(x).sum() / 5, x.T @ x)
    np.testing.assert_allclose(root @ inverse, np.eye(5), atol=1e-12)


def test_a_direction_without_any_difference_keeps_a_little_variance():
    x = np.random.default_rng(4).standard_normal((50, 5)) * [1, 1, 1, 1, 0]
    root, _ = roots(x.T @ x)
    assert (root @ root)[4, 4] == pytest.approx(prior.FLOOR)


def test_a_precision_is_a_matrix_however_it_is_given():
    a = np.array([1.0, 2.0, 4.0])
    assert np.array_equal(as_matrix(2.0, 3), 2 * np.eye(3))
    assert np.array_equal(as_matrix(a, 3), np.diag(a))
    assert as_matrix(np.diag(a), 3).shape == (3, 3)
    for alpha in (a, np.diag(a)):
        assert mean_variance(alpha) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert mean_variance(4.0) == 0.25


# ------------------------------------------------------------------------------ fits


@pytest.mark.parametrize("n", [10, 40, 150])
def test_the_fit_is_the_minimum_under_the_matrix(n):
    asked, y = problem(n=n)
    model = BradleyTerryRegressor().fit(asked, y)
    x, alpha = asked.differences(), model.alpha_
    assert alpha.shape == (12, 12)
    p = expit(x @ model.coef_)
    np.testing.assert_allclose(x.T @ (p - y) + alpha @ model.coef_, 0, atol=1e-6)
    np.testing.assert_allclose(model.information_, (x.T * p * (1 - p)) @ x, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-140, 1e-80, 1e80, 1e140])
def test_the_fit_is_the_same_in_any_unit(scale):
    asked, y = problem(n=40)
    model = BradleyTerryRegressor().fit(asked, y)
    scaled = Comparisons(asked.items * scale, asked.pairs, groups=asked.groups)
    other = BradleyTerryRegressor().fit(scaled, y)
    np.testing.assert_allclose(other.coef_ * scale, model.coef_, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-160, 1e170])
@pytest.mark.parametrize("has_groups", [True, False])
def test_units_that_overflow_are_an_error(scale, has_groups):
    asked, y = problem(n=40)
    groups = asked.groups if has_groups else None
    scaled = Comparisons(asked.items * scale, asked.pairs, groups=groups)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="Scale the items"):
        BradleyTerryRegressor().fit(scaled, y)


@pytest.mark.parametrize("n", [40, 300])
def test_float32_items_far_from_zero_lose_nothing(n):
    rng = np.random.default_rng(8)
    items = (rng.standard_normal((400, 60)) + 1000).astype(np.float32)
    pairs = rng.integers([0, 200], [200, 400], (n, 2))
    groups, y = np.arange(400) // 5, rng.integers(0, 2, n)
    narrow, wide = (
        BradleyTerryRegressor().fit(Comparisons(x, pairs, groups=groups), y)
        for x in (items, items.astype(float))
    )
    np.testing.assert_allclose(narrow.coef_, wide.coef_, atol=1e-6 * wide.coef_.std())


def two_priors(asked, y):
    """Shares and covariances of both priors, from fits without groups."""
    root, _ = roots(within_moment(asked.items, asked.groups, shrink=True))
    plain, turned = BradleyTerryRegressor(), BradleyTerryRegressor()
    plain.fit(without_groups(asked), y)
    turned.fit(Comparisons(asked.items @ root, asked.pairs), y)
    shares = softmax([plain.log_evidence_, turned.log_evidence_])
    return shares, np.diag(1 / plain.alpha_), (root / turned.alpha_) @ root


def test_the_prior_is_the_mean_of_both_weighted_by_their_evidence():
    n_mixed = 0
    for seed in range(6):
        asked, y = problem(seed)
        shares, own, turned = two_priors(asked, y)
        if shares.min() < linear.NEGLIGIBLE:
            continue
        n_mixed += 1
        model = BradleyTerryRegressor().fit(asked, y)
        covariance = shares[0] * own + shares[1] * turned
        np.testing.assert_allclose(
            np.linalg.inv(model.alpha_), covariance, rtol=1e-3, atol=1e-5
        )
    assert n_mixed >= 3


def test_a_prior_with_hardly_any_evidence_is_left_out():
    taken = []
    for seed in range(8):
        for power in (1.0, -1.0):
            asked, y = problem(seed, 300, power)
            model = BradleyTerryRegressor().fit(asked, y)
            alone = BradleyTerryRegressor().fit(without_groups(asked), y)
            shares, _, turned = two_priors(asked, y)
            assert model.log_evidence_ >= alone.log_evidence_
            if shares[0] < linear.NEGLIGIBLE:
                covariance = np.linalg.inv(model.alpha_)
                np.testing.assert_allclose(covariance, turned, rtol=1e-3, atol=1e-5)
            elif shares[1] < linear.NEGLIGIBLE:
                assert np.array_equal(model.coef_, alone.coef_)
                assert np.array_equal(model.alpha_, alone.alpha_)
            taken.append((power, int(np.round(shares[1]))))
    assert taken.count((1.0, 1)) >= 7 and taken.count((-1.0, 1)) <= 1


def test_rewards_made_of_what_differs_are_found_with_fewer_answers():
    better = []
    for seed in range(12):
        asked, y = problem(seed, 40, 3.0, d=24)
        unseen, answers = problem(seed, 1800, 3.0, d=24)
        found = [
            BradleyTerryRegressor().fit(part, y).score(unseen, answers)
            for part in (asked, without_groups(asked))
        ]
        better.append(np.subtract(*found))
    assert np.mean(better) > 0.005 and np.mean(np.array(better) >= 0) > 0.8


def test_neither_the_order_of_a_pair_nor_that_of_features_matters():
    asked, y = problem()
    model = BradleyTerryRegressor().fit(asked, y)
    swapped = Comparisons(asked.items, asked.pairs[:, ::-1], groups=asked.groups)
    other = BradleyTerryRegressor().fit(swapped, 1 - y)
    np.testing.assert_allclose(other.coef_, model.coef_, rtol=1e-6)
    order = np.random.default_rng(0).permutation(12)
    moved = Comparisons(asked.items[:, order], asked.pairs, groups=asked.groups)
    other = BradleyTerryRegressor().fit(moved, y)
    np.testing.assert_allclose(other.coef_, model.coef_[order], rtol=1e-4)


def test_who_gives_alpha_or_wants_a_normal_prior_gets_that():
    asked, y = problem()
    for params in ({"alpha": 2.0}, {"prior": "normal"}):
        one = BradleyTerryRegressor(**params).fit(asked, y)
        two = BradleyTerryRegressor(**params).fit(without_groups(asked), y)
        assert np.array_equal(one.coef_, two.coef_) and np.ndim(one.alpha_) == 0


def test_wide_items_stay_in_their_own_coordinates(monkeypatch):
    asked, y = problem()
    monkeypatch.setattr(linear, "MAX_TURNED", 11)
    assert BradleyTerryRegressor().fit(asked, y).alpha_.shape == (12,)


def test_an_item_nobody_asked_about_may_be_missing():
    asked, y = problem()
    unasked = np.setdiff1d(np.arange(asked.n_items), asked.pairs)
    items = asked.items.copy()
    items[unasked[0]] = np.nan
    holed = Comparisons(items, asked.pairs, groups=asked.groups)
    assert np.isfinite(BradleyTerryRegressor().fit(holed, y).coef_).all()


def test_what_reads_the_prior_reads_the_matrix():
    asked, y = problem()
    model = BradleyTerryRegressor(n_heads=400, random_state=0).fit(asked, y)
    covariance = np.linalg.inv(model.information_ + model.alpha_)
    _, std = model.predict(asked, return_std=True)
    x = asked.differences()
    np.testing.assert_allclose(std**2, np.einsum("ij,jk,ik->i", x, covariance, x))
    spread = np.cov(model.head_coefs_.T)
    assert 0.5 < np.trace(spread) / np.trace(covariance) < 2
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(asked), model.predict(asked))
    other = BradleyTerryRegressor(warm_start=True).fit(asked, y).fit(asked, y)
    np.testing.assert_allclose(other.coef_, model.coef_, rtol=1e-6)
