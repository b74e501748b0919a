"""Sentence models on disk: find, tell apart, load; train a small one, and save it."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

__all__ = [
    "HELP",
    "MARKER",
    "identity",
    "load_model",
    "model_folder",
    "save_static",
    "train_tokenizer",
    "train_vectors",
]

MARKER = "skarm_static_embedding.json"  # in the folders that we wrote
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")  # of a published model
HELP = (
    "Pass the folder of a saved SentenceTransformer or the name of a published one, "
    "or make one with skarm.text.train_static_embedding(texts, path)."
)
_FINGERPRINTS = {}  # folder -> (names, sizes and times of its files, their hash)


def model_folder(model):
    """Folder of a local model; None for a name that must be looked up."""
    text = os.fspath(model)
    folder = Path(text).expanduser()
    if text and folder.is_dir():
        return folder
    if isinstance(model, str) and _NAME.fullmatch(text):
        return None
    raise FileNotFoundError(
        f"model must be a folder that exists, or a name. Got {text!r}, where there is "
        f"no folder. {HELP}"
    )


def _commit(name):
    """Commit of a published model of which this machine has a copy, or None."""
    from huggingface_hub import try_to_load_from_cache

    home = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    for repo in [name] if "/" in name else [f"sentence-transformers/{name}", name]:
        for file in ("modules.json", "config.json"):
            found = try_to_load_from_cache(repo, file, cache_dir=home)
            if isinstance(found, str):
                return Path(found).parent.name
    return None


def identity(model):
    """What vectors depend on: hash of a local model's files, or a name and commit."""
    folder = model_folder(model)
    if folder is None:
        return f"{model}@{_commit(model) or ''}"
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*"))
    names = [n for n in names if not n.endswith(".md") and "/." not in f"/{n}"]
    stats = [(n, (folder / n).stat()) for n in names if (folder / n).is_file()]
    stamp = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    folder = folder.resolve()
    if _FINGERPRINTS.get(folder, (None,))[0] != stamp:
        total = hashlib.sha256()
        for name, *_ in stamp:
            with (folder / name).open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
            total.update(f"{name}\n".encode())
        _FINGERPRINTS[folder] = stamp, total.hexdigest()
    return _FINGERPRINTS[folder][1]


def load_model(model, device):
    from sentence_transformers import SentenceTransformer  # takes seconds to import

    folder = model_folder(model)
    local = {"local_files_only": True} if folder else {"revision": _commit(model)}
    try:
        return SentenceTransformer(str(folder or model), device=device, **local)
    except Exception as error:
        raise OSError(
            f"model={os.fspath(model)!r} could not be loaded: {error}\nWithout a "
            f"network, a published model must be on this machine already. {HELP}"
        ) from error


def save_static(tokenizer, vectors, path, sizes):
    """Save as a SentenceTransformer; what is at the path is replaced in one step."""
    from sentence_transformers import SentenceTransformer

    try:
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    except ImportError:  # sentence-transformers < 6
        from sentence_transformers.models import StaticEmbedding
    module = StaticEmbedding(tokenizer, embedding_weights=vectors)
    model = SentenceTransformer(modules=[module], device="cpu")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        new = Path(folder, "model")
        model.save(str(new), create_model_card=False)
        (new / MARKER).write_text(json.dumps(sizes))
        shutil.rmtree(path, ignore_errors=True)
        new.replace(path)


def train_tokenizer(texts, vocab_size):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    def tokenizer(**options):
        new = Tokenizer(models.WordPiece(unk_token="[UNK]", **options))
        new.normalizer = normalizers.BertNormalizer()
        new.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return new

    # Ties between pieces are broken by the numbers of their parts, which the trainer
    # gives out in random order: so the single characters are numbered by a first pass.
    pieces = ["[PAD]", "[UNK]"]
    for size in (1, vocab_size):
        draft = tokenizer()
        draft.train_from_iterator(
            texts,
            trainers.WordPieceTrainer(
                vocab_size=size, special_tokens=pieces, show_progress=False
            ),
        )
        pieces += sorted(set(draft.get_vocab()) - set(pieces))
    final = tokenizer(vocab=draft.get_vocab())
    final.add_special_tokens(["[PAD]", "[UNK]"])
    return final


def train_vectors(tokenizer, texts, dim, window, random_state):
    """PPMI-SVD vectors of the word pieces, float32 of shape (n_pieces, dim)."""
    n_pieces = tokenizer.get_vocab_size()
    codes = [code.ids for code in tokenizer.encode_batch(texts)]
    lengths = np.array([len(code) for code in codes], dtype=np.intp)
    text = np.repeat(np.arange(len(codes)), lengths)
    piece = np.array([i for code in codes for i in code], dtype=np.intp)
    shape = (n_pieces, n_pieces)
    counts = sparse.csr_array(shape)
    for lag in range(1, window + 1):
        near = text[:-lag] == text[lag:]
        where = piece[:-lag][near], piece[lag:][near]
        counts = counts + sparse.csr_array((np.ones(near.sum()), where), shape=shape)
    counts = (counts + counts.T).tocoo()
    total, (i, j) = counts.sum(axis=1), (counts.row, counts.col)
    context = total**0.75 / max((total**0.75).sum(), 1.0)
    ppmi = np.maximum(np.log(counts.data / (total[i] * context[j])), 0.0)
    if not ppmi.any():
        raise ValueError(
            "texts must hold different words that occur together. Got "
            f"{len(codes)} texts of {len(piece)} word pieces. Give more texts."
        )
    if dim > n_pieces:
        raise ValueError(
            f"dim must be at most the number of word pieces in texts, {n_pieces}. Got "
            f"{dim}. Lower it, or give more texts."
        )
    ppmi = sparse.csr_array((ppmi, (i, j)), shape=shape)
    U, S, _ = randomized_svd(ppmi, dim, random_state=random_state)
    frequency = np.bincount(piece, minlength=n_pieces) / len(piece)
    vectors = U * np.sqrt(S) * (1e-3 / (1e-3 + frequency))[:, None]
    share = 1.0 / np.repeat(lengths, lengths)
    mean = sparse.csr_array((share, (text, piece)), shape=(len(codes), n_pieces))
    scale = np.sqrt(((mean @ vectors) ** 2).sum(axis=1).mean())
    return (vectors / scale).astype(np.float32)
