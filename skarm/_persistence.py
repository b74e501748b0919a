"""Save to a file, all or nothing, with a first line that says what it is."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import joblib

__all__ = ["load", "save"]

#: Raised when a file written by an older skarm can no longer be read as it is.
FORMAT = 1


def save(path, thing):
    """Write `thing`; a file that was there stays whole until the new one is.

    Parameters
    ----------
    path : path-like
        Where.
    thing : object
        What, picklable.
    """
    path = Path(path)
    version = sys.modules[__package__].__version__  # skarm, without importing upward
    header = {"kind": type(thing).__name__, "format": FORMAT, "skarm": version}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            joblib.dump(thing, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # an interrupt too
        with suppress(OSError):
            os.unlink(temporary)
        raise


def load(path, kind):
    """Read what :func:`save` wrote.

    Parameters
    ----------
    path : path-like
        Where.
    kind : type
        What it must be.

    Returns
    -------
    thing : kind
        As it was saved.

    Raises
    ------
    ValueError
        If the file is of another kind, newer than this skarm, or damaged.
    """
    with open(path, "rb") as file:
        header = _header(file.readline(1000))
        if header.get("kind") != kind.__name__:
            found = header.get("kind", "something else")
            raise ValueError(
                f"path must be a file written by {kind.__name__}.save. {path} holds "
                f"{found}. Pass another file."
            )
        if header["format"] > FORMAT:
            raise ValueError(
                f"the file must be of format {FORMAT} or older. {path} is of format "
                f"{header['format']}, written by skarm {header['skarm']}. Upgrade "
                "skarm to read it."
            )
        try:
            thing = joblib.load(file)
        except Exception as error:
            raise ValueError(
                f"the file must hold a whole {kind.__name__}. {path}, written by skarm "
                f"{header['skarm']}, could not be read ({type(error).__name__}: "
                f"{error}). It is damaged, or was saved where other versions of its "
                "packages were installed; load it there."
            ) from error
    if not isinstance(thing, kind):
        raise ValueError(
            f"the file must hold a {kind.__name__}. {path} holds a "
            f"{type(thing).__name__}. Pass another file."
        )
    return thing


def _header(line):
    """The first line as a dict with the fields of ours, or an empty dict."""
    try:
        header = json.loads(line)
        return header if {"kind", "format", "skarm"} <= set(header) else {}
    except (ValueError, TypeError):
        return {}
