"""SentenceEmbedder and its cache, and the model that is trained without a network."""

import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags

from skarm import text as text_module
from skarm._embedding.static import train_tokenizer
from skarm.text import SentenceEmbedder, train_static_embedding

ANIMALS = "cat dog horse rabbit".split()
METALS = "iron copper zinc nickel".split()
TEXTS = [
    f"the {animal} {verb} {food} near the farm"
    for animal in ANIMALS
    for verb in ("eats", "likes")
    for food in ("grass", "carrots", "bread")
] + [
    f"a furnace melts {metal} {how} under {what} in the factory"
    for metal in METALS
    for how in ("slowly", "quickly")
    for what in ("pressure", "vacuum", "heat")
]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "static"
    return train_static_embedding(TEXTS, path, dim=16)


@pytest.fixture(scope="module")
def bert_path(tmp_path_factory):
    """Save a small random transformer: real attention, padding and pooling."""
    import torch
    from sentence_transformers import SentenceTransformer
    from tokenizers import (
        Tokenizer,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    try:
        from sentence_transformers.sentence_transformer.modules import (
            Pooling,
            Transformer,
        )
    except ImportError:
        from sentence_transformers.models import Pooling, Transformer

    folder = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder / "body")
    torch.random.set_rng_state(state)
    fast.save_pretrained(folder / "body")
    modules = [Transformer(str(folder / "body")), Pooling(32)]
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return str(folder / "model")


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SKARM_CACHE", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def embedder(model_path):
    return SentenceEmbedder(model_path)


@pytest.fixture
def reference(model_path):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(model_path, device="cpu", local_files_only=True)


class CountingModel:
    """A model object that keeps every text it is sent."""

    def __init__(self, dim=3, fail_at=None, bad=None):
        self.dim, self.fail_at, self.bad = dim, fail_at, bad
        self.seen = []

    def encode(self, texts, batch_size, show_progress_bar, convert_to_numpy, **options):
        self.options = {"batch_size": batch_size, **options}
        if self.fail_at is not None and len(self.seen) + len(texts) > self.fail_at:
            raise KeyboardInterrupt
        self.seen += texts
        out = np.array([[len(t), t.count("e"), 1.0, *[0] * 9] for t in texts])
        out = out[:, : self.dim].astype("float32")
        if self.bad is not None:
            out[-1, 0] = self.bad
        return out


class TestInput:
    @pytest.mark.parametrize(
        "container",
        [
            list,
            tuple,
            np.array,
            lambda texts: np.array(texts, dtype=object),
            lambda texts: np.array(texts, dtype=object)[:, None],
            lambda texts: [[text] for text in texts],
            pd.Series,
            lambda texts: pd.Series(
                texts, dtype=object, index=range(9, 9 - len(texts), -1)
            ),
            lambda texts: pd.DataFrame({"any": texts}),
            lambda texts: pd.DataFrame({"any": texts}, dtype="category"),
        ],
    )
    def test_every_container_of_texts(self, embedder, reference, container):
        texts = ["the cat", "", "iron heat", "the cat"]
        expected = reference.encode(texts)
        assert_allclose(embedder.transform(container(texts)), expected, atol=1e-6)

    @pytest.mark.parametrize(
        "container",
        [
            list,
            lambda rows: np.array(rows, dtype=object),
            lambda rows: np.array(rows),
            lambda rows: pd.DataFrame(rows, columns=["prompt", "response"]),
            lambda rows: pd.DataFrame(
                [(1, r, p) for p, r in rows], columns=["id", "response", "prompt"]
            ),
        ],
    )
    def test_every_container_of_prompts_with_responses(self, container):
        rows = [("what is {x}?", "iron {response}"), ("why?", "heat")]
        model = CountingModel()
        SentenceEmbedder(model, template="Q: {prompt} A: {response} {{}}").transform(
            container(rows)
        )
        assert model.seen == [
            "Q: what is {x}? A: iron {response} {}",
            "Q: why? A: heat {}",
        ]

    def test_default_template_is_prompt_blank_line_response(self):
        model = CountingModel()
        SentenceEmbedder(model).transform([("p", "r")])
        assert model.seen == ["p\n\nr"]

    def test_template_may_leave_out_the_prompt(self):
        model = CountingModel()
        SentenceEmbedder(model, template="{response}!").transform([("p", "r")])
        assert model.seen == ["r!"]

    @pytest.mark.parametrize(
        "empty",
        [
            [],
            np.array([]),
            np.empty((0, 1), dtype=object),
            np.empty((0, 2), dtype=object),
            pd.Series([], dtype=object),
            pd.DataFrame({"prompt": [], "response": []}),
        ],
    )
    def test_no_texts_give_no_rows(self, model_path, empty):
        embedder = SentenceEmbedder(model_path, truncate_dim=5, dtype="float64")
        out = embedder.fit_transform(empty)
        assert out.shape == (0, 5)
        assert out.dtype == np.float64

    def test_empty_text_is_the_zero_vector_even_normalized(self, model_path):
        out = SentenceEmbedder(model_path, normalize=True).transform(["", "the cat"])
        assert_array_equal(out[0], 0)
        assert_allclose(np.linalg.norm(out[1]), 1, rtol=1e-6)

    def test_lone_surrogates_are_different_texts(self):
        model = CountingModel()
        SentenceEmbedder(model).transform(["\ud800", "\ud801", "?"])
        assert len(model.seen) == 3

    @pytest.mark.parametrize("method", ["fit", "transform"])
    @pytest.mark.parametrize(
        ("X", "error", "match"),
        [
            ("one text", ValueError, r"Got str of shape \(\). Put a single text in"),
            (["a", 1.5], TypeError, r"Row 1 holds 1.5 \(float\). Convert or drop"),
            (["a", None], TypeError, r"Row 1 holds None \(NoneType\)"),
            ([b"a"], TypeError, r"Row 0 holds b'a' \(bytes\)"),
            ([["a"], ["b", "c"]], TypeError, r"Row 0 holds \['a'\] \(list\)"),
            ([("p", "r"), ("p", None)], TypeError, "Row 1 holds None"),
            (pd.Series(["a", np.nan]), TypeError, r"Row 1 holds nan \(float\)"),
            (np.arange(3), TypeError, r"must hold texts \(str\). Row 0 holds 0"),
            (np.ones((3, 2)), TypeError, r"must hold texts \(str\). Row 0 holds 1.0"),
            (
                np.ones((4, 3)),
                ValueError,
                r"must hold texts: .*ndarray of shape \(4, 3",
            ),
            ({"a", "b"}, ValueError, r"Got set of shape \(\)"),
            (
                pd.DataFrame({"prompt": ["a"], "answer": ["b"]}),
                ValueError,
                r"Got the columns \['prompt', 'answer'\]. Select or rename them",
            ),
        ],
    )
    def test_what_is_no_text_is_refused(self, embedder, method, X, error, match):
        with pytest.raises(error, match=match):
            getattr(embedder, method)(X)

    def test_comparisons_are_not_taken_for_prompts_with_responses(self, embedder):
        class Comparisons:
            pairs = ((0, 1),)

            def __array__(self, dtype=None, copy=None):
                raise AssertionError("materialised")

        with pytest.raises(ValueError, match="embed comparisons by an Itemwise"):
            embedder.transform(Comparisons())


class TestParameters:
    @pytest.mark.parametrize(
        ("params", "match"),
        [
            ({"batch_size": 0}, "'batch_size' parameter of SentenceEmbedder must be"),
            ({"truncate_dim": 0}, "'truncate_dim' parameter"),
            ({"dtype": "int8"}, "'dtype' parameter"),
            ({"normalize": "l2"}, "'normalize' parameter"),
            ({"cache": None}, "'cache' parameter"),
            ({"progress": "yes"}, "'progress' parameter"),
            ({"prompt": 3}, "'prompt' parameter"),
            ({"device": 0}, "'device' parameter"),
            ({"model": 5}, "'model' parameter"),
            (
                {"model": None},
                r"model must be given. Got None. .*train_static_embedding",
            ),
            ({"template": "no field"}, "template must hold {response}"),
            ({"template": "{response"}, "template must hold {response}"),
            ({"template": "{} {response}"}, "template must hold {response}"),
            ({"template": "{response}{answer}"}, "no other field. Got '{response}{ans"),
            (
                {"template": "{response.__class__}"},
                "Write a literal brace twice, {{ or",
            ),
        ],
    )
    @pytest.mark.parametrize("method", ["fit", "transform"])
    def test_bad_values_are_refused(self, embedder, method, params, match):
        with pytest.raises(ValueError, match=match):
            getattr(embedder.set_params(**params), method)(["a"])

    @pytest.mark.parametrize("method", ["fit", "transform"])
    @pytest.mark.parametrize(
        "model",
        ["./absent", "/no/such/folder", "a/b/c", "~/absent/x", "..", "", Path("x")],
    )
    def test_a_missing_folder_is_named(self, method, model, tmp_path, monkeypatch):
        if model == "..":
            model = str(tmp_path / "absent")
        monkeypatch.chdir(tmp_path)
        match = (
            "model must be a folder that exists, or a name. .*train_static_embedding"
        )
        with pytest.raises(FileNotFoundError, match=match):
            getattr(SentenceEmbedder(model), method)(["a"])

    @pytest.mark.parametrize("model", ["no-such-org/no-such-model", "no-such-model"])
    def test_a_name_that_cannot_be_loaded_says_why(self, model):
        match = (
            f"model='{model}' could not be loaded: .*must be on this machine already"
        )
        with pytest.raises(OSError, match=f"(?s){match}") as caught:
            SentenceEmbedder(model).fit(["a"]).transform(["a"])
        assert caught.value.__cause__ is not None

    def test_a_folder_that_is_no_model_says_so(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(OSError, match="could not be loaded"):
            SentenceEmbedder(tmp_path / "empty").transform(["a"])

    def test_options_agree_with_sentence_transformers(self, model_path, reference):
        out = SentenceEmbedder(
            model_path, normalize=True, truncate_dim=5, prompt="the farm: "
        ).transform(TEXTS)
        expected = reference.encode(
            TEXTS, normalize_embeddings=True, truncate_dim=5, prompt="the farm: "
        )
        assert_allclose(out, expected, atol=1e-6)
        assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-6)

    def test_truncation_and_scaling_need_no_new_encoding(self, embedder):
        full = embedder.transform(TEXTS)
        for params in ({"normalize": True}, {"truncate_dim": 4}, {"dtype": "float64"}):
            embedder.set_params(**params).transform(TEXTS)
        assert embedder.cache_info()["n_encoded"] == len(TEXTS)
        part = full[:, :4].astype("float64")
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        assert_allclose(embedder.transform(TEXTS), part, rtol=1e-5)

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_dtype(self, model_path, dtype):
        assert SentenceEmbedder(model_path, dtype=dtype).transform(["a"]).dtype == dtype

    def test_truncating_to_more_than_there_is_is_refused(self, model_path):
        embedder = SentenceEmbedder(model_path, truncate_dim=17)
        match = "truncate_dim must be at most the width of the model, 16. Got 17"
        with pytest.raises(ValueError, match=match):
            embedder.transform(["a"])
        with pytest.raises(ValueError, match=match):
            embedder.get_feature_names_out()

    def test_prompt_and_batch_size_reach_the_model(self):
        model = CountingModel()
        SentenceEmbedder(model, prompt="query: ", batch_size=7).transform(["a"])
        assert model.options == {"prompt": "query: ", "batch_size": 7}

    def test_device_reaches_the_model(self, model_path):
        embedder = SentenceEmbedder(model_path, device="meta")
        with pytest.raises(Exception, match=r"(?i)meta"):
            embedder.transform(["the cat"])
        assert embedder.cache_info()["n_encoded"] == 0

    @pytest.mark.parametrize(
        ("model", "match"),
        [
            (CountingModel(bad=np.nan), "NaN or infinity"),
            (CountingModel(bad=np.inf), "finite vector per text"),
            (CountingModel(dim=slice(0)), r"Got shape \(0,\) for 1 texts"),
        ],
    )
    def test_a_model_without_finite_vectors_is_refused(self, model, match, monkeypatch):
        if isinstance(model.dim, slice):
            monkeypatch.setattr(model, "encode", lambda texts, **kw: np.empty(0))
        embedder = SentenceEmbedder(model)
        with pytest.raises(ValueError, match=match):
            embedder.transform(["a"])
        assert embedder.cache_info()["n_texts"] == 0


class TestScikitLearn:
    CHECKS = (
        "check_estimator_cloneable",
        "check_estimator_tags_renamed",
        "check_valid_tag_types",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_mixin_order",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
    )

    @pytest.mark.parametrize("name", CHECKS)
    def test_checks_that_pass_no_numbers(self, name, model_path):
        check = getattr(estimator_checks, name)
        check("SentenceEmbedder", SentenceEmbedder(model_path))

    def test_tags(self, embedder):
        tags = get_tags(embedder)
        assert tags.input_tags.string and tags.input_tags.one_d_array
        assert not tags.requires_fit and not tags.input_tags.two_d_array

    def test_fit_learns_nothing_and_loads_nothing(self, embedder):
        before = dict(embedder.__dict__)
        assert embedder.fit(TEXTS) is embedder
        assert embedder.__dict__ == before

    def test_subset_and_order_do_not_matter(self, embedder):
        full = embedder.fit_transform(TEXTS)
        order = np.random.default_rng(0).permutation(len(TEXTS))[:20]
        assert_array_equal(embedder.transform(np.array(TEXTS)[order]), full[order])

    def test_input_is_left_alone_and_output_is_our_own(self, embedder):
        X = np.array(TEXTS, dtype=object)
        embedder.transform(X)[:] = 0
        assert_array_equal(X, np.array(TEXTS, dtype=object))
        assert embedder.transform(X).any()

    def test_pickle_is_small_and_works(self, embedder):
        expected = embedder.transform(TEXTS)
        data = pickle.dumps(embedder)
        assert len(data) < 5000
        assert_array_equal(pickle.loads(data).transform(TEXTS), expected)

    def test_clone_shares_no_model_and_no_vectors(self):
        embedder = SentenceEmbedder(CountingModel())
        embedder.transform(["a"])
        copy = clone(embedder)
        assert copy.model is not embedder.model
        assert copy.cache_info()["n_texts"] == 0
        assert set(vars(copy)) == {*embedder.get_params(), "_memory"}

    def test_feature_names_and_pandas_output(self, model_path):
        embedder = SentenceEmbedder(model_path, truncate_dim=3)
        names = [f"sentenceembedder{i}" for i in range(3)]
        assert embedder.get_feature_names_out().tolist() == names
        X = pd.DataFrame({"text": TEXTS}, index=range(100, 100 + len(TEXTS)))
        out = embedder.set_output(transform="pandas").fit_transform(X)
        assert out.columns.tolist() == names
        assert out.index.equals(X.index)

    def test_pipeline(self, model_path):
        y = np.repeat([0.0, 1.0], len(TEXTS) // 2)
        model = make_pipeline(SentenceEmbedder(model_path), StandardScaler(), Ridge())
        model.fit(TEXTS, y)
        assert model.score(TEXTS, y) > 0.9
        assert len(model[:-1].get_feature_names_out()) == 16

    def test_grid_search_in_two_processes_encodes_each_text_once(
        self, model_path, tmp_path
    ):
        y = np.tile([0.0, 1.0, 2.0], len(TEXTS) // 3)
        model = make_pipeline(SentenceEmbedder(model_path, cache=tmp_path), Ridge())
        grid = {"sentenceembedder__normalize": [False, True], "ridge__alpha": [0.1, 1]}
        search = GridSearchCV(model, grid, n_jobs=2, cv=3, error_score="raise")
        search.fit([*TEXTS, *TEXTS], [*y, *y])
        info = search.best_estimator_[0].cache_info()
        assert info["n_texts"] == info["n_encoded"] == len(TEXTS)


class TestModels:
    def test_transformer_agrees_across_batch_sizes(self, bert_path):
        texts = [*TEXTS[:30], "", "iron " * 100]
        one, many = (
            SentenceEmbedder(bert_path, batch_size=size, cache=False).transform(texts)
            for size in (1, 8)
        )
        assert one.shape == (32, 32)
        assert_allclose(one, many, atol=1e-5)

    def test_model_object_gives_what_its_folder_gives(self, bert_path, model_path):
        from sentence_transformers import SentenceTransformer

        for path in (bert_path, model_path):
            model = SentenceTransformer(path, device="cpu", local_files_only=True)
            embedder = SentenceEmbedder(model, normalize=True)
            expected = SentenceEmbedder(path, normalize=True).transform(TEXTS)
            assert_allclose(embedder.transform(TEXTS), expected, atol=1e-5)
            assert clone(embedder).transform([]).shape == (0, expected.shape[1])

    def test_model_object_is_cached_in_memory_only(self, cache_home):
        embedder = SentenceEmbedder(CountingModel())
        for _ in range(3):
            embedder.transform(["a", "b", "a"])
        assert embedder.model.seen == ["a", "b"]
        assert embedder.cache_info() == {"path": None, "n_texts": 2, "n_encoded": 2}
        assert not cache_home.exists()
        embedder.clear_cache()
        assert embedder.cache_info() == {"path": None, "n_texts": 0, "n_encoded": 0}
        embedder.transform(["a"])
        assert embedder.model.seen == ["a", "b", "a"]

    def test_another_object_or_prompt_is_another_memory(self):
        embedder = SentenceEmbedder(CountingModel())
        embedder.transform(["a"])
        embedder.set_params(prompt="x").transform(["a"])
        assert embedder.model.seen == ["a", "a"]
        embedder.set_params(model=CountingModel(dim=2))
        assert embedder.transform(["a"]).shape == (1, 2)

    def test_training_a_model_object_is_noticed(self, reference):
        import torch

        embedder = SentenceEmbedder(reference)
        before = embedder.transform(["the cat"])
        with torch.no_grad():
            for parameter in reference.parameters():
                parameter.mul_(2.0)
        assert_allclose(embedder.transform(["the cat"]), 2 * before, rtol=1e-5)

    def test_another_model_at_the_same_path_is_noticed(self, tmp_path):
        path = train_static_embedding(TEXTS, tmp_path / "model", dim=4)
        embedder = SentenceEmbedder(path)
        embedder.transform(TEXTS)
        train_static_embedding(TEXTS, path, dim=6)
        assert embedder.transform(TEXTS).shape == (len(TEXTS), 6)

    def test_published_model_is_known_by_its_commit(
        self, model_path, tmp_path, monkeypatch
    ):
        commit = "0123456789abcdef0123456789abcdef01234567"
        hub = tmp_path / "hub"
        repo = hub / "models--some-org--some-model"
        (repo / "snapshots").mkdir(parents=True)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text(commit)
        shutil.copytree(model_path, repo / "snapshots" / commit)
        monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(hub))
        embedder = SentenceEmbedder("some-org/some-model")
        expected = SentenceEmbedder(model_path).transform(TEXTS)
        assert_array_equal(embedder.transform(TEXTS), expected)
        assert text_module.identity("some-org/some-model").endswith(f"@{commit}")
        monkeypatch.setattr(text_module, "load_model", None)
        assert_array_equal(clone(embedder).transform(TEXTS), expected)


def _transform(path, texts, cache=True):
    return SentenceEmbedder(path, cache=cache).transform(texts)


class TestDiskCache:
    def test_each_distinct_text_is_encoded_once(self, embedder, model_path):
        embedder.transform([*TEXTS, *TEXTS])
        other = SentenceEmbedder(Path(model_path), batch_size=1)
        other.transform([*TEXTS[::-1], "new"])
        info = other.cache_info()
        assert info["n_texts"] == info["n_encoded"] == len(TEXTS) + 1

    def test_cached_texts_need_no_model(self, embedder, model_path, monkeypatch):
        expected = embedder.transform(TEXTS)
        monkeypatch.setattr(text_module, "load_model", None)
        fresh = SentenceEmbedder(model_path)
        assert_array_equal(fresh.transform(TEXTS), expected)
        assert fresh.transform([]).shape == (0, 16)
        assert len(fresh.get_feature_names_out()) == 16

    def test_two_processes_encode_each_text_once(self, model_path, tmp_path):
        # The folder is passed on: workers may be older than this test's environment.
        texts = [f"{text} {i}" for i in range(60) for text in TEXTS]
        orders = [texts, texts[::-1], texts[1000:] + texts[:1000], texts]
        with Parallel(n_jobs=2, backend="loky") as parallel:
            out = parallel(
                delayed(_transform)(model_path, order, tmp_path) for order in orders
            )
        info = SentenceEmbedder(model_path, cache=tmp_path).cache_info()
        assert info["n_texts"] == info["n_encoded"] == len(texts)
        assert_array_equal(out[0], out[1][::-1])
        assert_array_equal(out[0], out[3])

    def test_threads_encode_each_text_once(self, model_path):
        threads = [
            threading.Thread(target=_transform, args=(model_path, TEXTS))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        info = SentenceEmbedder(model_path).cache_info()
        assert info["n_texts"] == info["n_encoded"] == len(TEXTS)

    def test_interrupted_run_keeps_its_finished_chunks(self, embedder, monkeypatch):
        monkeypatch.setattr(text_module, "_CHUNK", 10)
        model = CountingModel(fail_at=25)
        monkeypatch.setattr(text_module, "load_model", lambda *args, **how: model)
        with pytest.raises(KeyboardInterrupt):
            embedder.transform(TEXTS)
        assert embedder.cache_info()["n_texts"] == len(model.seen) == 20
        model.fail_at = None
        embedder.transform(TEXTS)
        assert model.seen == TEXTS
        assert embedder.cache_info()["n_encoded"] == len(TEXTS)

    def test_killed_process_blocks_nobody(self, model_path):
        code = (
            "import os, sys\n"
            "from skarm import text\n"
            "text._CHUNK = 10\n"
            "class Model:\n"
            "    n = 0\n"
            "    def encode(self, texts, **kw):\n"
            "        self.n += 1\n"
            "        if self.n == 2: os._exit(7)\n"
            "        return [[float(len(t))] for t in texts]\n"
            "text.load_model = lambda *args, model=Model(), **how: model\n"
            f"text.SentenceEmbedder({model_path!r}).transform({TEXTS!r})\n"
        )
        done = subprocess.run([sys.executable, "-c", code], check=False)
        assert done.returncode == 7
        assert SentenceEmbedder(model_path).cache_info()["n_texts"] == 10

    def test_prompts_are_kept_apart(self, model_path):
        plain = SentenceEmbedder(model_path)
        prompted = SentenceEmbedder(model_path, prompt="iron: ")
        assert not np.allclose(plain.transform(["cat"]), prompted.transform(["cat"]))
        assert plain.cache_info()["path"] != prompted.cache_info()["path"]
        prompted.clear_cache()
        assert plain.cache_info()["n_texts"] == 1

    def test_clear_cache(self, embedder):
        embedder.transform(TEXTS)
        embedder.clear_cache()
        info = embedder.cache_info()
        assert info["n_texts"] == info["n_encoded"] == 0
        embedder.transform(TEXTS)
        assert embedder.cache_info()["n_encoded"] == len(TEXTS)

    def test_no_text_is_stored(self, embedder):
        embedder.transform(TEXTS)
        assert b"carrots" not in Path(embedder.cache_info()["path"]).read_bytes()

    def test_cache_false_keeps_nothing(self, model_path, cache_home):
        embedder = SentenceEmbedder(model_path, cache=False)
        for _ in range(2):
            embedder.transform(TEXTS)
        info = {"path": None, "n_texts": 0, "n_encoded": 2 * len(TEXTS)}
        assert embedder.cache_info() == info
        assert not cache_home.exists()

    def test_folder_of_the_cache(self, model_path, tmp_path, monkeypatch):
        def folder(cache=True):
            return Path(
                SentenceEmbedder(model_path, cache=cache).cache_info()["path"]
            ).parent

        assert folder() == tmp_path / "home" / "embeddings"
        assert (
            folder(tmp_path / "own")
            == folder(str(tmp_path / "own"))
            == tmp_path / "own"
        )
        monkeypatch.delenv("SKARM_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert folder() == tmp_path / "xdg" / "skarm" / "embeddings"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
        for platform, root in [
            ("linux", Path("~/.cache")),
            ("darwin", Path("~/Library/Caches")),
            ("win32", tmp_path / "local"),
        ]:
            monkeypatch.setattr(sys, "platform", platform)
            assert text_module.cache_folder() == root / "skarm" / "embeddings"

    def test_damaged_file_is_named_and_can_be_cleared(self, embedder):
        embedder.transform(TEXTS)
        path = Path(embedder.cache_info()["path"])
        path.write_bytes(b"no database" * 1000)
        with pytest.raises(
            RuntimeError, match=f"{path.name} is damaged: .*clear_cache"
        ):
            embedder.transform(TEXTS)
        embedder.clear_cache()
        embedder.transform(TEXTS)
        assert embedder.cache_info()["n_encoded"] == len(TEXTS)

    def test_folder_that_cannot_be_written_is_named(self, model_path, tmp_path):
        (tmp_path / "file").write_text("")
        embedder = SentenceEmbedder(model_path, cache=tmp_path / "file")
        with pytest.raises(
            OSError, match=r"cannot be used: .*SKARM_CACHE .*cache=False"
        ):
            embedder.transform(["a"])

    def test_waiting_ends_when_nothing_happens(self, embedder, monkeypatch):
        monkeypatch.setattr("skarm._embedding.cache._PATIENCE", 0.1)
        other = sqlite3.connect(embedder.cache_info()["path"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OSError, match="cannot be used: database is locked"):
            embedder.transform(["a"])
        other.close()
        assert embedder.transform(["a"]).shape == (1, 16)

    @pytest.mark.parametrize(
        ("progress", "terminal", "n_texts", "shown"),
        [
            ("auto", True, 20, True),
            ("auto", True, 10, False),
            ("auto", False, 20, False),
            (True, False, 10, True),
            (False, True, 20, False),
        ],
    )
    def test_progress(
        self, embedder, monkeypatch, capsys, progress, terminal, n_texts, shown
    ):
        monkeypatch.setattr(text_module, "_CHUNK", 10)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        embedder.set_params(progress=progress).transform(TEXTS[:n_texts])
        assert ("embed: 100%" in capsys.readouterr().err) == shown


class TestTrainStaticEmbedding:
    def test_shared_contexts_make_words_close(self, embedder):
        vectors = embedder.transform([*ANIMALS, *METALS])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = vectors @ vectors.T
        within = min(cosine[:4, :4].min(), cosine[4:, 4:].min())
        assert within > 0.8
        assert cosine[:4, 4:].max() < 0.2

    def test_root_mean_square_length_is_one(self, embedder):
        squares = (embedder.transform(TEXTS) ** 2).sum(axis=1)
        assert_allclose(squares.mean(), 1, rtol=1e-4)

    def test_same_texts_give_the_same_files(self, model_path, tmp_path):
        again = train_static_embedding(TEXTS, tmp_path / "again", dim=16)
        assert text_module.identity(again) == text_module.identity(model_path)
        # The trainer of the tokenizers library alone gives another one every time.
        texts = [*TEXTS, *(f"{a}{b} {b}{a}" for a in ANIMALS for b in METALS)]
        assert len({train_tokenizer(texts, 90).to_str() for _ in range(10)}) == 1

    def test_identity_ignores_the_model_card(self, tmp_path):
        path = train_static_embedding(TEXTS, tmp_path / "model", dim=4)
        before = text_module.identity(path)
        Path(path, "README.md").write_text("a card")
        Path(path, ".git").mkdir()
        Path(path, ".git", "HEAD").write_text("x")
        assert text_module.identity(path) == before
        config = Path(path, "config_sentence_transformers.json")
        config.write_text(json.dumps(json.loads(config.read_text()), indent=1))
        assert text_module.identity(path) != before

    def test_takes_prompts_with_responses(self, tmp_path):
        rows = [("what melts iron", "a furnace melts iron"), ("why", "the heat does")]
        path = train_static_embedding(rows, tmp_path / "deep" / "model", dim=3)
        assert path == str(tmp_path / "deep" / "model")
        assert SentenceEmbedder(path).transform(rows).shape == (2, 3)

    def test_dim_beyond_the_rank_is_zero(self, tmp_path):
        path = train_static_embedding(["a b c", "a c"], tmp_path / "model", dim=5)
        vectors = SentenceEmbedder(path).transform(["a", "b", "c"])
        assert np.isfinite(vectors).all()
        assert_allclose(vectors[:, 3:], 0, atol=1e-6)

    def test_long_unknown_and_strange_texts(self, embedder):
        texts = ["x" * 1000, "日本語", "\x00", "🙂", "iron " * 5000]
        out = embedder.transform(texts)
        assert np.isfinite(out).all()

    @pytest.mark.parametrize(
        ("texts", "params", "match"),
        [
            ([], {}, "must hold different words that occur together. Got 0 texts of 0"),
            (["", ""], {}, "Got 2 texts of 0 word pieces. Give more texts"),
            (["one", "two"], {"dim": 2}, "different words that occur together"),
            (["a a a"], {"dim": 2}, "different words that occur together"),
            (
                ["a b"],
                {"dim": 50},
                r"dim must be at most the number .* 4. Got 50. Lower",
            ),
            (["a b"], {"dim": 0}, "dim must be an int of at least 1. Got 0"),
            (["a b"], {"window": 1.5}, "window must be an int of at least 1. Got 1.5"),
            (["a b"], {"vocab_size": -1}, "vocab_size must be an int of at least 1"),
        ],
    )
    def test_too_little_is_refused(self, tmp_path, texts, params, match):
        with pytest.raises(ValueError, match=match):
            train_static_embedding(texts, tmp_path / "model", **params)
        assert not (tmp_path / "model").exists()

    def test_only_its_own_folders_are_replaced(self, tmp_path):
        path = tmp_path / "model"
        path.mkdir()
        train_static_embedding(TEXTS, path, dim=4)  # empty
        train_static_embedding(TEXTS, path, dim=5)  # its own
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("dear")
        (tmp_path / "file").write_text("dear")
        for name in ("mine", "file"):
            with pytest.raises(
                FileExistsError, match=f"{name}', which holds something"
            ):
                train_static_embedding(TEXTS, tmp_path / name, dim=4)
        assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "mine", "model"]

    def test_ten_thousand_texts_in_seconds(self, tmp_path):
        rng = np.random.default_rng(0)
        words = np.array([f"{a}{b}" for a in "bcdfgklm" for b in "aeiou"] * 3)
        texts = [" ".join(rng.choice(words, 20)) for _ in range(10_000)]
        path = train_static_embedding(texts, tmp_path / "model", dim=32)
        assert SentenceEmbedder(path).transform(texts[:5]).shape == (5, 32)


def test_import_is_light():
    code = (
        "import sys, skarm.text\n"
        "assert not {'sentence_transformers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
