"""Texts to vectors: sentence-transformers as a scikit-learn transformer.

:class:`SentenceEmbedder` keeps every vector on disk, so that cross-validation, grid
search and active learning embed each text once. :func:`train_static_embedding` makes
a small model from your own texts where none can be downloaded.
"""

import hashlib
import json
import os
import string
import sys
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn import base

from skarm._checks import HasMethods, Interval, StrOptions
from skarm._embedding_cache import DiskStore, MemoryStore, cache_folder
from skarm._sentence_models import (
    HELP,
    MARKER,
    identity,
    load_model,
    model_folder,
    save_static,
    train_tokenizer,
    train_vectors,
)

__all__ = ["SentenceEmbedder", "train_static_embedding"]

_TEMPLATE = "{prompt}\n\n{response}"
_CHUNK = 1024  # texts that are encoded and stored in one transaction


class SentenceEmbedder(
    base.ClassNamePrefixFeaturesOutMixin, base.TransformerMixin, base.BaseEstimator
):
    r"""Embed texts, or prompts with their responses, each distinct text once.

    Stateless: ``transform`` works without ``fit``. The model is loaded when a text
    must be encoded, and left out of pickles.

    Parameters
    ----------
    model : str, path-like or SentenceTransformer, default=None
        Folder of a saved model, or name of a published one (a copy on this machine
        is used as it is). An object with the ``encode`` of a SentenceTransformer
        works, but ``clone``, so each cross-validation, copies it: pass a folder.
    prompt : str, default=None
        Instruction that the model puts before each text, such as ``"query: "``.
    template : str, default="{prompt}\n\n{response}"
        How a row with a prompt and a response becomes one text.
    batch_size : int, default=32
        Texts per forward pass.
    normalize : bool, default=False
        Whether to scale vectors to unit length; a zero vector stays zero.
    truncate_dim : int, default=None
        Number of leading coordinates to keep (before ``normalize``). None: all.
    device : str, default=None
        Where a model given by folder or name runs. None: the best there is.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Type of the output. Models and cache work in float32.
    cache : bool, str or path-like, default=True
        Folder for the vectors. True: ``embeddings`` in the folder named by the
        environment variable ``SKARM_CACHE``, or ``skarm/embeddings`` in the user's
        cache folder. False: none. Vectors of a model object are kept in memory.
    progress : bool or "auto", default="auto"
        Whether to show a bar. "auto": on a terminal, for more than 1,024 new texts.

    Notes
    -----
    The cache has one SQLite file per model (content of its files, or name and
    commit) and ``prompt``; texts are known by their SHA-256. The other parameters
    need no new encoding. Processes wait for each other's texts; each 1,024 are kept
    once done. The folder must be on a local disk. Further training of a model object
    is noticed; after any other change to it, call :meth:`clear_cache`.

    Examples
    --------
    >>> import tempfile
    >>> from skarm.text import SentenceEmbedder, train_static_embedding
    >>> texts = ["the cat drinks milk", "the dog drinks water"]
    >>> folder = tempfile.TemporaryDirectory()
    >>> model = train_static_embedding(texts, folder.name + "/model", dim=4)
    >>> embedder = SentenceEmbedder(model, cache=folder.name + "/cache")
    >>> embedder.transform([*texts, texts[0]]).shape
    (3, 4)
    >>> embedder.cache_info()["n_encoded"]
    2
    >>> folder.cleanup()
    """

    _parameter_constraints = {
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
        """Check the parameters and the texts, as ``transform`` does; learn nothing.

        Parameters
        ----------
        X : list, array, Series or DataFrame
            Texts, or prompts with responses.
        y : None
            Ignored.

        Returns
        -------
        self : SentenceEmbedder
            The same object.
        """
        self._check_parameters()
        _as_texts(X, self.template)
        return self

    def transform(self, X):
        """Embed the texts.

        Parameters
        ----------
        X : list, array, Series or DataFrame
            Texts, in one dimension or one column, or prompts with responses: a
            data frame with columns ``prompt`` and ``response``, or rows of two texts.

        Returns
        -------
        embeddings : ndarray of shape (n_texts, n_features)
            One row per text.

        Raises
        ------
        OSError
            If the model (FileNotFoundError: its folder) or the cache cannot be used.
        RuntimeError
            If the cache file is damaged.
        TypeError
            If an entry of ``X`` is not a str.
        ValueError
            If a parameter or the shape of ``X`` is none of those described, or the
            model does not return one finite vector per text.
        """
        self._check_parameters()
        texts = _as_texts(X, self.template)
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self._vectors(list(rows))
        width = self._checked_width(vectors.shape[1])
        out = vectors[[rows[text] for text in texts], :width]
        if self.normalize:
            norm = np.linalg.norm(out, axis=1, keepdims=True)
            out /= np.maximum(norm, np.finfo(np.float32).tiny)
        return out.astype(self.dtype, copy=False)

    def cache_info(self):
        """Say what is kept for this model and ``prompt``.

        Returns
        -------
        info : dict
            ``path`` of the cache file (None: in memory), ``n_texts`` kept in it, and
            ``n_encoded``: texts ever sent to the model, since the last clearing, by
            all processes (in memory, or with ``cache=False``: by this object).
        """
        return self._store().info()

    def clear_cache(self):
        """Forget the vectors that are kept for this model and ``prompt``."""
        self._store().clear()

    @property
    def _n_features_out(self):
        return self._checked_width(self._width(self._store()))

    def _check_parameters(self):
        self._validate_params()
        if self.model is None:
            raise ValueError(f"model must be given. Got None. {HELP}")
        if isinstance(self.model, str | os.PathLike):
            model_folder(self.model)
        try:
            fields = {part[1] for part in string.Formatter().parse(self.template)}
        except ValueError:  # a single brace
            fields = set()
        if "response" not in fields or fields - {"prompt", "response", None}:
            raise ValueError(
                "template must hold {response}, may hold {prompt}, and no other field. "
                f"Got {self.template!r}. Write a literal brace twice: {{{{ or }}}}."
            )

    def _checked_width(self, width):
        if width < (self.truncate_dim or 0):
            raise ValueError(
                f"truncate_dim must be at most the width of the model, {width}. "
                f"Got {self.truncate_dim}. Lower it, or pass None to keep all."
            )
        return self.truncate_dim or width

    def _width(self, store):
        return store.width() or len(self._encode([""])[0]) // 4

    def _vectors(self, texts):
        """One float32 row per distinct text; encodes those that nobody has encoded."""
        from tqdm import tqdm  # comes with sentence-transformers

        store = self._store()
        if not texts:
            return np.empty((0, self._width(store)), dtype="<f4")
        by_key = {_key(text): text for text in texts}
        found = store.read(by_key)
        missing = [pair for pair in by_key.items() if pair[0] not in found]
        auto = len(missing) > _CHUNK and sys.stderr and sys.stderr.isatty()
        shown = auto if self.progress == "auto" else self.progress
        starts = range(0, len(missing), _CHUNK)
        for start in tqdm(starts, "embed", disable=not shown, unit="k texts"):
            found |= store.fill(dict(missing[start : start + _CHUNK]), self._encode)
        flat = np.frombuffer(b"".join([found[key] for key in by_key]), dtype="<f4")
        return flat.reshape(len(texts), -1)

    def _encode(self, texts):
        """Send texts to the model; returns the bytes of one float32 vector each."""
        options = {} if self.prompt is None else {"prompt": self.prompt}
        options |= {"batch_size": self.batch_size, "show_progress_bar": False}
        vectors = self._load().encode(texts, convert_to_numpy=True, **options)
        vectors = np.asarray(vectors, dtype="<f4")
        good = vectors.ndim == 2 and len(vectors) == len(texts)
        if not (good and np.isfinite(vectors).all()):
            raise ValueError(
                "model must return one finite vector per text. Got shape "
                f"{vectors.shape} for {len(texts)} texts, or NaN or infinity in it. "
                "Pass a SentenceTransformer, loaded in float32."
            )
        return [vector.tobytes() for vector in vectors]

    def _load(self):
        """The model; one given by folder or name is loaded once per object."""
        if not isinstance(self.model, str | os.PathLike):
            return self.model
        state = (identity(self.model), self.device)
        if getattr(self, "_loaded", (None,))[0] != state:
            model = load_model(self.model, self.device)
            # Asked again: the commit of a published model may be known only now.
            self._loaded = ((identity(self.model), self.device), model)
        return self._loaded[1]

    def _store(self):
        """Where the vectors of this model and prompt are kept."""
        self._check_parameters()
        if self.cache is False or not isinstance(self.model, str | os.PathLike):
            parameters = getattr(self.model, "parameters", tuple)()
            state = self.cache, self.prompt, [(id(p), p._version) for p in parameters]
            old = getattr(self, "_memory", (None, None))
            if old[0] is not self.model or old[1] != state:
                self._memory = self.model, state, MemoryStore(self.cache is not False)
            return self._memory[2]
        if identity(self.model).endswith("@"):
            self._load()  # makes the commit of a published model known
        name = json.dumps([1, identity(self.model), self.prompt])
        name = _key(name).hex()[:32]
        folder = cache_folder() if self.cache is True else Path(self.cache)
        return DiskStore(folder.expanduser() / f"{name}.sqlite")

    def __getstate__(self):
        """Leave the loaded model and the vectors out of pickles and copies."""
        state = super().__getstate__()
        return {k: v for k, v in state.items() if k not in ("_loaded", "_memory")}

    def __sklearn_tags__(self):
        """Say that the input is texts and that ``fit`` is not needed."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _key(text):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _as_texts(X, template=_TEMPLATE):
    """Check X; returns a list of str, prompts joined with their responses."""
    kind = type(X).__name__
    if hasattr(X, "columns"):  # a data frame
        names = list(X.columns)
        if {"prompt", "response"} <= set(names):
            names = ["prompt", "response"]
        elif len(names) != 1:
            raise ValueError(
                "X must have one column, or the columns 'prompt' and 'response'. Got "
                f"the columns {names}. Select or rename them."
            )
        X = X[names]
    elif hasattr(X, "pairs"):
        X = None  # Comparisons: never look at all its pairs
    array = np.asarray(X, dtype=object)
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] in (1, 2))):
        raise ValueError(
            "X must hold texts: a list or array of str, one column, or rows of a "
            f"prompt and a response. Got {kind} of shape {array.shape}. Put a single "
            "text in a list; embed comparisons by an ItemwiseTransformer."
        )
    rows = array.tolist() if array.ndim == 2 else [(text,) for text in array.tolist()]
    for number, row in enumerate(rows):
        for entry in row:
            if not isinstance(entry, str):
                raise TypeError(
                    f"X must hold texts (str). Row {number} holds {entry!r:.60} "
                    f"({type(entry).__name__}). Convert or drop it; use '' for no text."
                )
    if array.ndim == 2 and array.shape[1] == 2:
        return [template.format(prompt=row[0], response=row[1]) for row in rows]
    return [str(row[0]) for row in rows]


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
    texts, path = _as_texts(texts), Path(path).expanduser()
    empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if not empty and not (path / MARKER).exists():
        raise FileExistsError(
            "path must be a new or empty folder, or one that train_static_embedding "
            f"wrote. Got {str(path)!r}, which holds something else. Choose another."
        )
    tokenizer = train_tokenizer(texts, vocab_size)
    vectors = train_vectors(tokenizer, texts, dim, window, random_state)
    save_static(tokenizer, vectors, path, {k: int(v) for k, v in sizes.items()})
    return str(path)
