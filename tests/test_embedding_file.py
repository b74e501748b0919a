"""embed_to_file: interrupted or not, the file holds what transform gives."""

import builtins
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import skarm
from skarm.text import SentenceEmbedder, embed_to_file, train_static_embedding

WORDS = "cat dog horse eats likes sees grass bread milk".split()
TEXTS = [
    f"the {a} {b} {c} {d}" for a in WORDS for b in WORDS for c in WORDS for d in "xy"
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return train_static_embedding(TEXTS, tmp_path_factory.mktemp("m") / "m", dim=8)


@pytest.fixture
def embedder(model):
    return SentenceEmbedder(model, cache=False)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
@pytest.mark.parametrize("chunk_size", [1, 100, 5000])
def test_the_file_holds_what_transform_gives(embedder, tmp_path, suffix, chunk_size):
    path = tmp_path / "new folder" / f"items.{suffix}"
    texts = TEXTS[:30] if chunk_size == 1 else TEXTS
    rows = embed_to_file(embedder, texts, path, chunk_size=chunk_size)
    assert_array_equal(rows, embedder.transform(texts))
    assert names(path.parent) == [path.name, f"{path.name}.json"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_parquet_is_read_by_others_with_its_type(embedder, tmp_path, dtype):
    import pandas as pd

    embedder.set_params(dtype=dtype)
    rows = embed_to_file(embedder, TEXTS[:9], tmp_path / "a.parquet")
    column = pd.read_parquet(tmp_path / "a.parquet")["embedding"]
    assert_array_equal(np.stack(column), rows)
    assert rows.dtype == column[0].dtype == dtype


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_no_texts_are_a_file_too(embedder, tmp_path, suffix):
    for _ in range(2):
        assert embed_to_file(embedder, [], tmp_path / f"a.{suffix}").shape == (0, 8)


def test_rows_with_prompts_are_joined_as_by_the_embedder(embedder, tmp_path):
    rows = [["cat", "eats grass"], ["dog", "likes milk"]]
    vectors = embed_to_file(embedder, rows, tmp_path / "a.npy")
    assert_array_equal(vectors, embedder.transform(rows))


def test_the_memory_map_serves_as_items(embedder, tmp_path):
    items = embed_to_file(embedder, TEXTS, tmp_path / "a.npy")
    assert isinstance(items, np.memmap) and not items.flags.writeable
    pool = skarm.Comparisons.all_pairs(items)
    assert np.shares_memory(pool.items, items)
    asked = pool[skarm.ActiveComparisonSampler().query(pool, n_pairs=3)]
    model = skarm.BradleyTerryRegressor(alpha=1.0).fit(asked, [1.0, 0.0, 1.0])
    assert model.predict(items).shape == (len(TEXTS),)


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(
    embedder, model, tmp_path
):
    path, said = tmp_path / "a.npy", tmp_path / "encoded"
    code = (
        "import sys, time\n"
        "from skarm.text import SentenceEmbedder, embed_to_file\n"
        "class Slow(SentenceEmbedder):\n"
        "    def _encode(self, texts):\n"
        "        time.sleep(0.02)\n"
        f"        open({str(said)!r}, 'a').write('x' * len(texts))\n"
        "        return super()._encode(texts)\n"
        f"texts = {TEXTS!r}\n"
        f"embed_to_file(Slow({model!r}, cache=False), texts, {str(path)!r}, "
        "chunk_size=20)\n"
    )
    log = tmp_path / "a.npy.json"
    child = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not (log.exists() and json.loads(log.read_text())["n_done"] >= 100):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    n_done = json.loads(log.read_text())["n_done"]
    assert 100 <= n_done < len(TEXTS)
    assert not path.exists() and (tmp_path / "a.npy.part").exists()
    before = len(said.read_text())
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(said.read_text()) - before == len(TEXTS) - n_done
    assert before - n_done <= 20 + 1  # a chunk that was lost, and the width
    whole = embed_to_file(embedder, TEXTS, tmp_path / "b.npy", chunk_size=20)
    assert path.read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert_array_equal(whole, embedder.transform(TEXTS))


class Stopping(SentenceEmbedder):
    """Interrupted by the user after some texts."""

    def _encode(self, texts):
        if self.left < len(texts):
            raise KeyboardInterrupt
        self.left -= len(texts)
        return super()._encode(texts)


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_at_most_one_chunk_is_embedded_twice(model, tmp_path, suffix):
    stopping = Stopping(model, cache=False)
    path = tmp_path / f"a.{suffix}"
    for left in [250, 99, 301, 199]:
        stopping.left = left
        with pytest.raises(KeyboardInterrupt):
            embed_to_file(stopping, TEXTS, path, chunk_size=100)
    assert json.loads((tmp_path / f"a.{suffix}.json").read_text())["n_done"] == 600
    stopping.left = len(TEXTS) - 600
    rows = embed_to_file(stopping, TEXTS, path, chunk_size=100)
    assert stopping.left == 0
    again = embed_to_file(stopping, TEXTS, path)  # complete: nothing is embedded
    assert_array_equal(again, rows)
    assert_array_equal(rows, SentenceEmbedder(model).transform(TEXTS))


def test_only_the_last_step_interrupted_embeds_nothing(model, tmp_path, monkeypatch):
    stopping = Stopping(model, cache=False)
    stopping.left = len(TEXTS) + 1  # and one that tells the width
    replace = os.replace

    def interrupted(source, target):
        if str(target).endswith(".npy"):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "replace", interrupted)
        embed_to_file(stopping, TEXTS, tmp_path / "a.npy")
    assert stopping.left == 0
    rows = embed_to_file(stopping, TEXTS, tmp_path / "a.npy")
    assert_array_equal(rows, SentenceEmbedder(model).transform(TEXTS))


@pytest.mark.parametrize("lost", ["a.npy.part", "a.npy.json"])
def test_what_was_lost_is_embedded_again(model, tmp_path, lost):
    stopping = Stopping(model, cache=False)
    stopping.left = 150
    with pytest.raises(KeyboardInterrupt):
        embed_to_file(stopping, TEXTS, tmp_path / "a.npy", chunk_size=100)
    (tmp_path / lost).unlink()
    stopping.left = np.inf
    rows = embed_to_file(stopping, TEXTS, tmp_path / "a.npy")
    assert_array_equal(rows, SentenceEmbedder(model).transform(TEXTS))


class TestRefusals:
    @pytest.mark.parametrize("started", [True, False])
    @pytest.mark.parametrize(
        ("change", "texts"),
        [
            ({}, TEXTS[1:]),
            ({}, [*TEXTS[1:], TEXTS[0]]),
            ({"prompt": "x: "}, TEXTS),
            ({"normalize": True}, TEXTS),
            ({"dtype": "float64"}, TEXTS),
            ({"truncate_dim": 3}, TEXTS),
        ],
    )
    def test_other_texts_or_vectors(self, model, tmp_path, change, texts, started):
        stopping = Stopping(model, cache=False)
        stopping.left = 150 if started else np.inf
        try:
            embed_to_file(stopping, TEXTS, tmp_path / "a.npy", chunk_size=100)
        except KeyboardInterrupt:
            assert started
        other = SentenceEmbedder(model, cache=False, **change)
        with pytest.raises(ValueError, match=r"which a\.npy\.json keeps for others"):
            embed_to_file(other, texts, tmp_path / "a.npy")
        harmless = SentenceEmbedder(model, batch_size=7, device="cpu")
        rows = embed_to_file(harmless, TEXTS, tmp_path / "a.npy")
        assert_array_equal(rows, harmless.transform(TEXTS))

    def test_a_file_of_someone_else(self, embedder, tmp_path):
        (tmp_path / "a.npy").write_bytes(b"precious")
        with pytest.raises(ValueError, match="path must be new, or written by embed_t"):
            embed_to_file(embedder, TEXTS, tmp_path / "a.npy")
        assert (tmp_path / "a.npy").read_bytes() == b"precious"

    def test_another_kind_of_file(self, embedder, tmp_path):
        with pytest.raises(ValueError, match=r"must end in \.npy or \.parquet"):
            embed_to_file(embedder, TEXTS, tmp_path / "a.csv")

    def test_a_model_that_cannot_be_known_again(self, embedder, tmp_path):
        loaded = SentenceEmbedder(embedder._load())
        with pytest.raises(ValueError, match="model given by folder or name"):
            embed_to_file(loaded, TEXTS, tmp_path / "a.npy")

    def test_chunks_of_nothing(self, embedder, tmp_path):
        with pytest.raises(ValueError, match="chunk_size must be at least 1"):
            embed_to_file(embedder, TEXTS, tmp_path / "a.npy", chunk_size=-3)

    def test_parquet_without_pyarrow(self, embedder, tmp_path, monkeypatch):
        original = builtins.__import__

        def without(name, *args, **kwargs):
            if name.startswith("pyarrow"):
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ImportError, match=r"pip install 'skarm\[parquet\]'"):
            embed_to_file(embedder, TEXTS, tmp_path / "a.parquet")
        assert names(tmp_path) == []


def test_progress_is_shown_when_asked(embedder, tmp_path, capsys):
    embed_to_file(embedder, TEXTS, tmp_path / "a.npy", chunk_size=500, progress=True)
    assert f"{len(TEXTS)}/{len(TEXTS)}" in capsys.readouterr().err
    embed_to_file(embedder, TEXTS, tmp_path / "b.npy", chunk_size=500)
    assert capsys.readouterr().err == ""
