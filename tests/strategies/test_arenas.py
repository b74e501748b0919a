"""One duel of each prompt before a second of any."""

import numpy as np
import pytest

from skarm import Comparisons
from skarm.strategies import Design
from skarm.strategies._arenas import arenas_of, round_robin, tournament

SEEDS = range(4)


def design_of(seed, n_groups=5, n_items=20, n_pairs=60, **plan):
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, 2))
    pool = Comparisons.random_pairs(items, n_pairs, random_state=seed)
    groups = rng.permutation(np.arange(n_items) % n_groups) if n_groups else None
    return Design(pool.pairs, lambda: items, groups=groups, **plan)


def rounds_by_hand(design, utilities, n_pairs):
    """Repeat: each arena offers its best open pair; take the offers, best first."""
    arena, n_arenas = arenas_of(design)
    costs = np.ones(design.n_pairs) if design.costs is None else design.costs
    worth, picks = utilities / costs, []
    while len(picks) < n_pairs:
        offers = []
        for code in range(n_arenas):
            mine = [i for i in np.flatnonzero(arena == code) if i not in picks]
            offers += [max(mine, key=lambda i: worth[i])] if mine else []
        picks += sorted(offers, key=lambda i: -worth[i])
    return picks[:n_pairs]


@pytest.mark.parametrize("with_costs", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_round_robin_is_what_its_rounds_say(seed, with_costs):
    rng = np.random.default_rng(seed)
    costs = rng.uniform(0.5, 2, 60) if with_costs else None
    design, utilities = design_of(seed, costs=costs), rng.random(60)
    for n_pairs in (1, 7, 40, 60):
        picks = round_robin(design, utilities, n_pairs, np.random.RandomState(0))
        expected = rounds_by_hand(design, utilities, n_pairs)
        np.testing.assert_array_equal(picks.positions, expected)
        np.testing.assert_array_equal(picks.utilities, utilities[expected])


@pytest.mark.parametrize("seed", SEEDS)
def test_caps_that_never_bind_change_nothing_and_those_that_do_hold(seed):
    utilities = np.random.default_rng(seed).random(60)
    expected = round_robin(design_of(seed), utilities, 30, np.random.RandomState(0))
    loose = design_of(seed, max_pairs_per_item=100)
    found = round_robin(loose, utilities, 30, np.random.RandomState(0))
    np.testing.assert_array_equal(found.positions, expected.positions)
    tight = design_of(seed, max_pairs_per_item=2)
    found = round_robin(tight, utilities, 60, np.random.RandomState(0))
    assert np.bincount(tight.pairs[found.positions].ravel()).max() == 2
    assert len(set(found.positions)) == len(found.positions) < 60


def test_arenas_are_groups_pairs_of_groups_or_everything():
    groups = np.array([0, 0, 1, 1])
    pairs = np.array([[0, 1], [2, 3], [0, 2], [3, 1]])
    design = Design(pairs, lambda: np.eye(4), groups=groups)
    arena, n_arenas = arenas_of(design)
    assert n_arenas == 3
    assert arena[2] == arena[3]
    assert len(set(arena[:3])) == 3
    assert arenas_of(Design(pairs, lambda: np.eye(4)))[1] == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_tournament_arenas_take_turns(seed):
    design = design_of(seed)
    arena, n_arenas = arenas_of(design)
    seen = []

    def duel(contest, is_open):
        seen.append(contest)
        return np.flatnonzero(is_open)[-1], 1.0

    picks = tournament(design, 60, np.random.RandomState(seed), duel)
    assert sorted(picks.positions) == list(range(60))
    assert (picks.utilities == 1).all()
    first_round = arena[picks.positions[:n_arenas]]
    assert sorted(first_round) == list(range(n_arenas))
    for contest in seen:
        pairs = design.pairs[contest.positions]
        sides = np.stack([contest.first, contest.second], axis=1)
        np.testing.assert_array_equal(contest.items[sides], pairs)


def test_equal_items_are_one_contestant():
    items = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, -0.0]])
    design = Design(np.array([[0, 1], [2, 1], [0, 2]]), lambda: items)
    seen = []

    def duel(contest, is_open):
        seen.append(contest)
        return np.flatnonzero(is_open)[0], 0.0

    tournament(design, 1, np.random.RandomState(0), duel)
    assert len(seen[0].items) == 2
    is_self = seen[0].first == seen[0].second
    assert seen[0].positions[is_self].tolist() == [2]


def test_a_cap_on_groups_ends_a_tournament():
    design = design_of(0, max_pairs_per_group=1)
    take_first = lambda contest, is_open: (np.flatnonzero(is_open)[0], 0.0)  # noqa: E731
    picks = tournament(design, 60, np.random.RandomState(0), take_first)
    asked = design.groups[design.pairs[picks.positions]]
    counts = np.zeros(5)
    for pair in asked:
        counts[np.unique(pair)] += 1
    assert counts.max() == 1
    assert len(picks.positions) < 60
