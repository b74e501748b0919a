"""Causal and encoder models pooled by SentenceEmbedder: theirs against ours."""

import copy
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone

import skarm.io
from skarm.text import SentenceEmbedder, render_chat, train_static_embedding

CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] not in ['user', 'assistant'] %}"
    "{{ raise_exception('no role ' + m['role']) }}{% endif %}"
    "<|{{ m['role'] }}|>{{ m['content'] | trim }}{{ eos_token }}{% endfor %}"
)
PROMPTS = ["What is the capital of France?", "Sum 2 and 2.", "Sum 2 and 2.", "Hi"]
RESPONSES = ["Paris.", "The sum is 4, as 2 and 2 are 4.", "5", " Hello! " * 20]
TEXTS = [f"{p}\n\n{r}" for p, r in zip(PROMPTS, RESPONSES, strict=True)]
WIDTH, LONGEST = 32, 64


def save_llama(folder, *, padding_side="left", adds_bos=True, pad_token=None):
    """Save a random Llama of two layers; its tokenizer has no pad token, as many."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<s>", "</s>", "<|user|>", "<|assistant|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token=pad_token,
        padding_side=padding_side,
        model_max_length=LONGEST,
    )
    fast.chat_template = CHAT
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(fast),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=LONGEST,
            initializer_range=0.5,  # vectors that tell texts apart
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def tokenizer(llama):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(llama)


@pytest.fixture(scope="module")
def hidden(llama):
    """Return hidden states of one text's tokens, alone in its batch, no padding."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(llama).eval()

    def run(ids):
        with torch.no_grad():
            return model(torch.tensor([ids])).last_hidden_state[0].numpy()

    return run


def embedder(path, **params):
    return SentenceEmbedder(path, cache=False, **params)


POOLED = {
    "last_token": lambda states: states[-1],
    "mean": lambda states: states.mean(axis=0),
    "cls": lambda states: states[0],
}


class TestPooling:
    @pytest.mark.parametrize("pooling", POOLED)
    @pytest.mark.parametrize("batch_size", [1, 3, 32])
    def test_vectors_are_those_of_a_forward_pass_without_padding(
        self, llama, tokenizer, hidden, pooling, batch_size
    ):
        ids = [tokenizer(text)["input_ids"][:LONGEST] for text in TEXTS]
        assert len({len(row) for row in ids}) > 2  # padding is needed
        expected = [POOLED[pooling](hidden(row)) for row in ids]
        ours = embedder(llama, pooling=pooling, batch_size=batch_size)
        assert_allclose(ours.transform(TEXTS), expected, atol=1e-5)

    def test_auto_is_the_last_token_of_a_causal_model(self, llama):
        auto, last = embedder(llama), embedder(llama, pooling="last_token")
        assert_allclose(auto.transform(TEXTS), last.transform(TEXTS), atol=1e-6)

    def test_the_side_of_padding_and_the_pad_token_do_not_matter(self, llama, tmp_path):
        other = save_llama(tmp_path, padding_side="right", pad_token="</s>")
        for pooling in POOLED:
            ours = embedder(other, pooling=pooling).transform(TEXTS)
            assert_allclose(
                ours, embedder(llama, pooling=pooling).transform(TEXTS), atol=1e-5
            )

    def test_positions_counted_from_the_start_survive_padding(self, llama, tmp_path):
        """GPT-2 has absolute positions: padding on the left would shift them."""
        from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

        tokenizer = AutoTokenizer.from_pretrained(llama)
        assert tokenizer.padding_side == "left"
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = GPT2LMHeadModel(config).eval()
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        ours = embedder(str(tmp_path), pooling="last_token").transform(TEXTS)
        for text, vector in zip(TEXTS, ours, strict=True):
            ids = torch.tensor([tokenizer(text)["input_ids"][:LONGEST]])
            with torch.no_grad():
                states = model.transformer(ids).last_hidden_state
            assert_allclose(vector, states[0, -1], atol=1e-5)

    @pytest.mark.parametrize("pooling", POOLED)
    def test_a_text_without_a_token_is_zero(self, llama, tmp_path, pooling):
        ours = embedder(save_llama(tmp_path, adds_bos=False), pooling=pooling)
        assert ours.transform([]).shape == (0, WIDTH)
        assert not ours.transform([""]).any()
        mixed, alone = ours.transform(["", "Hi", ""]), ours.transform(["Hi"])
        assert_allclose(mixed, [np.zeros(WIDTH), alone[0], np.zeros(WIDTH)], atol=1e-5)
        assert ours.set_params(prompt="Say: ").transform([""]).any()
        assert embedder(llama, pooling=pooling).transform([""]).any()  # its first mark

    def test_a_sentence_model_keeps_its_pooling_unless_told(self, llama, tmp_path):
        saved = embedder(llama, pooling="mean")._load()
        saved.save(str(tmp_path), create_model_card=False)
        for pooling, expected in [("auto", "mean"), ("last_token", "last_token")]:
            ours = embedder(str(tmp_path), pooling=pooling).transform(TEXTS)
            theirs = embedder(llama, pooling=expected).transform(TEXTS)
            assert_allclose(ours, theirs, atol=1e-5)

    def test_steps_after_the_pooling_are_kept(self, llama, tmp_path):
        from skarm._embedding.sentence_models import sentence_modules

        model = embedder(llama)._load()
        model.append(sentence_modules().Normalize())
        model.save(str(tmp_path), create_model_card=False)
        ours = embedder(str(tmp_path), pooling="mean").transform(TEXTS)
        theirs = embedder(llama, pooling="mean", normalize=True).transform(TEXTS)
        assert_allclose(ours, theirs, atol=1e-5)

    def test_weights_in_bfloat16_give_nearly_the_same_in_float32(self, llama):
        kwargs = {"torch_dtype": "bfloat16"}
        ours = embedder(llama, model_kwargs=kwargs)
        exact, rough = embedder(llama).transform(TEXTS), ours.transform(TEXTS)
        assert next(ours._load().parameters()).dtype == torch.bfloat16
        assert rough.dtype == np.float32
        assert 1e-6 < np.abs(rough - exact).max() < 0.2 * np.abs(exact).max()

    def test_a_device_map_places_the_weights_and_changes_no_vector(self, llama):
        pytest.importorskip("accelerate")
        ours = embedder(llama, model_kwargs={"device_map": {"": "cpu"}})
        assert_allclose(
            ours.transform(TEXTS), embedder(llama).transform(TEXTS), atol=1e-5
        )


class TestTruncation:
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_the_side_says_which_tokens_are_read(self, llama, tokenizer, hidden, side):
        ours = embedder(llama, max_length=8, truncation_side=side).transform(TEXTS)
        for text, vector in zip(TEXTS, ours, strict=True):
            first, *rest = tokenizer(text)["input_ids"]  # the first begins the text
            rest = rest[-7:] if side == "left" else rest[:7]
            assert_allclose(vector, hidden([first, *rest])[-1], atol=1e-5)

    def test_from_the_left_the_response_is_kept(self, llama):
        long = "Tell me, please. " * 30
        rows = [[long, "yes"], [long, "no"]]
        left, right = (
            embedder(llama, max_length=12, truncation_side=side).transform(rows)
            for side in ("left", "right")
        )
        assert np.abs(left[0] - left[1]).max() > 0.01
        assert_allclose(right[0], right[1], atol=1e-6)


class TestChat:
    def test_the_tokens_are_those_of_the_template(self, llama, tmp_path):
        from transformers import AutoTokenizer

        for path in (llama, save_llama(tmp_path, adds_bos=False)):
            tokenizer = AutoTokenizer.from_pretrained(path)
            texts = render_chat(PROMPTS, RESPONSES, path)
            for prompt, response, text in zip(PROMPTS, RESPONSES, texts, strict=True):
                chat = [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": response},
                ]
                theirs = tokenizer.apply_chat_template(chat, return_dict=True)
                assert tokenizer(text)["input_ids"] == theirs["input_ids"]

    def test_rows_embedded_as_chat_are_the_rendered_texts(self, llama):
        frame = pd.DataFrame({"prompt": PROMPTS, "response": RESPONSES})
        ours = embedder(llama, template="chat")
        expected = ours.transform(render_chat(PROMPTS, RESPONSES, llama))
        assert_allclose(ours.transform(frame), expected, atol=1e-6)
        assert_allclose(clone(ours).fit_transform(frame), expected, atol=1e-6)
        plain = embedder(llama).transform(frame)
        assert np.abs(plain - expected).max() > 0.01
        assert ours.transform(frame[:0]).shape == (0, WIDTH)

    def test_conversations_end_with_the_response(self, tokenizer):
        said = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Sum 2 and 2."},
        ]
        answer = [{"role": "assistant", "content": "4"}]
        texts = render_chat([said, said], ["4", answer], tokenizer)
        whole = "<|user|>Hi</s><|assistant|>Hello!</s><|user|>Sum 2 and 2.</s>"
        assert texts == [f"{whole}<|assistant|>4</s>"] * 2

    def test_texts_that_skarm_io_read_are_written_from_their_parts(self, llama):
        said = [{"role": "user", "content": "Hi"}]
        rows = [
            {"prompt": "Sum 2 and 2.", "chosen": "4", "rejected": "5"},
            {
                "prompt": said,
                "chosen": [{"role": "assistant", "content": "Hello!"}],
                "rejected": [{"role": "assistant", "content": "No."}],
            },
        ]
        items = skarm.io.read_trl(rows).comparisons.items
        prompts = ["Sum 2 and 2.", "Sum 2 and 2.", said, said]
        texts = render_chat(prompts, ["4", "5", "Hello!", "No."], llama)
        ours = embedder(llama, template="chat")
        assert_allclose(ours.transform(items), ours.transform(texts), atol=1e-6)
        assert_allclose(  # without, they are the texts that they are
            embedder(llama).transform(items), ours.transform(list(map(str, items)))
        )

    def test_nothing_asked_is_nothing_said(self, tokenizer):
        assert render_chat(["", "a"], ["b", ""], tokenizer) == [
            "<|assistant|>b</s>",
            "<|user|>a</s><|assistant|></s>",
        ]

    def test_a_template_of_ones_own_and_its_options(self, llama):
        mine = "{{ greeting }}: {{ messages[-1]['content'] }}"
        texts = render_chat(["a"], ["b"], llama, chat_template=mine, greeting="So")
        assert texts == ["So: b"]

    def test_a_loaded_model_knows_its_template(self, llama):
        model = embedder(llama)._load()
        ours = SentenceEmbedder(model, template="chat").transform([["a", "b"]])
        theirs = embedder(llama, template="chat").transform([["a", "b"]])
        assert_allclose(ours, theirs, atol=1e-5)

    def test_a_plain_text_is_read_as_it_is(self, llama, tokenizer, hidden):
        """sentence-transformers 6 alone would write it as what the user says."""
        text = "Hi"
        expected = hidden(tokenizer(text)["input_ids"])[-1]
        assert_allclose(embedder(llama).transform([text])[0], expected, atol=1e-5)

    def test_a_model_that_writes_chats_itself_gets_no_second_one(self, llama, tmp_path):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(llama, device="cpu", local_files_only=True)
        if "message" not in getattr(model[0], "modality_config", ()):
            pytest.skip("sentence-transformers < 6 writes no chats")
        model.tokenizer.pad_token = "</s>"
        model.save(str(tmp_path), create_model_card=False)
        assert_allclose(  # alone, it keeps its way
            embedder(str(tmp_path)).transform(["Hi"]), model.encode(["Hi"]), atol=1e-5
        )
        for chosen in (str(tmp_path), model):
            with pytest.raises(ValueError, match="must not be 'chat' for a model that"):
                embedder(chosen, template="chat").transform([["a", "b"]])
        ours = embedder(str(tmp_path), template="chat", pooling="last_token")
        theirs = embedder(llama, template="chat")
        assert_allclose(
            ours.transform([["a", "b"]]), theirs.transform([["a", "b"]]), atol=1e-5
        )

    def test_what_cannot_be_rendered_is_refused(self, llama, tokenizer, tmp_path):
        with pytest.raises(ValueError, match="Got 2 prompts and 1 responses"):
            render_chat(["a", "b"], ["c"], llama)
        system = [{"role": "system", "content": "Be kind."}]
        with pytest.raises(ValueError, match="refuses number 1: no role system"):
            render_chat(["a", system], ["b", "c"], llama)
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.chat_template = None
        with pytest.raises(ValueError, match="model must have a chat template"):
            render_chat(["a"], ["b"], tokenizer)
        static = train_static_embedding(["a b c", "b c d"], tmp_path / "s", dim=2)
        with pytest.raises(
            ValueError, match=r"must have a chat template. Got '.*/s', "
        ):
            render_chat(["a"], ["b"], static)
        (tmp_path / "empty").mkdir()
        with pytest.raises(OSError, match=r"The tokenizer of model=.*/empty"):
            embedder(tmp_path / "empty", template="chat").transform([["a", "b"]])


class TestParameters:
    def test_what_changes_vectors_has_a_cache_of_its_own(self, llama):
        ways = [
            {},
            {"pooling": "mean"},
            {"max_length": 8},
            {"max_length": 8, "truncation_side": "left"},
            {"model_kwargs": {"torch_dtype": torch.bfloat16}},
        ]
        paths = {SentenceEmbedder(llama, **way).cache_info()["path"] for way in ways}
        assert len(paths) == len(ways)
        placed = SentenceEmbedder(llama, model_kwargs={"device_map": "cpu"})
        assert placed.cache_info()["path"] in paths

    def test_set_params_is_noticed(self, llama):
        ours = embedder(llama)
        ours.transform(TEXTS)
        ours.set_params(pooling="mean", max_length=np.int64(8))
        theirs = embedder(llama, pooling="mean", max_length=8)
        assert_allclose(ours.transform(TEXTS), theirs.transform(TEXTS), atol=1e-6)

    def test_a_model_object_is_as_it_was_loaded(self, llama):
        ours = SentenceEmbedder(embedder(llama)._load(), pooling="mean", max_length=8)
        with pytest.raises(ValueError, match="SentenceTransformer and pooling, max_le"):
            ours.transform(TEXTS)

    @pytest.mark.parametrize(
        "params", [{"pooling": "mean"}, {"max_length": 3}, {"truncation_side": "left"}]
    )
    def test_a_model_without_tokens_to_pool_is_refused(self, tmp_path, params):
        static = train_static_embedding(["a b c", "b c d"], tmp_path / "s", dim=2)
        with pytest.raises(
            ValueError, match="need a transformer whose tokens are pool"
        ):
            embedder(static, **params).transform(["a"])


def test_a_reward_model_on_a_language_model_learns_which_responses_win(llama):
    rng = np.random.default_rng(0)
    rows = [[f"Sum {a} and {b}.", str(a + b)] for a in range(8) for b in range(8)]
    frame = pd.DataFrame(rows, columns=["prompt", "response"])
    longer = frame.response.str.len().to_numpy()
    pairs = rng.permuted(np.tile(np.arange(64), (1000, 1)), axis=1)[:, :2]
    pairs = pairs[longer[pairs[:, 0]] != longer[pairs[:, 1]]]
    y = longer[pairs[:, 0]] > longer[pairs[:, 1]]
    model = skarm.make_reward_pipeline(
        SentenceEmbedder(llama, template="chat", pooling="mean"),
        skarm.BradleyTerryRegressor(),
    ).fit(skarm.Comparisons(frame, pairs[:150]), y[:150].astype(float))
    held_out = skarm.Comparisons(frame, pairs[150:])
    assert model.score(held_out, y[150:].astype(float)) > 0.9
