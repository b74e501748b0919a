"""Ranking with seeded ties, eligibility, and the registry of strategies."""

import numpy as np
import pytest

from skarm import ActiveComparisonSampler, Comparisons
from skarm.strategies import Design, get_strategy, get_strategy_names, random
from skarm.strategies._selection import (
    REACH,
    among_undecided,
    eligible_positions,
    top_n,
)

SEEDS = range(4)


def design_of(seed, n_items=30, d=3, n_pairs=100):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, d)) @ np.diag([1.0, 5.0, 0.2][:d])
    pool = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    return Design(pool.pairs, lambda: items)


def mahalanobis(design):
    """xᵀ A⁻¹ x with A = mean of x xᵀ, directly."""
    X = design.differences
    return np.einsum("ki,ij,kj->k", X, np.linalg.inv(X.T @ X / len(X)), X)


# ------------------------------------------------------------------------------- top_n


@pytest.mark.parametrize("seed", SEEDS)
def test_top_n_is_best_first(seed):
    utilities = np.random.default_rng(seed).standard_normal(100)
    picks = top_n(design_of(seed), utilities, 20, np.random.RandomState(seed))
    np.testing.assert_array_equal(picks.positions, np.argsort(-utilities)[:20])
    np.testing.assert_array_equal(picks.utilities, np.sort(utilities)[::-1][:20])
    assert picks.positions.dtype == np.intp


def test_top_n_breaks_ties_uniformly_and_never_demotes_the_better():
    utilities = np.array([0.0, 1.0, 0.0, 2.0, 0.0, 0.0])
    rng = np.random.RandomState(0)
    design = design_of(0)
    thirds = [top_n(design, utilities, 3, rng).positions for _ in range(2000)]
    assert {tuple(t[:2]) for t in thirds} == {(3, 1)}
    share = np.bincount([t[2] for t in thirds], minlength=6)[[0, 2, 4, 5]] / 2000
    np.testing.assert_allclose(share, 0.25, atol=0.04)  # 4 standard errors


def test_top_n_of_all_is_a_permutation():
    picks = top_n(design_of(0), np.zeros(9), 9, np.random.RandomState(0))
    assert sorted(picks.positions) == list(range(9))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64", ">f8", "longdouble"])
def test_top_n_takes_numbers_of_any_kind(dtype):
    utilities = np.arange(100).astype(dtype)[::-1]
    utilities.flags.writeable = False
    for design in (design_of(0), capped := design_of(0)):
        capped.max_pairs_per_item = 50  # the other way to rank
        picks = top_n(design, utilities, 3, np.random.RandomState(0))
        np.testing.assert_array_equal(picks.positions, [0, 1, 2])


def test_top_n_of_nan_raises():
    utilities = np.r_[np.nan, np.zeros(99)]
    with pytest.raises(ValueError, match=r"Got NaN for 1 of 100 candidates\. Give"):
        top_n(design_of(0), utilities, 3, np.random.RandomState(0))


# ------------------------------------------------------------------------- eligibility


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("eligible", [0.05, 0.333, 0.7, 0.999])
def test_the_shortest_differences_of_the_pool_are_eligible(eligible, seed):
    design = design_of(seed)
    positions = eligible_positions(design, 1, eligible)
    n_kept = int(np.ceil(eligible * design.n_pairs))
    shortest = np.argsort(mahalanobis(design))[:n_kept]
    np.testing.assert_array_equal(positions, np.sort(shortest))


@pytest.mark.parametrize("n_pairs", [1, 5, 60, 99, 100])
def test_at_least_as_many_stay_eligible_as_are_wanted(n_pairs):
    positions = eligible_positions(design_of(0), n_pairs, 0.05)
    assert len(positions) == max(n_pairs, 5)


def test_everyone_is_eligible_at_1_without_a_look_at_the_features():
    def refuse():
        raise AssertionError("the embedding was read")

    design = Design(np.array([[0, 1], [1, 2]]), refuse)
    assert eligible_positions(design, 1, 1.0).tolist() == [0, 1]
    assert eligible_positions(design, 2, 0.1).tolist() == [0, 1]


def test_equal_lengths_at_the_cut_all_stay():
    pairs = np.array([[0, 1], [1, 0], [2, 0], [0, 1]])
    design = Design(pairs, lambda: np.array([[0.0], [1.0], [9.0]]))
    assert eligible_positions(design, 1, 0.25).tolist() == [0, 1, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_lengths_do_not_depend_on_the_units_of_the_features(seed):
    design = design_of(seed)
    scaled = Design(design.pairs, lambda: design.embedding * [1e-3, 1.0, 1e3])
    np.testing.assert_array_equal(
        eligible_positions(design, 1, 0.5),
        eligible_positions(scaled, 1, 0.5),
    )


@pytest.mark.parametrize("constant", [0, 1, 3])
def test_constant_features_do_not_matter(constant):
    design = design_of(0)
    wide = np.hstack([design.embedding, np.full((30, constant), 7.0)])
    np.testing.assert_array_equal(
        eligible_positions(Design(design.pairs, lambda: wide), 1, 0.5),
        eligible_positions(design, 1, 0.5),
    )


@pytest.mark.parametrize("seed", range(5))
def test_features_that_differ_only_between_groups_do_not_matter_within(seed):
    """Of the prompt, say: every difference is zero, its sum only up to rounding."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(40), 5)
    embedding = rng.standard_normal((200, 3))
    pairs = (
        5 * rng.integers(40, size=(300, 1)) + [0, 1] + rng.integers(4, size=(300, 1))
    )
    about = rng.standard_normal((40, 3))[groups]
    wide = np.hstack([embedding, about])
    np.testing.assert_array_equal(
        eligible_positions(Design(pairs, lambda: wide), 1, 0.5),
        eligible_positions(Design(pairs, lambda: embedding), 1, 0.5),
    )


def test_without_any_difference_everyone_is_eligible():
    design = Design(np.array([[0, 1], [1, 2], [2, 0]]), lambda: np.ones((3, 2)))
    assert eligible_positions(design, 1, 0.4).tolist() == [0, 1, 2]


@pytest.mark.parametrize("eligible", [0, -0.1, 1.0001, 2, np.nan, np.inf])
def test_a_share_outside_0_to_1_raises(eligible):
    with pytest.raises(ValueError, match=r"eligible must lie in \(0, 1\], the share"):
        eligible_positions(design_of(0), 1, eligible)


def decided(seed=0):
    """A design with rewards."""
    design = design_of(seed)
    rewards = np.random.default_rng(seed).standard_normal(len(design.embedding))
    return Design(design.pairs, lambda: design.embedding, reward=lambda: rewards)


@pytest.mark.parametrize("undecided", [0.05, 0.5, 0.98])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_least_decided_pairs_stay(seed, undecided):
    design = decided(seed)
    gaps = np.abs(design.reward_differences)
    expected = np.sort(np.argsort(gaps)[: int(np.ceil(undecided * design.n_pairs))])
    part, positions, widest = among_undecided(design, 1, undecided)
    np.testing.assert_array_equal(positions, expected)
    assert widest == gaps[expected].max()
    assert among_undecided(design, 60, undecided)[0].n_pairs >= 60
    # The bulk is theirs, in a metric of their own.
    alone = Design(design.pairs[expected], lambda: design.embedding)
    np.testing.assert_allclose(part.lengths, mahalanobis(alone), rtol=1e-6)
    np.testing.assert_array_equal(
        part.reward_differences, design.reward_differences[expected]
    )
    assert part.prior is design.prior


def test_pairs_of_equal_items_stay_and_do_not_count():
    embedding = np.random.default_rng(0).standard_normal((40, 3))
    rewards = embedding @ [1.0, 2.0, 3.0]
    differ = np.column_stack([np.arange(20), np.arange(20, 40)])
    equal = np.repeat(np.arange(30)[:, None], 2, axis=1)
    pairs = np.vstack([equal, differ])
    design = Design(pairs, lambda: embedding, reward=lambda: rewards)
    part, positions, widest = among_undecided(design, 1, 0.5)
    least = np.argsort(np.abs(design.reward_differences[30:]))[:10]
    np.testing.assert_array_equal(positions, np.r_[:30, np.sort(30 + least)])
    assert part.n_pairs == 40 and widest > 0
    same = Design(equal, lambda: embedding, reward=lambda: rewards)
    assert among_undecided(same, 1, 0.5)[0] is same


def test_in_a_cold_start_everyone_is_undecided():
    design = design_of(0)
    part, positions, widest = among_undecided(design, 1, 0.1)
    assert part is design and widest == np.inf
    np.testing.assert_array_equal(positions, np.arange(design.n_pairs))


@pytest.mark.parametrize("undecided", [0, -1, 1.5, np.nan, "half"])
def test_a_share_of_undecided_outside_0_to_1_raises(undecided):
    with pytest.raises(ValueError, match=r"undecided must lie in \(0, 1\], the share"):
        among_undecided(decided(), 1, undecided)


# ---------------------------------------------------------------------- the registry


def test_names_come_family_by_family_and_name_functions():
    names = get_strategy_names()
    assert len(set(names)) == len(names)
    assert {"random", "entropy", "xtx", "v_optimal"} <= set(names)
    for name in names:
        assert get_strategy(name).__name__ == name
    for family in ("baseline", "uncertainty", "optimal_design"):
        part = get_strategy_names(family)
        start = names.index(part[0])
        assert names[start : start + len(part)] == part


def test_auto_is_a_registered_strategy_and_callables_stand_for_themselves():
    assert get_strategy("auto").__name__ in get_strategy_names()
    assert get_strategy(random) is random
    assert get_strategy(print) is print


def test_unknown_names_raise_and_list_the_known():
    with pytest.raises(ValueError, match=r"'v_optimal'.*\. Got 'best'"):
        get_strategy("best")
    with pytest.raises(ValueError, match=r"family must be one of .*Got 'deep'"):
        get_strategy_names("deep")
    with pytest.raises(ValueError, match="strategy must be 'auto', a callable, or one"):
        ActiveComparisonSampler("best").query(Comparisons([[0.0], [1.0]], [[0, 1]]))


@pytest.mark.parametrize("seed", range(3))
def test_auto_leaves_out_what_is_long_beside_the_median(seed):
    design = design_of(seed)
    lengths = mahalanobis(design)
    expected = np.flatnonzero(lengths <= REACH * np.median(lengths))
    assert eligible_positions(design, 1, "auto").tolist() == expected.tolist()
    assert len(eligible_positions(design, 99, "auto")) >= 99


def test_auto_leaves_out_more_where_the_tails_are_heavy():
    rng = np.random.RandomState(0)
    pairs = np.arange(4000).reshape(-1, 2)
    light, heavy = rng.standard_normal((4000, 64)), rng.standard_t(2, (4000, 64))
    shares = [
        len(eligible_positions(Design(pairs, lambda x=x: x), 1, "auto")) / 2000
        for x in (light, heavy)
    ]
    assert shares[0] > 0.9 > 0.75 > shares[1]


def test_an_unknown_word_raises():
    with pytest.raises(ValueError, match=r"or be 'auto'\. Got 'soft'"):
        eligible_positions(design_of(0), 1, "soft")


@pytest.mark.parametrize("eligible", ["auto", 0.3, 0.7, 1.0])
@pytest.mark.parametrize("rule", ["greedy_d_optimal", "v_optimal"])
def test_pairs_of_equal_items_never_crowd_out_those_that_differ(rule, eligible):
    rng = np.random.default_rng(0)
    items = np.vstack([np.ones((30, 3)), rng.standard_normal((30, 3))])
    equal = [[i, j] for i in range(30) for j in range(i)]
    pool = Comparisons(items, equal + [[i, i + 1] for i in range(29, 59)])
    sampler = ActiveComparisonSampler(
        rule, strategy_params={"eligible": eligible}, random_state=0
    )
    indices, gains = sampler.query(pool, n_pairs=8, return_utilities=True)
    assert (indices >= len(equal)).all()
    assert (gains > 0).all()
    assert len(set(sampler.query(pool, n_pairs=len(pool)))) == len(pool)
