"""Texts to vectors: sentence-transformers as a scikit-learn transformer.

:class:`SentenceEmbedder` turns texts into the item matrix that the rest of the
package works on, and remembers every vector on disk, so that cross-validation, grid
search and active learning embed each text once. :func:`train_static_embedding` makes
a small model from your own texts, where no model can be downloaded.
"""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import string
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext, suppress
from numbers import Integral
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)
from sklearn.utils.extmath import randomized_svd

__all__ = ["SentenceEmbedder", "train_static_embedding"]

_TEMPLATE = "{prompt}\n\n{response}"
_CHUNK = 1024  # texts encoded and stored in one transaction
_PATIENCE = 3600.0  # seconds to wait for a process that stores nothing
_MARKER = "skarm_static_embedding.json"  # left in the folders that we wrote
_HOW_TO_GET_A_MODEL = (
    "Pass the folder of a saved SentenceTransformer, the name of a published one, or "
    "make one from your own texts with skarm.text.train_static_embedding(texts, path)."
)


class SentenceEmbedder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Embed texts, or prompts with their responses, each distinct text once.

    The transformer is stateless: ``transform`` works without ``fit``, and ``fit``
    only checks its input. The model is loaded when the first text must be encoded,
    and never pickled.

    Parameters
    ----------
    model : str, path-like or SentenceTransformer
        Folder of a saved model, or name of a published one (of which a copy that is
        on this machine already is used as it is). An object with the ``encode``
        method of a ``SentenceTransformer`` works too, but ``clone`` (so every
        cross-validation) copies the whole object: prefer a folder.
    prompt : str, default=None
        Instruction put before each text by the model, such as ``"query: "``. None
        leaves the choice to the model.
    template : str, default="{prompt}\\\\n\\\\n{response}"
        How a row with a prompt and a response becomes one text.
    batch_size : int, default=32
        Texts per forward pass.
    normalize : bool, default=False
        Whether to scale each vector to unit length. An all-zero vector stays zero.
    truncate_dim : int, default=None
        Keep only the first coordinates (before ``normalize``), for models trained
        for that. None keeps all.
    device : str, default=None
        Where a model given by folder or name runs, such as ``"cuda"``. None takes
        what is there. An object stays where it is.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Type of the output. Models work in, and the cache keeps, float32.
    cache : bool, str or path-like, default=True
        Folder in which vectors are kept. True stands for ``embeddings`` in the
        folder named by the environment variable ``SKARM_CACHE``, or else
        ``skarm/embeddings`` in the user's cache folder. False keeps nothing. A model
        given as an object has no name on disk: its vectors are kept in memory.
    progress : bool or "auto", default="auto"
        Whether to show a progress bar. "auto" shows one on a terminal if more than
        1,024 texts must be encoded.

    See Also
    --------
    train_static_embedding : Make a small model without a network.

    Notes
    -----
    *Input.* Texts come as a list, a 1-D array or Series, or one column. Prompts with
    responses come as a data frame with the columns ``prompt`` and ``response``
    (others are ignored), or as rows of two texts.

    *Cache.* There is one SQLite file per model and ``prompt``. The model is known by
    the content of its files, or by its name and commit; a text by its SHA-256, so
    that no text can be read back. ``normalize``, ``truncate_dim`` and ``dtype`` are
    applied on the way out and need no new encoding. ``batch_size`` and ``device`` are
    not part of the key: they change rounding only. Processes share the file and wait
    for each other's texts; chunks of 1,024 texts are kept as soon as they are done.
    The folder must be on a local disk (SQLite's write-ahead log needs one).

    *Objects.* Training a model object further is noticed by its parameters. After
    any other change, such as a new tokenizer, call :meth:`clear_cache`.

    Examples
    --------
    >>> import tempfile
    >>> from skarm.text import SentenceEmbedder, train_static_embedding
    >>> texts = ["the cat drinks milk", "the dog drinks water"]
    >>> folder = tempfile.TemporaryDirectory()
    >>> model = train_static_embedding(texts, f"{folder.name}/model", dim=4)
    >>> embedder = SentenceEmbedder(model, cache=f"{folder.name}/cache")
    >>> embedder.transform([*texts, texts[0]]).shape
    (3, 4)
    >>> embedder.cache_info()["n_encoded"]
    2
    >>> folder.cleanup()
    """

    _parameter_constraints = {  # noqa: RUF012
        "model": [str, os.PathLike, HasMethods("encode"), None],
        "prompt": [str, None],
        "template": [str],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "normalize": ["boolean"],
        "truncate_dim": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str, None],
        "dtype": [StrOptions({"float16", "float32", "float64"})],
        "cache": ["boolean", str, os.PathLike],
        "progress": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        model=None,
        *,
        prompt=None,
        template=_TEMPLATE,
        batch_size=32,
        normalize=False,
        truncate_dim=None,
        device=None,
        dtype="float32",
        cache=True,
        progress="auto",
    ):
        self.model = model
        self.prompt = prompt
        self.template = template
        self.batch_size = batch_size
        self.normalize = normalize
        self.truncate_dim = truncate_dim
        self.device = device
        self.dtype = dtype
        self.cache = cache
        self.progress = progress

    def fit(self, X, y=None):
        """Check the parameters and the texts; nothing is learned.

        Parameters
        ----------
        X : list, array, Series or DataFrame of shape (n_texts,) or (n_texts, 1 or 2)
            Texts, or prompts with responses.
        y : None
            Ignored.

        Returns
        -------
        self : SentenceEmbedder
            The same object.

        Raises
        ------
        FileNotFoundError
            If ``model`` is a path at which there is no folder.
        TypeError
            If an entry of ``X`` is not a str.
        ValueError
            If a parameter, or the shape of ``X``, is not one of those described.
        """
        self._check_parameters()
        _as_texts(X, self.template)
        return self

    def transform(self, X):
        """Embed the texts.

        Parameters
        ----------
        X : list, array, Series or DataFrame of shape (n_texts,) or (n_texts, 1 or 2)
            Texts, or prompts with responses.

        Returns
        -------
        embeddings : ndarray of shape (n_texts, n_features)
            One row per text; no rows for no texts.

        Raises
        ------
        OSError
            If the model cannot be loaded, or the cache cannot be used.
        RuntimeError
            If the cache file is damaged.
        TypeError
            If an entry of ``X`` is not a str.
        ValueError
            If a parameter, or the shape of ``X``, is not one of those described, or
            if the model returns anything but one finite vector per text.
        """
        self._check_parameters()
        texts = _as_texts(X, self.template)
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self._vectors(list(rows))
        width = self._checked_width(vectors.shape[1])
        out = vectors[[rows[text] for text in texts], :width]
        if self.normalize:
            length = np.linalg.norm(out, axis=1, keepdims=True)
            out /= np.maximum(length, np.finfo(np.float32).tiny)
        return out.astype(self.dtype, copy=False)

    def cache_info(self):
        """Say what is kept for this model and ``prompt``.

        Returns
        -------
        info : dict
            ``path``: the cache file (None if nothing is kept on disk); ``n_texts``:
            the number of texts kept; ``n_encoded``: the number of texts ever sent to
            the model, by any process (for a cache in memory and for ``cache=False``:
            by this object) since the cache was made or cleared.
        """
        self._check_parameters()
        return self._store(load=False).info()

    def clear_cache(self):
        """Forget the vectors kept for this model and ``prompt``."""
        self._check_parameters()
        self._store(load=False).clear()

    @property
    def _n_features_out(self):
        self._check_parameters()
        return self._checked_width(self._model_width(self._store()))

    def _check_parameters(self):
        self._validate_params()
        fields = {field for _, field, *_ in _parse(self.template) if field is not None}
        if not {"response"} <= fields <= {"prompt", "response"}:
            raise ValueError(
                "template must hold {response}, may hold {prompt}, and no other field. "
                f"Got {self.template!r}. Write literal braces twice: {{{{ and }}}}."
            )
        if self.model is None:
            raise ValueError(f"model must be given. Got None. {_HOW_TO_GET_A_MODEL}")
        if _is_address(self.model):
            _find_folder(self.model)

    def _checked_width(self, width):
        if self.truncate_dim is not None and self.truncate_dim > width:
            raise ValueError(
                f"truncate_dim must be at most the width of the model, {width}. "
                f"Got {self.truncate_dim}. Lower it, or pass None to keep all."
            )
        return self.truncate_dim or width

    def _model_width(self, store):
        width = store.width()
        if width is None:
            model = self._load()
            ask = getattr(model, "get_embedding_dimension", None) or getattr(
                model, "get_sentence_embedding_dimension", lambda: None
            )  # the second name is that of sentence-transformers < 6
            width = ask() or len(np.ravel(model.encode([""])))
        return width

    def _vectors(self, texts):
        """Return one float32 row per text; encode those that nobody has encoded."""
        store = self._store()
        if not texts:
            return np.empty((0, self._model_width(store)), dtype=np.float32)
        keys = [hashlib.sha256(t.encode("utf-8", "replace")).digest() for t in texts]
        found = store.read(keys)
        missing = [
            pair for pair in zip(keys, texts, strict=True) if pair[0] not in found
        ]
        with self._bar(len(missing)) as bar:
            for start in range(0, len(missing), _CHUNK):
                chunk = dict(missing[start : start + _CHUNK])
                found.update(store.fill(chunk, self._encode))
                if bar is not None:
                    bar.update(len(chunk))
        flat = np.frombuffer(b"".join([found[key] for key in keys]), dtype="<f4")
        if flat.size % len(keys):
            raise RuntimeError(_damaged(store.path, "vectors of different lengths"))
        return flat.reshape(len(keys), -1)

    def _encode(self, texts):
        """Send texts to the model; returns the bytes of one float32 vector each."""
        options = {} if self.prompt is None else {"prompt": self.prompt}
        vectors = self._load().encode(
            texts,
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
            **options,
        )
        vectors = np.asarray(vectors, dtype="<f4")
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise ValueError(
                "model must return one vector per text. Got an array of shape "
                f"{vectors.shape} for {len(texts)} texts. Pass a SentenceTransformer."
            )
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise ValueError(
                "model must return finite vectors. Got NaN or infinity for the text "
                f"{_short(texts[row])}. Load the model in float32, or drop the text."
            )
        return [vector.tobytes() for vector in vectors]

    def _bar(self, n_missing):
        auto = n_missing > _CHUNK and sys.stderr is not None and sys.stderr.isatty()
        if not n_missing or not (auto if self.progress == "auto" else self.progress):
            return nullcontext()
        from tqdm import tqdm  # comes with sentence-transformers

        return tqdm(total=n_missing, desc="embed", unit="text")

    def _load(self):
        """Return the model; one given by folder or name is loaded once."""
        if not _is_address(self.model):
            return self.model
        state = (_identity(self.model), self.device)
        if self.__dict__.get("_loaded", (None,))[0] != state:
            model = _load_model(self.model, self.device)
            # asked again: loading a published model may have made its commit known
            self._loaded = ((_identity(self.model), self.device), model)
        return self._loaded[1]

    def _store(self, load=True):
        """Return where vectors are kept; ``load`` allows to load the model for it."""
        if self.cache is False or not _is_address(self.model):
            state = (_parameter_versions(self.model), self.prompt)
            old = self.__dict__.get("_memory")
            if old is None or old[0] is not self.model or old[1] != state:
                self._memory = (self.model, state, _MemoryStore())
            store = self._memory[2]
            store.keep = self.cache is not False
            return store
        identity = _identity(self.model)
        if load and identity.endswith("@"):
            self._load()
            identity = _identity(self.model)
        folder = _default_folder() if self.cache is True else Path(self.cache)
        name = hashlib.sha256(json.dumps([1, identity, self.prompt]).encode())
        return _DiskStore(folder.expanduser() / f"{name.hexdigest()[:32]}.sqlite")

    def __getstate__(self):
        """Leave the loaded model and the vectors out of pickles and copies."""
        state = dict(super().__getstate__())
        state.pop("_loaded", None)
        state.pop("_memory", None)
        return state

    def __sklearn_tags__(self):
        """Say that input is texts and that ``fit`` is not needed."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags
