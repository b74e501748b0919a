"""What the greedy design rules share: nuisance columns, caps beyond the eligible."""

import numpy as np
import pytest
from problems import fitted, query

from skarm import ActiveComparisonSampler, Comparisons

NUISANCE_RULES = ["greedy_d_optimal", "v_optimal"]


@pytest.mark.parametrize("rule", NUISANCE_RULES)
@pytest.mark.parametrize("bad", [[], [4], [-5], [0, 1, 2, 3], [0.5], 1, [[0]]])
def test_nuisances_are_columns_of_the_embedding_and_not_all_of_them(rule, bad):
    pool, *_ = fitted(0)
    message = r"nuisance must list columns of the embedding, integers from 0 to 3"
    with pytest.raises(ValueError, match=message):
        query(rule, pool, 3, {"nuisance": bad})


@pytest.mark.parametrize("rule", NUISANCE_RULES)
def test_nuisances_may_be_counted_from_the_end_and_named_twice(rule):
    pool, _, model = fitted(0)
    found = [
        query(rule, pool, 20, {"nuisance": n}, estimator=model)[0]
        for n in ([3, 1], [-1, 1], np.array([1, 3, 3]))
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("rule", ["greedy_d_optimal", "v_optimal", "g_optimal"])
def test_where_caps_use_up_the_eligible_the_others_may_be_asked(rule):
    rng = np.random.default_rng(0)
    items = np.vstack([rng.standard_normal((8, 3)), 50 * rng.standard_normal((4, 3))])
    star = [[0, k] for k in range(1, 8)]  # of these, item 0 may be asked about once
    pool = Comparisons(items, [*star, [8, 9], [10, 11]])
    sampler = ActiveComparisonSampler(rule, max_pairs_per_item=1, random_state=0)
    assert sampler.query(pool, n_pairs=1) < 7  # the far ones are not eligible
    assert set(sampler.query(pool, n_pairs=3)) >= {7, 8}
