"""Texts to vectors: language models as a scikit-learn transformer.

:class:`SentenceEmbedder` keeps every vector on disk, so that cross-validation, grid
search and active learning embed each text once; :func:`embed_to_file` writes those of
very many texts to one file and goes on where it was interrupted. :func:`render_chat`
writes a prompt and its response as a chat model reads them, and
:func:`train_static_embedding` makes a small model where none can be downloaded.
"""

import hashlib
import json
import os
import sys
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn import base

from skarm._data.checks import HasMethods, Interval, StrOptions
from skarm._embedding.cache import DiskStore, MemoryStore, cache_folder
from skarm._embedding.chat import render_chat
from skarm._embedding.file import embed_to_file
from skarm._embedding.sentence_models import (
    HELP,
    POOLING,
    gives_empty_text_no_token,
    identity,
    load_model,
    load_tokenizer,
    model_folder,
)
from skarm._embedding.static import train_static_embedding
from skarm._embedding.texts import TEMPLATE, check_template, read_texts

__all__ = [
    "SentenceEmbedder",
    "embed_to_file",
    "render_chat",
    "train_static_embedding",
]

_CHUNK = 1024  # texts that are encoded and stored in one transaction


class SentenceEmbedder(
    base.ClassNamePrefixFeaturesOutMixin, base.TransformerMixin, base.BaseEstimator
):
    r"""Embed texts, or prompts with their responses, each distinct text once.

    The model is a sentence-transformers model, or any transformer of Hugging Face,
    causal or encoder, whose last hidden states are pooled over the tokens of a text:
    the embedding of prompt and response on which [1]_ puts its reward heads.
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
        How a row with a prompt and a response becomes one text. "chat": by the
        model's own chat template, as :func:`render_chat` does; so for texts that
        :mod:`skarm.io` has read, which remember both.
    pooling : {"auto", "last_token", "mean", "cls"}, default="auto"
        What becomes the vector: the hidden state of the last token of the text, the
        mean over its tokens, or that of its first token. "auto": what the saved model
        says, which may be to write each text as a chat; for a plain transformer what
        sentence-transformers takes: since its version 6, the last token for an
        architecture named ``...ForCausalLM``, else the mean.
    max_length : int, default=None
        Tokens of a text that are read. None: as many as the model can.
    truncation_side : {"left", "right"}, default=None
        Where a longer text is cut. "left" keeps the response. None: as the model says.
    batch_size : int, default=32
        Texts per forward pass; those of similar length go together.
    normalize : bool, default=False
        Whether to scale vectors to unit length; a zero vector stays zero.
    truncate_dim : int, default=None
        Number of leading coordinates to keep (before ``normalize``). None: all.
    device : str, default=None
        Where a model given by folder or name runs. None: the best there is.
    model_kwargs : dict, default=None
        How the weights of a transformer are loaded (``from_pretrained`` of
        transformers), such as ``{"torch_dtype": "bfloat16", "device_map": "auto"}``.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Type of the output. The cache works in float32.
    cache : bool, str or path-like, default=True
        Folder for the vectors. True: ``embeddings`` in the folder named by the
        environment variable ``SKARM_CACHE``, or ``skarm/embeddings`` in the user's
        cache folder. False: none. Vectors of a model object are kept in memory.
    progress : bool or "auto", default="auto"
        Whether to show a bar. "auto": on a terminal, for more than 1,024 new texts.

    Notes
    -----
    The cache has one SQLite file per model (content of its files, or name and
    commit), ``prompt``, ``pooling``, ``max_length``, ``truncation_side`` and
    ``model_kwargs``; texts are known by their SHA-256. The other parameters need no
    new encoding. Processes wait for each other's texts; each 1,024 are kept
    once done. The folder must be on a local disk. Further training of a model object
    is noticed; after any other change to it, call :meth:`clear_cache`.

    Texts are padded on the right, and only real tokens are pooled: a vector does not
    depend on the batch that its text was in, but for rounding. A text without a token
    has the vector zero.

    References
    ----------
    .. [1] Shen, Sun and Ton, "Active reward modeling: adaptive preference labeling
       for large language model alignment", ICML 2025.

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
        "pooling": [StrOptions({"auto", *POOLING})],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "truncation_side": [StrOptions({"left", "right"}), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "normalize": ["boolean"],
        "truncate_dim": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str, None],
        "model_kwargs": [dict, None],
        "dtype": [StrOptions({"float16", "float32", "float64"})],
        "cache": ["boolean", str, os.PathLike],
        "progress": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        model=None,
        *,
        prompt=None,
        template=TEMPLATE,
        pooling="auto",
        max_length=None,
        truncation_side=None,
        batch_size=32,
        normalize=False,
        truncate_dim=None,
        device=None,
        model_kwargs=None,
        dtype="float32",
        cache=True,
        progress="auto",
    ):
        self.model = model
        self.prompt = prompt
        self.template = template
        self.pooling = pooling
        self.max_length = max_length
        self.truncation_side = truncation_side
        self.batch_size = batch_size
        self.normalize = normalize
        self.truncate_dim = truncate_dim
        self.device = device
        self.model_kwargs = model_kwargs
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
        read_texts(X)
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
        texts = self._texts(X)
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
        elif self._options():
            raise ValueError(
                "pooling, max_length, truncation_side and model_kwargs say how a model "
                "is loaded, so model must be a folder or a name. Got "
                f"{type(self.model).__name__} and {', '.join(self._options())}. Set "
                "them on the model object."
            )
        check_template(self.template)

    def _options(self):
        """How the model is loaded, where that is not as it was saved."""
        options = {
            "pooling": self.pooling if self.pooling != "auto" else None,
            "max_length": self.max_length,
            "truncation_side": self.truncation_side,
            "model_kwargs": self.model_kwargs or None,
        }
        return {name: value for name, value in options.items() if value is not None}

    def _texts(self, X):
        """The texts, prompts joined with their responses."""
        return read_texts(X, self._chat if self.template == "chat" else self.template)

    def _chat(self, prompts, responses):
        named = isinstance(self.model, str | os.PathLike)
        state = identity(self.model) if named else self.model
        if getattr(self, "_tokenizer", (None,))[0] != state:
            self._tokenizer = state, load_tokenizer(self.model)
        return render_chat(prompts, responses, self._tokenizer[1])

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
        model = self._load()
        if self.template == "chat" and _writes_chats(model):
            raise ValueError(
                "template must not be 'chat' for a model that writes texts as chats "
                "itself. Got one. Pass its folder or name with pooling, to give it "
                "texts as they are, or leave template as it is."
            )
        asked = texts
        if not self.prompt and gives_empty_text_no_token(model):
            asked = [text for text in texts if text] or ["."]  # for its width
        vectors = model.encode(asked, convert_to_numpy=True, **options)
        vectors = np.asarray(vectors, dtype="<f4")
        good = vectors.ndim == 2 and len(vectors) == len(asked)
        if not (good and np.isfinite(vectors).all()):
            raise ValueError(
                "model must return one finite vector per text. Got shape "
                f"{vectors.shape} for {len(asked)} texts, or NaN or infinity in it. "
                "Pass a SentenceTransformer, loaded in float32."
            )
        if asked is not texts:
            rows = dict(zip(asked, vectors, strict=True))
            zero = np.zeros_like(vectors[0])
            vectors = [rows[text] if text else zero for text in texts]
        return [vector.tobytes() for vector in vectors]

    def _load(self):
        """The model; one given by folder or name is loaded once per object."""
        if not isinstance(self.model, str | os.PathLike):
            return self.model
        how = self.device, dict(self.model_kwargs or {}), self._options()
        if getattr(self, "_loaded", (None,))[0] != (identity(self.model), how):
            model = load_model(
                self.model,
                self.device,
                pooling=self.pooling,
                max_length=self.max_length,
                truncation_side=self.truncation_side,
                model_kwargs=self.model_kwargs,
            )
            # Asked again: the commit of a published model may be known only now.
            self._loaded = (identity(self.model), how), model
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
        folder = cache_folder() if self.cache is True else Path(self.cache)
        return DiskStore(folder.expanduser() / f"{self._signature()[:32]}.sqlite")

    def _signature(self):
        """What the vectors of the model depend on, hashed."""
        what = [2, identity(self.model), self.prompt]
        options = self._options()
        weights = options.pop("model_kwargs", {})
        where = {"device_map", "max_memory", "offload_folder"}
        options |= {k: str(v) for k, v in weights.items() if k not in where}
        if options:
            what.append(options)
        return _key(json.dumps(what, sort_keys=True, default=int)).hex()

    def __getstate__(self):
        """Leave the loaded model and the vectors out of pickles and copies."""
        state, kept_out = super().__getstate__(), ("_loaded", "_memory", "_tokenizer")
        return {k: v for k, v in state.items() if k not in kept_out}

    def __sklearn_tags__(self):
        """Say that the input is texts and that ``fit`` is not needed."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _writes_chats(model):
    try:
        return "message" in model[0].modality_config
    except (AttributeError, TypeError):  # sentence-transformers < 6, or another model
        return False


def _key(text):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
