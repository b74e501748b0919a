"""Saved and loaded: joblib, skops, and a learner's own files."""

import json
import pickle

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.preprocessing import StandardScaler

import skarm
from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
    ItemwiseTransformer,
    _persistence,
    make_reward_pipeline,
)
from skarm.datasets import make_comparisons
from skarm.modal import ActiveLearner

DATA = make_comparisons(80, n_items=30, n_features=3, n_groups=2, random_state=0)
X, Y, ITEMS = DATA.comparisons, DATA.y, DATA.comparisons.items
NETWORK = BradleyTerryRegressor(
    hidden_layer_sizes=(4,),
    learning_rate=1e-2,
    n_iter_no_change=5,
    device="cpu",
    random_state=0,
)


def through_joblib(thing, folder):
    joblib.dump(thing, folder / "thing.joblib")
    return joblib.load(folder / "thing.joblib")


def through_skops(thing, folder):
    skops = pytest.importorskip("skops.io", reason="needs skops")
    skops.dump(thing, folder / "thing.skops")
    untrusted = skops.get_untrusted_types(file=folder / "thing.skops")
    # Nothing but our own classes, and sparse matrices, need to be trusted.
    assert all(name.startswith(("skarm.", "scipy.sparse.")) for name in untrusted)
    return skops.load(folder / "thing.skops", trusted=untrusted)


def through_save(thing, folder):
    thing.save(folder / "thing")
    return type(thing).load(folder / "thing")


both = pytest.mark.parametrize("through", [through_joblib, through_skops])


@both
@pytest.mark.parametrize(
    "model",
    [
        BradleyTerryRegressor(),
        NETWORK,
        make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
    ],
)
def test_models_predict_the_same_afterwards(model, through, tmp_path):
    model.fit(X, Y)
    again = through(model, tmp_path)
    assert again.get_params().keys() == model.get_params().keys()
    for data in (ITEMS, X):
        np.testing.assert_array_equal(again.predict(data), model.predict(data))
    if not hasattr(model, "steps"):
        for got, expected in zip(
            again.predict(X, return_std=True),
            model.predict(X, return_std=True),
            strict=True,
        ):
            np.testing.assert_array_equal(got, expected)


@both
def test_samplers_and_item_steps_do_the_same_afterwards(through, tmp_path):
    sampler = ActiveComparisonSampler(
        "v_optimal", strategy_params={"eligible": 1.0}, random_state=0
    )
    model = BradleyTerryRegressor().fit(X, Y)
    picks = sampler.query(X, estimator=model, n_pairs=5)
    again = through(sampler, tmp_path).query(X, estimator=model, n_pairs=5)
    np.testing.assert_array_equal(again, picks)
    steps = ItemwiseTransformer(StandardScaler()).fit(X)
    np.testing.assert_array_equal(
        through(steps, tmp_path).transform(ITEMS), steps.transform(ITEMS)
    )
    learner = ActiveLearner(BradleyTerryRegressor(), sampler, X[:20], Y[:20])
    twin = through(learner, tmp_path)
    np.testing.assert_array_equal(
        twin.query(X, n_instances=4)[0], learner.query(X, n_instances=4)[0]
    )


@both
@pytest.mark.parametrize(
    "items",
    [ITEMS, sparse.csr_array(ITEMS), [f"text {k}" for k in range(30)]],
    ids=["array", "sparse", "texts"],
)
def test_comparisons_are_the_same_afterwards(items, through, tmp_path):
    for pool in (
        Comparisons(items, X.pairs, groups=X.groups),
        Comparisons.all_pairs(items, groups=X.groups, scope="across"),
    ):
        again = through(pool, tmp_path)
        assert repr(again) == repr(pool) and again.is_lazy == pool.is_lazy
        np.testing.assert_array_equal(again.pairs, pool.pairs)
        np.testing.assert_array_equal(again.groups, pool.groups)


@pytest.mark.parametrize("through", [through_joblib, through_skops, through_save])
@pytest.mark.parametrize("n_rounds", [0, 1, 3])
def test_a_learner_mid_loop_goes_on_as_if_nothing_had_happened(
    n_rounds, through, tmp_path
):
    learner = ActiveRewardLearner(
        make_reward_pipeline(StandardScaler(), BradleyTerryRegressor()),
        ActiveComparisonSampler("d_optimal", random_fraction=0.5),
        random_state=0,
    )
    pool = Comparisons.all_pairs(ITEMS)
    rewards = DATA.rewards

    def one_round(learner):
        indices, asked = learner.query(pool, n_pairs=6)
        first, second = asked.pairs.T
        learner.teach(asked, rewards[first] > rewards[second], sample_weight=np.ones(6))
        return indices

    for _ in range(n_rounds):
        one_round(learner)
    again = through(learner, tmp_path)
    assert repr(again) == repr(learner)
    for _ in range(2):
        np.testing.assert_array_equal(one_round(again), one_round(learner))
    np.testing.assert_array_equal(again.predict(ITEMS), learner.predict(ITEMS))
    np.testing.assert_equal(again.history_, learner.history_)


# ------------------------------------------------------------------------------- files


@pytest.fixture
def learner():
    return ActiveRewardLearner(BradleyTerryRegressor(), ActiveComparisonSampler())


def test_an_interrupted_save_leaves_the_old_file_whole(learner, tmp_path, monkeypatch):
    path = tmp_path / "learner"
    learner.save(path)
    before = path.read_bytes()

    def interrupted(thing, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(_persistence.joblib, "dump", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learner.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["learner"]


def test_a_saved_file_says_what_it_is_on_its_first_line(learner, tmp_path):
    learner.save(tmp_path / "learner")
    header = json.loads((tmp_path / "learner").read_bytes().split(b"\n")[0])
    assert header["kind"] == "ActiveRewardLearner" and header["format"] == 1
    assert header["skarm"] == skarm.__version__


def rewritten(path, **changes):
    line, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps(json.loads(line) | changes).encode() + b"\n" + rest)


def test_newer_foreign_and_damaged_files_are_refused_clearly(learner, tmp_path):
    path = tmp_path / "learner"
    learner.save(path)
    rewritten(path, format=2, skarm="9.0.0")
    message = "of format 2, written by skarm 9.0.0. Upgrade skarm to read it"
    with pytest.raises(ValueError, match=message):
        ActiveRewardLearner.load(path)
    learner.save(path)
    rewritten(path, kind="SomethingElse")
    with pytest.raises(ValueError, match="holds SomethingElse"):
        ActiveRewardLearner.load(path)
    learner.save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="could not be read"):
        ActiveRewardLearner.load(path)
    for foreign in (b"", b"\x80\x04N.", b"[1, 2]\n", b'{"kind": "x"}\n', b"\xff\n"):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match=r"written by ActiveRewardLearner\.save"):
            ActiveRewardLearner.load(path)
    learner.save(path)
    line = path.read_bytes().split(b"\n")[0]
    path.write_bytes(line + b"\n" + pickle.dumps({"not": "a learner"}))
    with pytest.raises(ValueError, match="holds a dict"):
        ActiveRewardLearner.load(path)
    with pytest.raises(FileNotFoundError):
        ActiveRewardLearner.load(tmp_path / "nowhere")
