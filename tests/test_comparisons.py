"""Comparisons: an array along its pairs, one store of items, any kind of item."""

import os
import pickle
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.utils import indexable, resample, shuffle

from skarm import BradleyTerryRegressor, Comparisons

N_ITEMS = 12
GROUPS = np.repeat(list("abc"), 4)
SCOPES = ["all", "within", "across"]
#: Small integers: exact in every type, bfloat16 included.
FEATURES = np.random.default_rng(0).integers(-8, 9, (N_ITEMS, 3)).astype(float)
TEXTS = [f"answer {i % 7} to {i}" for i in range(N_ITEMS)]
PAIRS = np.stack(np.triu_indices(N_ITEMS, 1), axis=1)[::3]

NUMERIC = {
    "float64": FEATURES,
    "float32": FEATURES.astype(np.float32),
    "int8": FEATURES.astype(np.int8),
    "list": FEATURES.tolist(),
    "csr": sparse.csr_matrix(FEATURES),
    "csr_array": sparse.csr_array(FEATURES),
    "csc": sparse.csc_matrix(FEATURES),
    "frame": pd.DataFrame(FEATURES, columns=["x0", "x1", "x2"]),
    "torch": torch.tensor(FEATURES),
    "bfloat16": torch.tensor(FEATURES, dtype=torch.bfloat16),
    "requires_grad": torch.tensor(FEATURES, requires_grad=True),
}
ONE_TEXT = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "object": np.array(TEXTS, dtype=object),
    "str": np.array(TEXTS),
    "StringDType": np.array(TEXTS, dtype=np.dtypes.StringDType()),
    "series": pd.Series(TEXTS, index=range(100, 100 + N_ITEMS)),
}
PROMPT_RESPONSE = pd.DataFrame({"prompt": GROUPS, "response": TEXTS})
KINDS = {
    **NUMERIC,
    **{f"{kind}_of_texts": texts for kind, texts in ONE_TEXT.items()},
    "prompt_response": PROMPT_RESPONSE,
}
each_kind = pytest.mark.parametrize("items", KINDS.values(), ids=KINDS)
each_numeric_kind = pytest.mark.parametrize("items", NUMERIC.values(), ids=NUMERIC)


def small(items=FEATURES):
    return Comparisons(items, PAIRS, groups=GROUPS)


def big_pool():
    """1.1 · 10¹² pairs."""
    return Comparisons.all_pairs(np.zeros((1_500_000, 1), dtype=np.int8))


def assert_same(left, right):
    """Equal rows, pair by pair, whatever the stores look like."""
    assert len(left) == len(right)
    np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


# ------------------------------------------------------------------ kinds of items


@each_numeric_kind
def test_numeric_items_of_any_kind_stand_for_the_same_array(items):
    comparisons = small(items)
    assert comparisons.shape == (len(PAIRS), 2, 3)
    assert (comparisons.ndim, comparisons.size) == (3, len(PAIRS) * 6)
    assert len(comparisons) == len(PAIRS)
    assert comparisons.n_items == N_ITEMS
    array = np.asarray(comparisons)
    assert array.dtype == comparisons.dtype
    np.testing.assert_array_equal(array, FEATURES[PAIRS])


@pytest.mark.parametrize("texts", ONE_TEXT.values(), ids=ONE_TEXT)
def test_texts_of_any_kind_stand_for_the_same_array(texts):
    comparisons = small(texts)
    assert comparisons.shape == (len(PAIRS), 2)
    assert (comparisons.ndim, comparisons.size) == (2, len(PAIRS) * 2)
    array = np.asarray(comparisons)
    assert array.dtype == comparisons.dtype
    assert array.tolist() == [[TEXTS[i], TEXTS[j]] for i, j in PAIRS]


def test_prompt_and_response_in_a_frame():
    comparisons = small(PROMPT_RESPONSE)
    assert comparisons.items is PROMPT_RESPONSE
    assert comparisons.shape == (len(PAIRS), 2, 2)
    array = np.asarray(comparisons)
    assert array.dtype == comparisons.dtype == object
    i, j = PAIRS[5]
    assert array[5].tolist() == [[GROUPS[i], TEXTS[i]], [GROUPS[j], TEXTS[j]]]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}),
        pd.DataFrame({"a": pd.array([1, 2], dtype="Int64")}),
        pd.DataFrame({"a": pd.Categorical(["x", "y"]), "b": [1, 2]}),
        pd.DataFrame({"pairs": [1.0, 2.0], "dtypes": [1.0, 2.0]}),
    ],
    ids=["mixed", "nullable", "categorical", "columns named as attributes"],
)
def test_a_frame_of_any_columns_has_the_dtype_of_its_array(frame):
    comparisons = Comparisons(frame, [[0, 1]])
    assert comparisons.dtype == np.asarray(comparisons).dtype


@pytest.mark.parametrize("kind", ["float64", "float32", "csr", "csr_array", "frame"])
def test_items_are_kept_as_they_are(kind):
    assert small(NUMERIC[kind]).items is NUMERIC[kind]


def test_csc_becomes_csr():
    assert small(NUMERIC["csc"]).items.format == "csr"


def test_a_memmap_is_not_copied(tmp_path):
    items = np.memmap(tmp_path / "items", dtype=np.float32, mode="w+", shape=(12, 3))
    items[:] = FEATURES
    comparisons = small(items)
    assert comparisons.items is items
    assert comparisons[3:].items is items
    assert_same(comparisons, small())


def test_a_tensor_shares_memory_and_bfloat16_becomes_float32():
    tensor = NUMERIC["requires_grad"]
    assert np.shares_memory(small(tensor).items, tensor.detach().numpy())
    assert small(NUMERIC["bfloat16"]).dtype == np.float32


def test_the_users_pairs_and_groups_are_copied():
    pairs, groups = PAIRS.copy(), GROUPS.copy()
    comparisons = Comparisons(FEATURES, pairs, groups=groups)
    pairs[:], groups[:] = 0, "z"
    np.testing.assert_array_equal(comparisons.pairs, PAIRS)
    np.testing.assert_array_equal(comparisons.groups, GROUPS)


@pytest.mark.parametrize("pairs", [[], np.empty((0, 2)), np.empty((0, 2), dtype=int)])
def test_there_may_be_no_pair(pairs):
    comparisons = Comparisons(FEATURES, pairs)
    assert comparisons.shape == (0, 2, 3)
    assert comparisons.pairs.dtype == np.intp
    assert len(comparisons.compact().items) == 0


# -------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([[0, 1], [7, 7]], r"two different items per row. Row 1 is \(7, 7\). Drop it"),
        ([[0, 1], [2, 12]], r"from 0 to 11, .*12 rows. Row 1 is \(2, 12\). Correct"),
        ([[-1, 3]], r"from 0 to 11.* Row 0 is \(-1, 3\)"),
        ([0, 1], r"shape \(n_pairs, 2\).* Got shape \(2,\) of dtype int64"),
        ([[0, 1, 2]], r"Got shape \(1, 3\)"),
        ([[0.0, 1.0]], r"integer array.*of dtype float64.*use Comparisons.from_array"),
        ([[True, False]], "of dtype bool"),
        (FEATURES[PAIRS], r"Got shape \(22, 2, 3\).*Comparisons.from_array"),
    ],
)
def test_pairs_that_cannot_be_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        Comparisons(FEATURES, pairs)


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        (small(), TypeError, "Got Comparisons; pass its .items"),
        ("one text", TypeError, "list or array of texts. Got one str; wrap it"),
        ([1.0, 2.0], ValueError, r"shape \(n_items, n_features\).* Got shape \(2,\)"),
        (np.ones((2, 2, 3)), ValueError, r"Got shape \(2, 2, 3\)"),
        (pd.Series([1.0, 2.0]), ValueError, r"Got shape \(2,\)"),
        (None, ValueError, r"Got shape \(\)"),
    ],
)
def test_items_that_cannot_be_are_refused_everywhere(items, error, message):
    for make in (
        lambda items: Comparisons(items, [[0, 1]]),
        Comparisons.all_pairs,
        lambda items: Comparisons.random_pairs(items, 1),
        lambda items: Comparisons.from_pairs(items, items),
        small().with_items,
    ):
        with pytest.raises(error, match=message):
            make(items)


@pytest.mark.parametrize("groups", [GROUPS[:5], GROUPS[:, None], "a"])
def test_groups_are_one_per_item(groups):
    for make in (
        lambda: Comparisons(FEATURES, PAIRS, groups=groups),
        lambda: Comparisons.all_pairs(FEATURES, groups=groups, scope="within"),
    ):
        with pytest.raises(
            ValueError, match=r"one group per item. Got shape .* for 12"
        ):
            make()


def test_a_scope_must_exist_and_have_its_groups():
    with pytest.raises(ValueError, match=r"scope must be one of .*'across'.*'between'"):
        Comparisons.all_pairs(FEATURES, groups=GROUPS, scope="between")
    for scope in ("within", "across"):
        with pytest.raises(ValueError, match=f"scope='{scope}' needs groups, one per"):
            Comparisons.all_pairs(FEATURES, scope=scope)


# ------------------------------------------------------------------------ indexing


@each_kind
@pytest.mark.parametrize(
    "key",
    [
        slice(2, 9),
        slice(None, None, -2),
        [3, 3, -1],
        np.array([4, 1], dtype=np.uint8),
        np.arange(len(PAIRS)) % 2 == 0,
        (np.arange(len(PAIRS)) % 3 == 0).tolist(),
        pd.Series([5, 6], index=[1, 0]),
        [],
        np.zeros(len(PAIRS), dtype=bool),
    ],
    ids=lambda key: type(key).__name__,
)
def test_any_index_selects_pairs_and_shares_the_items(items, key):
    comparisons = small(items)
    expected = PAIRS[key if len(np.shape(key)) == 0 or len(key) else []]
    for part in (comparisons[key], comparisons[key, ...], comparisons[key, :]):
        assert part.items is comparisons.items
        assert part.groups is comparisons.groups
        np.testing.assert_array_equal(part.pairs, expected)
        assert part.shape == (len(expected), *comparisons.shape[1:])


@pytest.mark.parametrize("lazy", [False, True])
def test_one_integer_gives_one_pair(lazy):
    comparisons = Comparisons.all_pairs(FEATURES) if lazy else small()
    for key in (5, -5, np.int32(5)):
        assert len(comparisons[key]) == 1
        np.testing.assert_array_equal(comparisons[key].pairs, comparisons.pairs[[key]])
    for key in (len(comparisons), -len(comparisons) - 1):
        with pytest.raises(IndexError, match="out"):
            comparisons[key]
    assert sum(len(one) for one in comparisons) == len(comparisons)  # iteration ends


def test_everything_is_the_same_object():
    comparisons = small()
    for key in (..., slice(None), (), (..., slice(None)), (slice(None), slice(None))):
        assert comparisons[key] is comparisons


@pytest.mark.parametrize(
    "key", [(0, 1), (slice(None), 0), ([0], np.array([0, 1])), (0, slice(1)), (0, None)]
)
def test_only_pairs_can_be_indexed(key):
    with pytest.raises(IndexError, match=r"indexed along pairs only. Got"):
        small()[key]


def test_take_is_indexing():
    comparisons = small()
    np.testing.assert_array_equal(comparisons.take([4, -1]).pairs, PAIRS[[4, -1]])
    assert len(comparisons.take([])) == 0
    with pytest.raises(ValueError, match=r"axis 0 only. Got 1"):
        comparisons.take([0], axis=1)


@each_numeric_kind
def test_as_an_array_it_is_features_never_indices(items):
    comparisons = small(items)
    for array in (np.asarray(comparisons), np.array(comparisons[:])):
        np.testing.assert_array_equal(array, FEATURES[PAIRS])
    assert np.asarray(comparisons, dtype=np.float16).dtype == np.float16


# --------------------------------------------------------------- other constructors


def test_from_array_holds_the_array_and_merges_nothing():
    X = FEATURES[PAIRS]
    comparisons = Comparisons.from_array(X)
    assert comparisons.n_items == 2 * len(X)
    assert np.shares_memory(comparisons.items, X)
    np.testing.assert_array_equal(np.asarray(comparisons), X)
    for same in (torch.tensor(X), X.tolist()):
        assert_same(Comparisons.from_array(same), comparisons)
    assert Comparisons.from_array(np.empty((0, 2, 3))).shape == (0, 2, 3)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2), (4, 2, 3, 1)])
def test_from_array_needs_pairs_along_axis_one(shape):
    with pytest.raises(ValueError, match=r"\(n_pairs, 2, n_features\). Got shape"):
        Comparisons.from_array(np.ones(shape))


@each_kind
def test_from_pairs_stores_equal_items_once(items):
    store = Comparisons(items, []).items
    rows = store.iloc if hasattr(store, "iloc") else store
    first, second = PAIRS[:, 0], PAIRS[:, 1]
    comparisons = Comparisons.from_pairs(rows[first], rows[second])
    assert_same(comparisons, small(items))
    flat = np.concatenate([first, second])
    distinct = np.unique(flat, return_index=True)[1]
    assert comparisons.n_items == len(distinct)
    # Items come in the order of their first appearance.
    ordered = rows[flat[np.sort(distinct)]]
    chain = np.stack(
        [np.arange(len(distinct) - 1), np.arange(1, len(distinct))], axis=1
    )
    assert_same(Comparisons(comparisons.items, chain), Comparisons(ordered, chain))


def test_from_pairs_knows_equal_rows_by_value():
    columns = [["p", "".join(["ye", "s"])], ["q", "no"]], [["p", "no"], ["p", "yes"]]
    first, second = (np.array(column, dtype=object) for column in columns)
    assert Comparisons.from_pairs(first, second).pairs.tolist() == [[0, 2], [1, 0]]
    zero, minus_zero = [[0.0, 1.0], [2.0, 0.0]], [[2.0, -0.0], [-0.0, 1.0]]
    assert Comparisons.from_pairs(zero, minus_zero).n_items == 2
    explicit = sparse.csr_matrix(([1.0, 0.0], [1, 0], [0, 2]), shape=(1, 2))
    twice = sparse.csr_matrix(([0.5, 0.5], [1, 1], [0, 2]), shape=(1, 2))
    with pytest.raises(ValueError, match="two different items per row"):
        Comparisons.from_pairs(explicit, twice)


def test_from_pairs_refuses_what_does_not_pair():
    with pytest.raises(ValueError, match=r"the same length. Got 2 and 1"):
        Comparisons.from_pairs(["a", "b"], ["c"])
    with pytest.raises(ValueError, match=r"Row 1 is \(1, 1\). Drop it or re-pair it"):
        Comparisons.from_pairs(["a", "b"], ["c", "b"])
    with pytest.raises(
        ValueError, match=r"same columns. Got .*\['chosen'\] and .*\['re"
    ):
        Comparisons.from_pairs(
            pd.DataFrame({"chosen": ["a"]}), pd.DataFrame({"rejected": ["b"]})
        )
    with pytest.raises(
        ValueError, match=r"of one kind.* Got sparse items of 3 features"
    ):
        Comparisons.from_pairs(sparse.csr_matrix(FEATURES), FEATURES[::-1])


@pytest.mark.parametrize("scope", SCOPES)
def test_random_pairs_are_distinct_in_scope_and_seeded(scope):
    pool = Comparisons.all_pairs(FEATURES, groups=GROUPS, scope=scope)
    draws = [
        Comparisons.random_pairs(
            FEATURES, 10, groups=GROUPS, scope=scope, random_state=seed
        )
        for seed in (5, 5, 6)
    ]
    numbers = pool._pairs.index_of(draws[0].pairs)
    assert (numbers >= 0).all() and len(np.unique(numbers)) == 10
    assert draws[0].items is FEATURES
    np.testing.assert_array_equal(draws[0].pairs, draws[1].pairs)
    assert (draws[0].pairs != draws[2].pairs).any()
    everything = Comparisons.random_pairs(
        FEATURES, len(pool), groups=GROUPS, scope=scope
    )
    assert sorted(everything.pairs.tolist()) == sorted(pool.pairs.tolist())


@pytest.mark.parametrize("n_pairs", [67, -1])
def test_random_pairs_refuses_more_pairs_than_there_are(n_pairs):
    message = f"at most .* of scope 'all', 66, and not negative. Got {n_pairs}"
    with pytest.raises(ValueError, match=message):
        Comparisons.random_pairs(FEATURES, n_pairs)


# ------------------------------------------------------------------------ lazy pools


@each_kind
@pytest.mark.parametrize("scope", SCOPES)
def test_a_pool_of_all_pairs_equals_its_listing(items, scope):
    pool = Comparisons.all_pairs(items, groups=GROUPS, scope=scope)
    listed = Comparisons(items, pool.pairs, groups=GROUPS)
    same = GROUPS[pool.pairs[:, 0]] == GROUPS[pool.pairs[:, 1]]
    expected = {"all": 66, "within": 18, "across": 48}[scope]
    assert pool.is_lazy and not listed.is_lazy
    assert len(pool) == len(np.unique(pool.pairs, axis=0)) == expected
    assert same.all() if scope == "within" else scope == "all" or not same.any()
    assert pool.shape == listed.shape and pool.size == listed.size
    for key in (slice(3, 9), [4, -1], np.arange(expected) % 2 == 1, 7, []):
        assert not pool[key].is_lazy
        assert pool[key].items is pool.items
        np.testing.assert_array_equal(pool[key].pairs, listed[key].pairs)
    assert_same(pool, listed)
    assert_same(pool.swap(), listed.swap())


def test_a_pool_is_not_compacted_though_a_lone_item_is_in_no_pair():
    pool = Comparisons.all_pairs(FEATURES[:3], groups=[0, 0, 1], scope="within")
    assert len(pool) == 1
    assert pool.compact() is pool


def test_a_pool_of_10_to_the_12_pairs_takes_no_memory():
    pool = big_pool()
    assert len(pool) == 1_124_999_250_000 > 10**12
    assert pool.shape == (len(pool), 2, 1) and pool.size == 2 * len(pool)
    assert pool[len(pool) - 1].pairs.tolist() == [[1_499_998, 1_499_999]]
    assert pool[-1:].pairs.tolist() == [[1_499_998, 1_499_999]]
    assert pool.take([0, 1_499_999]).pairs.tolist() == [[0, 1], [1, 2]]
    assert "1124999250000 pairs over 1500000 items" in repr(pool)
    assert len(pickle.dumps(pool)) < pool.items.nbytes + 2000
    drawn = Comparisons.random_pairs(pool.items, 100_000, random_state=0)
    assert len(np.unique(drawn.pairs, axis=0)) == 100_000
    for asks_for_too_much in (
        lambda: pool.pairs,
        lambda: pool[1:],
        pool.swap,
        pool.differences,
        lambda: np.asarray(pool),
    ):
        with pytest.raises(MemoryError, match="1124999250000 pairs; listing more than"):
            asks_for_too_much()


# ---------------------------------------------------------------------- operations


@each_kind
def test_compact_keeps_only_the_named_items(items):
    comparisons = small(items)[[0, 3]]
    compact = comparisons.compact()
    used = np.unique(comparisons.pairs)
    assert compact.n_items == len(used) < N_ITEMS
    np.testing.assert_array_equal(compact.groups, GROUPS[used])
    assert_same(compact, comparisons)
    assert compact.compact() is compact


def test_with_items_keeps_pairs_and_groups():
    other = small(TEXTS).with_items(FEATURES)
    assert_same(other, small())
    np.testing.assert_array_equal(other.groups, GROUPS)
    pool = Comparisons.all_pairs(TEXTS, groups=GROUPS, scope="within")
    assert pool.with_items(FEATURES).is_lazy
    with pytest.raises(ValueError, match=r"must have 12 rows, one for each .* Got 11"):
        pool.with_items(FEATURES[1:])


@each_numeric_kind
def test_differences_are_first_minus_second(items):
    differences = small(items).differences()
    expected = FEATURES[PAIRS[:, 0]] - FEATURES[PAIRS[:, 1]]
    if sparse.issparse(items):
        assert differences.format == "csr"
        differences = differences.toarray()
    np.testing.assert_array_equal(differences, expected)


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint64])
def test_differences_of_small_integers_do_not_wrap_around(dtype, layout):
    low, high = (0, 1) if dtype is bool else (np.iinfo(dtype).min, 100)
    items = layout(np.array([[low, high], [high, low]], dtype=dtype))
    differences = Comparisons(items, [[0, 1]]).differences()
    expected = [[low - high, high - low]]
    assert getattr(differences, "toarray", lambda: differences)().tolist() == expected


@each_kind
def test_swap_exchanges_the_two_items(items):
    comparisons = small(items)
    swapped = comparisons.swap()
    np.testing.assert_array_equal(np.asarray(swapped), np.asarray(comparisons)[:, ::-1])
    assert swapped.items is comparisons.items
    assert swapped.groups is comparisons.groups
    np.testing.assert_array_equal(swapped.swap().pairs, comparisons.pairs)


def test_the_group_of_a_pair_is_that_of_both_items():
    within = Comparisons.all_pairs(FEATURES, groups=GROUPS, scope="within")
    np.testing.assert_array_equal(within.pair_groups(), np.repeat(["a", "b", "c"], 6))
    np.testing.assert_array_equal(within.swap().pair_groups(), within.pair_groups())
    with pytest.raises(ValueError, match=r"have no groups. Pass groups="):
        Comparisons.all_pairs(FEATURES).pair_groups()
    with pytest.raises(ValueError, match=r"Pair 1 joins .*'a'.* and .*'b'"):
        Comparisons(FEATURES, [[0, 1], [3, 4]], groups=GROUPS).pair_groups()


def test_repr_says_how_many_of_what_and_the_first_pairs():
    n = len(PAIRS)
    head = ", ".join(str(tuple(pair)) for pair in PAIRS[:3].tolist())
    representations = {
        repr(small()): f"Comparisons({n} pairs over 12 items of 3 features: {head}, ",
        repr(small(NUMERIC["csr"])): f"({n} pairs over 12 sparse items of 3 features: ",
        repr(small(NUMERIC["frame"])): "12 rows of a DataFrame with 3 columns: (",
        repr(small(TEXTS)): f"Comparisons({n} pairs over 12 texts: {head}, ...)",
        repr(small(TEXTS)[:0]): "Comparisons(0 pairs over 12 texts)",
        repr(
            Comparisons.all_pairs(TEXTS)
        ): "66 pairs over 12 texts, every pair of 'all': (0, 1), ",
    }
    for got, expected in representations.items():
        assert expected in got


# ---------------------------------------------------------------------- concatenate


@each_kind
def test_parts_of_one_store_join_to_the_whole(items):
    whole = small(items)
    copies = [whole[3:9], pickle.loads(pickle.dumps(whole[9:]))]
    for parts in ([whole[:3], whole[3:9], whole[9:]], [whole[:3], *copies]):
        joined = Comparisons.concatenate(iter(parts))
        assert joined.items is whole.items
        np.testing.assert_array_equal(joined.pairs, whole.pairs)
        np.testing.assert_array_equal(joined.groups, GROUPS)


@each_kind
def test_different_stores_are_stacked_with_their_groups(items):
    parts = [small(items)[:4].compact(), small(items)[10:].compact(), small(items)]
    joined = Comparisons.concatenate(parts)
    assert joined.n_items == sum(part.n_items for part in parts)
    assert_same(joined, small(items)[[*range(4), *range(10, 22), *range(22)]])
    np.testing.assert_array_equal(
        joined.groups, np.concatenate([part.groups for part in parts])
    )


def test_groups_are_those_that_are_known_and_never_anothers():
    known, unknown = small(), Comparisons(FEATURES, PAIRS)
    renamed = Comparisons(FEATURES, PAIRS, groups=np.repeat(list("xyz"), 4))
    for parts in ([known, unknown], [unknown, known]):
        joined = Comparisons.concatenate(parts)
        assert joined.items is FEATURES
        np.testing.assert_array_equal(joined.groups, GROUPS)
    assert Comparisons.concatenate([unknown, unknown]).groups is None
    joined = Comparisons.concatenate([known[:1], renamed[:1]])
    assert joined.pair_groups().tolist() == ["a", "x"]
    others = Comparisons(FEATURES + 1, PAIRS)
    assert Comparisons.concatenate([known, others]).groups is None


def test_a_memmap_and_its_array_are_one_store(tmp_path):
    items = np.memmap(tmp_path / "items", dtype=np.float64, mode="w+", shape=(12, 3))
    items[:] = FEATURES
    assert Comparisons.concatenate([small(), small(items)]).items is FEATURES


def test_concatenate_needs_parts_of_one_kind():
    with pytest.raises(ValueError, match=r"needs at least one Comparisons. Got none"):
        Comparisons.concatenate([])
    with pytest.raises(ValueError, match=r"one kind .* of 3 features and texts"):
        Comparisons.concatenate([small(), small(TEXTS)])
    with pytest.raises(ValueError, match="items of 3 features and items of 2 features"):
        Comparisons.concatenate([small(), small(FEATURES[:, :2])])


# --------------------------------------------------------------- pickle and hash


@each_kind
@pytest.mark.parametrize(
    "view", [lambda c: c, lambda c: c[::2], lambda c: c[[5, 1]], Comparisons.swap]
)
def test_joblib_hash_survives_a_pickle_and_equals_that_of_equal_content(items, view):
    comparisons = view(small(items))
    copy = pickle.loads(pickle.dumps(comparisons))
    assert_same(copy, comparisons)
    rebuilt = view(Comparisons(items, np.asfortranarray(PAIRS), groups=GROUPS.tolist()))
    assert joblib.hash(copy) == joblib.hash(comparisons) == joblib.hash(rebuilt)
    other = Comparisons(items, PAIRS[::-1], groups=GROUPS)
    assert joblib.hash(view(other)) != joblib.hash(comparisons)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_pool_pickles_and_hashes_by_content(scope):
    pool = Comparisons.all_pairs(FEATURES, groups=GROUPS, scope=scope)
    copy = pickle.loads(pickle.dumps(pool))
    assert copy.is_lazy
    np.testing.assert_array_equal(copy.pairs, pool.pairs)
    again = Comparisons.all_pairs(FEATURES, groups=GROUPS, scope=scope)
    assert joblib.hash(copy) == joblib.hash(pool) == joblib.hash(again)


# --------------------------------------------------------------------- scikit-learn


@pytest.fixture(scope="module")
def answered():
    """60 comparisons within 6 groups, answered by a linear reward without error."""
    rng = np.random.default_rng(1)
    items = rng.normal(size=(30, 3))
    pool = Comparisons.all_pairs(
        items, groups=np.repeat(np.arange(6), 5), scope="within"
    )
    flip = rng.random(len(pool)) < 0.5
    pairs = np.where(flip[:, None], pool.pairs[:, ::-1], pool.pairs)
    X = Comparisons(items, pairs, groups=pool.groups)
    return X, (X.differences() @ [1.0, -2.0, 0.5] > 0).astype(float)


MODEL = BradleyTerryRegressor(alpha=1.0)


def test_splitting_and_shuffling_move_pairs_with_their_outcomes(answered):
    X, y = answered
    row = {
        tuple(pair): outcome for pair, outcome in zip(X.pairs.tolist(), y, strict=True)
    }

    def check(part, outcomes, n):
        assert isinstance(part, Comparisons) and part.items is X.items
        assert len(part) == len(outcomes) == n
        assert [row[tuple(pair)] for pair in part.pairs.tolist()] == outcomes.tolist()

    a, b, ya, yb = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    check(a, ya, 45)
    check(b, yb, 15)
    check(*shuffle(X, y, random_state=0), 60)
    check(*resample(X, y, n_samples=80, random_state=0), 80)
    assert indexable(X, y)[0] is X


def test_a_fit_on_comparisons_equals_the_fit_on_their_array(answered):
    X, y = answered
    expected = clone(MODEL).fit(np.asarray(X), y).coef_
    np.testing.assert_allclose(clone(MODEL).fit(X, y).coef_, expected, atol=1e-6)


def test_cross_validation_equals_that_of_the_array(answered):
    X, y = answered
    for cv, groups in (
        (KFold(4, shuffle=True, random_state=0), None),
        (GroupKFold(3), X.pair_groups()),
    ):
        ours = cross_validate(
            MODEL, X, y, cv=cv, groups=groups, return_train_score=True
        )
        theirs = cross_validate(MODEL, np.asarray(X), y, cv=cv, groups=groups)
        np.testing.assert_allclose(ours["test_score"], theirs["test_score"])
        assert ours["test_score"].mean() > 0.8
        assert (ours["train_score"] > 0.9).all()
        np.testing.assert_allclose(
            cross_val_predict(MODEL, X, y, cv=cv, groups=groups),
            cross_val_predict(MODEL, np.asarray(X), y, cv=cv, groups=groups),
            atol=1e-6,
        )


def test_group_k_fold_by_pair_groups_shares_no_item(answered):
    X, y = answered
    for train, test in GroupKFold(3).split(X, y, X.pair_groups()):
        assert not np.intersect1d(X[train].pairs, X[test].pairs).size


def test_learning_curve(answered):
    X, y = answered
    sizes, _, scores = learning_curve(
        MODEL, X, y, train_sizes=[5, 40], cv=3, shuffle=True, random_state=0
    )
    assert sizes.tolist() == [5, 40]
    assert scores[1].mean() > scores[0].mean()


def test_grid_search_in_two_processes_equals_one(answered):
    X, y = answered
    grid = {"alpha": [1e3, 1e-2, 1.0]}
    one, two = (
        GridSearchCV(
            MODEL, grid, cv=3, scoring="neg_mean_squared_error", n_jobs=n_jobs
        ).fit(X, y)
        for n_jobs in (1, 2)
    )
    np.testing.assert_allclose(
        two.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"]
    )
    assert two.best_params_ == one.best_params_ != {"alpha": 1e3}
    assert two.predict(X.items).shape == (30,)
    assert two.predict(X).shape == (60,)


def test_a_lazy_pool_can_be_split_and_fitted(answered):
    X, _ = answered
    pool = Comparisons.all_pairs(X.items, groups=X.groups, scope="within")
    y = (pool.differences() @ [1.0, -2.0, 0.5] > 0).astype(float)
    listed = Comparisons(X.items, pool.pairs)
    cv = KFold(3, shuffle=True, random_state=0)
    np.testing.assert_allclose(
        cross_validate(MODEL, pool, y, cv=cv)["test_score"],
        cross_validate(MODEL, listed, y, cv=cv)["test_score"],
    )


def test_models_share_nothing_through_comparisons(answered):
    X, y = answered
    items, pairs = X.items.copy(), X.pairs.copy()
    model = clone(MODEL).fit(X, y)
    rewards = model.predict(X.items)
    clone(model).fit(X.swap(), y)
    np.testing.assert_array_equal(model.predict(X.items), rewards)
    np.testing.assert_array_equal(X.items, items)
    np.testing.assert_array_equal(X.pairs, pairs)


def test_array_api_dispatch_leaves_splits_and_searches_alone():
    code = """
    import numpy as np
    from sklearn import config_context
    from sklearn.model_selection import GridSearchCV, cross_validate, train_test_split
    from skarm import BradleyTerryRegressor, Comparisons

    rng = np.random.default_rng(0)
    X = Comparisons.random_pairs(rng.normal(size=(20, 3)), 60, random_state=0)
    y = (X.differences() @ [1.0, -2.0, 0.5] > 0).astype(float)
    with config_context(array_api_dispatch=True):
        train, test, y_train, y_test = train_test_split(X, y, random_state=0)
        assert isinstance(train, Comparisons) and train.items is X.items
        assert train.device == "cpu"
        search = GridSearchCV(BradleyTerryRegressor(), {"alpha": [1.0, 9.0]}, cv=3)
        search.fit(train, y_train)
        on = search.score(test, y_test), search.cv_results_["mean_test_score"]
        cross_validate(search, X, y, cv=2, error_score="raise")
    search.fit(train, y_train)
    assert search.score(test, y_test) == on[0] > 0.8
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], on[1])
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
