"""From the pairs that skarm asks to a language model fine-tuned on them.

    python examples/finetune_with_trl.py          (pip install 'skarm[trl]')

skarm asks some comparisons and learns a reward from them. The same answers are written
in TRL's preference format, and TRL's RewardTrainer trains a language model on them.
Both maximize the Bradley–Terry likelihood, so both give rewards in log-odds; the script
prints how well their rankings agree, and how well each agrees with the written ratings,
on the prompts asked about and on unseen ones.

The language model is a tiny one, built here with random weights, so that this runs
offline in seconds: it shows the way, not what a real model reaches. With --model, a
folder or name, a real one takes its place.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from scipy.stats import spearmanr
from sklearn.preprocessing import StandardScaler

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
    make_reward_pipeline,
)
from skarm._optional import import_optional
from skarm.annotators import SimulatedAnnotator
from skarm.datasets import load_assistant_answers
from skarm.io import ItemText, write_trl
from skarm.metrics import grouped_spearman
from skarm.text import SentenceEmbedder, train_static_embedding


def ask(texts, ratings, prompts, folder, args):
    """The loop of skarm; returns the learner with what it asked."""
    model = train_static_embedding(texts, Path(folder, "embedding"), dim=32)
    learner = ActiveRewardLearner(
        make_reward_pipeline(
            SentenceEmbedder(model, cache=False),
            StandardScaler(),
            BradleyTerryRegressor(),
        ),
        ActiveComparisonSampler(max_pairs_per_item=4),
        random_state=args.seed,
    )
    pool = Comparisons.all_pairs(texts, groups=prompts, scope="within")
    annotator = SimulatedAnnotator(ratings, temperature=1, random_state=args.seed)
    for _ in range(args.rounds):
        _, asked = learner.query(pool, n_pairs=args.pairs)
        learner.teach(asked, annotator(asked))
    return learner


def build_tiny_model(texts, folder, seed):
    """Save a Llama of two layers, random weights, with a tokenizer of these texts."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        model_max_length=512,
    )
    torch.set_num_threads(1)  # so small a model gains nothing by more
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        pad_token_id=fast.pad_token_id,
        eos_token_id=fast.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


def train(rows, model, folder, args):
    """Train by TRL; returns its trainer."""
    import trl
    from datasets import Dataset
    from transformers import PrinterCallback

    config = trl.RewardConfig(
        output_dir=str(folder),
        num_train_epochs=args.epochs,
        per_device_train_batch_size=8,
        learning_rate=args.learning_rate,
        max_length=512,
        seed=args.seed,
        bf16=False,
        dataloader_pin_memory=False,
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = trl.RewardTrainer(model, config, train_dataset=Dataset.from_list(rows))
    trainer.remove_callback(PrinterCallback)  # the losses are printed below
    trainer.train()
    return trainer


def score(trainer, texts, batch_size=32):
    """Reward of each text, of the trained model."""
    import torch

    tokenizer, model = trainer.processing_class, trainer.model.eval()
    rewards = []
    for start in range(0, len(texts), batch_size):
        batch = [t + tokenizer.eos_token for t in texts[start : start + batch_size]]
        inputs = tokenizer(
            batch,
            padding=True,
            truncation=True,
            max_length=512,
            return_tensors="pt",
        )
        with torch.no_grad():
            logits = model(**inputs.to(model.device)).logits
        rewards.append(logits[:, 0].float().cpu().numpy())
    return np.concatenate(rewards)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or name of a causal language model")
    parser.add_argument("--rounds", type=int, default=5, help="of asking")
    parser.add_argument("--pairs", type=int, default=40, help="asked in each round")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="keep what TRL learns from in this .jsonl file"
    )
    args = parser.parse_args()
    import_optional("trl", needed_by="finetune_with_trl.py", extra="trl")

    data = load_assistant_answers()
    texts = [  # each remembers its prompt and response, for write_trl
        ItemText(f"{prompt}\n\n{response}", f"{prompt}\n\n", response)
        for prompt, response in zip(data.prompts, data.responses, strict=True)
    ]
    texts = np.array(texts, dtype=object)
    unseen = np.unique(data.groups, return_inverse=True)[1] % 4 == 0
    known = np.flatnonzero(~unseen)

    with tempfile.TemporaryDirectory() as folder:
        learner = ask(
            *(texts[known], data.ratings[known], data.groups[known]), folder, args
        )
        rows = write_trl(learner.asked_, learner.y_, args.out)
        model = args.model or build_tiny_model(
            texts[known], Path(folder, "tiny"), args.seed
        )
        trainer = train(rows, model, Path(folder, "trl"), args)
        ours, theirs = learner.predict(texts), score(trainer, list(texts))

    print(f"{len(rows)} comparisons asked by skarm, learned by skarm and by TRL")
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    print("TRL's loss per epoch: " + " ".join(f"{loss:.3f}" for loss in losses))
    for name, where in [("asked", known), ("unseen", np.flatnonzero(unseen))]:
        agree = spearmanr(ours[where], theirs[where])[0]
        quality = [
            grouped_spearman(
                data.ratings[where], rewards[where], groups=data.groups[where]
            )
            for rewards in (ours, theirs)
        ]
        print(
            f"Prompts {name}: Spearman correlation of skarm and TRL {agree:.2f}; with "
            "the rating, per prompt, skarm {:.2f} and TRL {:.2f}".format(*quality)
        )


if __name__ == "__main__":
    main()
