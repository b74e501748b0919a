"""Embeddings of very many texts, written to one file that outlives interruptions."""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np

from skarm._optional import import_optional

__all__ = ["embed_to_file"]


def embed_to_file(embedder, X, path, *, chunk_size=1024, progress="auto"):
    """Embed texts into a file, going on where an earlier call was interrupted.

    Chunks are written one after the other to ``path + ".part"``, and a small file
    ``path + ".json"`` says how far that got. Call again after an interruption, a kill
    included, and at most one chunk is embedded twice. The file gets its name when it
    is complete; a call that finds it complete embeds nothing.

    Parameters
    ----------
    embedder : SentenceEmbedder
        What embeds. Give it ``cache=False`` if the file is enough.
    X : list, array, Series or DataFrame
        Texts, or prompts with responses, as for ``embedder.transform``.
    path : str or path-like
        File to write: ``.npy``, or ``.parquet`` with one column ``embedding``.
    chunk_size : int, default=1024
        Texts between two savings.
    progress : bool or "auto", default="auto"
        Whether to show a bar. "auto": on a terminal, for more than one chunk.

    Returns
    -------
    embeddings : ndarray of shape (n_texts, n_features)
        One row per text. Of an ``.npy`` file a read-only memory map, to be used as
        items: rows are read from disk when they are needed.

    Raises
    ------
    ImportError
        If pyarrow is missing and the file is to be Parquet.
    ValueError
        If ``path`` is neither, or holds or awaits the vectors of other texts or of
        another embedder; if the embedder's model is an object, which no other process
        could recognize; or if ``chunk_size`` is not positive.

    Notes
    -----
    Memory: one chunk, besides the texts. Disk: one row of ``embedder.dtype`` per text;
    twice that while Parquet is written. One process at a time may write a path.

    Examples
    --------
    >>> import tempfile
    >>> from skarm.text import SentenceEmbedder, embed_to_file, train_static_embedding
    >>> texts = ["the cat drinks milk", "the dog drinks water"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = train_static_embedding(texts, folder + "/model", dim=4)
    ...     embedder = SentenceEmbedder(model, cache=False)
    ...     embed_to_file(embedder, texts, folder + "/items.npy").shape
    (2, 4)
    """
    path = Path(path).expanduser()
    if path.suffix not in (".npy", ".parquet"):
        raise ValueError(
            f"path must end in .npy or .parquet. Got {str(path)!r}. Rename it."
        )
    if not isinstance(embedder.model, str | os.PathLike):
        raise ValueError(
            "embedder must have its model given by folder or name, to be known again. "
            f"Got a {type(embedder.model).__name__}. Save it, and pass the folder."
        )
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1. Got {chunk_size!r}.")
    if path.suffix == ".parquet":
        import_optional("pyarrow", needed_by="embed_to_file", extra="parquet")
    texts = embedder.fit(X)._texts(X)
    plan = {"embeddings_of": _fingerprint(embedder, texts), "n_texts": len(texts)}
    log = path.with_name(path.name + ".json")
    n_done = _n_done(path, log, plan)
    if n_done < len(texts) or not path.exists():
        part = path.with_name(path.name + ".part")
        _fill(embedder, texts, part, log, plan, n_done, chunk_size, progress)
        if path.suffix == ".parquet":
            _to_parquet(part, path)
        else:
            os.replace(part, path)
    return np.load(path, mmap_mode="r") if path.suffix == ".npy" else _read(path)


def _fingerprint(embedder, texts):
    """What the rows are: a hash of the embedder and of all texts in their order."""
    known = embedder.get_params()
    for name in ("batch_size", "cache", "device", "model", "model_kwargs", "progress"):
        known.pop(name)  # these change nothing, or are in the signature
    total = hashlib.sha256(repr((embedder._signature(), known)).encode())
    for text in texts:
        total.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return total.hexdigest()


def _n_done(path, log, plan):
    """Rows that an earlier call has finished."""
    if not log.exists():
        if path.exists():
            raise ValueError(
                f"path must be new, or written by embed_to_file. Got {str(path)!r}, "
                f"without its {log.name}. Delete it, or choose another path."
            )
        return 0
    found = json.loads(log.read_text())
    n_done = found.pop("n_done")
    if found != plan:
        raise ValueError(
            "path must be new, or hold or await these texts by this embedder. Got "
            f"{str(path)!r}, which {log.name} keeps for others ({found['n_texts']} "
            f"texts; now {plan['n_texts']}). Delete both, or choose another path."
        )
    return n_done


def _fill(embedder, texts, part, log, plan, n_done, chunk_size, progress):
    """Embed the texts that are missing in the part file, saving each chunk."""
    from tqdm import tqdm  # comes with sentence-transformers

    part.parent.mkdir(parents=True, exist_ok=True)
    if n_done and part.exists():
        rows = np.load(part, mmap_mode="r+")
    else:
        n_done, width = 0, embedder.transform([]).shape[1]
        shape = len(texts), width
        rows = np.lib.format.open_memmap(part, "w+", embedder.dtype, shape)
    auto = len(texts) - n_done > chunk_size and sys.stderr and sys.stderr.isatty()
    shown = auto if progress == "auto" else progress
    with tqdm(total=len(texts), initial=n_done, disable=not shown, unit="texts") as bar:
        for start in range(n_done, len(texts), chunk_size):
            chunk = texts[start : start + chunk_size]
            rows[start : start + len(chunk)] = embedder.transform(chunk)
            rows.flush()  # the rows are on disk before the log says so
            _write(log, {**plan, "n_done": start + len(chunk)})
            bar.update(len(chunk))
    if not len(texts):
        _write(log, {**plan, "n_done": 0})


def _write(log, content):
    new = log.with_name(log.name + ".new")
    with new.open("w") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(new, log)


def _to_parquet(part, path):
    """Copy the rows to Parquet in row groups; the part file goes when that is done."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = np.load(part, mmap_mode="r")
    kind = pa.list_(pa.from_numpy_dtype(rows.dtype), rows.shape[1])
    schema = pa.schema([("embedding", kind)])
    new = path.with_name(path.name + ".new")
    with parquet.ParquetWriter(new, schema, use_dictionary=False) as writer:
        for start in range(0, len(rows), 8192):
            flat = pa.array(np.asarray(rows[start : start + 8192]).reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
            writer.write_table(pa.table([column], schema=schema))
    os.replace(new, path)
    part.unlink()


def _read(path):
    from pyarrow import parquet

    column = parquet.read_table(path)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)
