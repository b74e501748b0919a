"""A small sentence embedding trained on one's own texts, offline, in seconds."""

import json
import shutil
import tempfile
from numbers import Integral
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from skarm._embedding.sentence_models import sentence_modules
from skarm._embedding.texts import read_texts

__all__ = ["train_static_embedding", "train_tokenizer", "train_vectors"]

_MARKER = "skarm_static_embedding.json"  # in the folders that we wrote


def train_static_embedding(
    texts, path, *, dim=64, vocab_size=8000, window=5, random_state=0
):
    """Train a small sentence embedding on your own texts, in seconds, offline.

    The vector of a text is the mean of those of its word pieces. These come from a
    truncated singular value decomposition of the positive pointwise mutual
    information of pieces that occur close together [1]_, with context probabilities
    to the power 0.75, times ``1e-3 / (1e-3 + p(piece))`` (smooth inverse frequency
    [2]_). It knows which words go together, not their order: published models are
    better.

    Parameters
    ----------
    texts : list, array, Series or DataFrame
        Texts, or prompts with responses.
    path : str or path-like
        Folder to write: new, empty, or written by this function (and then replaced).
    dim : int, default=64
        Width of the vectors; at most the number of word pieces.
    vocab_size : int, default=8000
        Number of word pieces aimed at; all characters are kept in any case.
    window : int, default=5
        Largest distance of two pieces that count as close together.
    random_state : int, RandomState instance or None, default=0
        Seed of the decomposition; with an int, equal texts give an equal model.

    Returns
    -------
    path : str
        The folder, for ``SentenceEmbedder(path)``.

    Raises
    ------
    FileExistsError
        If ``path`` holds something that this function did not write.
    ValueError
        If the texts are too few for ``dim``, or a number is not positive.

    Notes
    -----
    The root mean square length of the vectors of ``texts`` is 1. Coordinates beyond
    the rank of the decomposed matrix are zero, as is the vector of an empty text.

    References
    ----------
    .. [1] Levy and Goldberg, "Neural word embedding as implicit matrix
       factorization", NeurIPS 2014.
    .. [2] Arora, Liang and Ma, "A simple but tough-to-beat baseline for sentence
       embeddings", ICLR 2017.
    """
    sizes = {"dim": dim, "vocab_size": vocab_size, "window": window}
    for name, value in sizes.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be an int of at least 1. Got {value!r}.")
    texts, path = read_texts(texts), Path(path).expanduser()
    empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if not empty and not (path / _MARKER).exists():
        raise FileExistsError(
            "path must be a new or empty folder, or one that train_static_embedding "
            f"wrote. Got {str(path)!r}, which holds something else. Choose another."
        )
    tokenizer = train_tokenizer(texts, vocab_size)
    vectors = train_vectors(tokenizer, texts, dim, window, random_state)
    _save(tokenizer, vectors, path, {k: int(v) for k, v in sizes.items()})
    return str(path)


def _save(tokenizer, vectors, path, sizes):
    """Save as a SentenceTransformer; what is at the path is replaced in one step."""
    from sentence_transformers import SentenceTransformer

    module = sentence_modules().StaticEmbedding(tokenizer, embedding_weights=vectors)
    model = SentenceTransformer(modules=[module], device="cpu")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        new = Path(folder, "model")
        model.save(str(new), create_model_card=False)
        (new / _MARKER).write_text(json.dumps(sizes))
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
