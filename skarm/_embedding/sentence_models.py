"""Models on disk: find them, tell them apart, load them to pool as asked."""

import hashlib
import os
import re
from pathlib import Path

__all__ = [
    "HELP",
    "POOLING",
    "gives_empty_text_no_token",
    "identity",
    "load_model",
    "load_tokenizer",
    "model_folder",
    "sentence_modules",
]

POOLING = {"last_token": "lasttoken", "mean": "mean", "cls": "cls"}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")  # of a published model
HELP = (
    "Pass the folder of a saved model or the name of a published one, or make one "
    "with skarm.text.train_static_embedding(texts, path)."
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


def _copy(name, *files):
    """Folder that this machine has of a published model with such a file, or None."""
    from huggingface_hub import try_to_load_from_cache

    home = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    for repo in [name] if "/" in name else [f"sentence-transformers/{name}", name]:
        for file in files:
            found = try_to_load_from_cache(repo, file, cache_dir=home)
            if isinstance(found, str):
                return Path(found).parent
    return None


def _commit(name):
    """Commit of a published model of which this machine has a copy, or None."""
    copy = _copy(name, "modules.json", "config.json")
    return copy and copy.name


def _is_plain(model):
    """Whether it is a transformer that sentence-transformers did not save."""
    folder = model_folder(model)
    return (
        not (folder / "modules.json").exists()
        if folder
        else not _copy(model, "modules.json")
    )


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


def sentence_modules():
    """The building blocks of sentence-transformers, which takes seconds to import."""
    try:
        from sentence_transformers.sentence_transformer import modules
    except ImportError:  # sentence-transformers < 6
        from sentence_transformers import models as modules
    return modules


def _where(model):
    """First argument and options with which the libraries find the model."""
    folder = model_folder(model)
    options = {"local_files_only": True} if folder else {"revision": _commit(model)}
    return str(folder or model), options


def load_model(model, device, *, pooling, max_length, truncation_side, model_kwargs):
    """Load a SentenceTransformer, to read and pool the tokens as asked."""
    from sentence_transformers import SentenceTransformer

    path, options = _where(model)
    options["model_kwargs"] = model_kwargs  # weights, type, devices
    try:
        loaded = SentenceTransformer(path, device=device, **options)
    except Exception as error:
        raise OSError(
            f"model={os.fspath(model)!r} could not be loaded: {error}\nWithout a "
            f"network, a published model must be on this machine already. {HELP}"
        ) from error
    kind = sentence_modules().Pooling
    places = [place for place, step in enumerate(loaded) if isinstance(step, kind)]
    if not places:
        if (pooling, max_length, truncation_side) != ("auto", None, None):
            raise ValueError(
                "pooling, max_length and truncation_side need a transformer whose "
                f"tokens are pooled. Got model={os.fspath(model)!r}, which is none. "
                "Leave them at their defaults."
            )
        return loaded
    tokenizer = loaded.tokenizer
    if pooling != "auto" or _is_plain(model):
        # sentence-transformers 6 would make each text what the user of a chat says.
        getattr(loaded[0], "modality_config", {}).pop("message", None)
    # A causal model never looks at what follows, so padding there changes no vector;
    # on the left it would move the positions of models that count them from the start.
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:  # masked: which token it is does not matter
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    if max_length is not None:
        loaded.max_seq_length = max_length
    if truncation_side is not None:
        tokenizer.truncation_side = truncation_side
    if pooling != "auto":
        old = loaded[places[0]]
        width = (
            getattr(old, "embedding_dimension", None) or old.word_embedding_dimension
        )
        # A module's place in the sequence is its name.
        loaded._modules[list(loaded._modules)[places[0]]] = kind(
            width, POOLING[pooling]
        )
    return loaded


def gives_empty_text_no_token(model):
    """Whether the tokenizer adds no mark; the model then cannot read an empty text."""
    try:
        return not model.tokenizer("")["input_ids"]
    except (AttributeError, TypeError):  # no tokenizer of transformers
        return False


def load_tokenizer(model):
    """The tokenizer of a model on disk, of a SentenceTransformer, or `model` itself."""
    if not isinstance(model, str | os.PathLike):
        return getattr(model, "tokenizer", model)
    from transformers import AutoTokenizer

    path, options = _where(model)
    try:
        return AutoTokenizer.from_pretrained(path, **options)
    except Exception as error:
        raise OSError(
            f"The tokenizer of model={os.fspath(model)!r} could not be loaded: {error}"
            "\nA chat is written with its chat template. Pass a chat model, or leave "
            "template as it is."
        ) from error
