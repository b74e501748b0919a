"""Rows of a file, a frame or an iterable, each with its place; and back into a file."""

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from skarm._optional import import_optional

__all__ = ["drop_empty", "read_rows", "write_rows"]

_KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".pq")


def read_rows(source):
    """Name of the source, and its rows as a list of (place, dict).

    `source` is a path, an iterable of dicts, a pandas or polars frame, or a
    ``datasets.Dataset``, which is an iterable of dicts. Missing values are None.
    """
    if isinstance(source, (str, Path)):
        rows = _read_file(Path(source))
        name = str(source)
    else:
        name = f"the {type(source).__name__}"
        rows = _read_object(source, name)
    if not rows:
        raise ValueError(f"the source must hold at least one row. {name} is empty.")
    try:
        return name, [
            (place, {str(k): _plain(v) for k, v in row.items()}) for place, row in rows
        ]
    except RecursionError:
        raise ValueError(
            f"rows must not be nested so deeply. A row of {name} is. Flatten it."
        ) from None


def _read_object(source, name):
    if hasattr(source, "to_dicts"):  # polars
        source = source.to_dicts()
    elif hasattr(source, "columns") and hasattr(source, "to_dict"):  # pandas
        source = source.to_dict("records")
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        hint = "Pass one split" if isinstance(source, Mapping) else "Pass a path"
        raise TypeError(
            "source must be a path, an iterable of dicts, a DataFrame or a "
            f"datasets.Dataset. Got {type(source).__name__}. {hint}."
        )
    rows = [(f"row {number}", row) for number, row in enumerate(source, start=1)]
    return _check_objects(rows, name)


def _check_objects(rows, name):
    for place, row in rows:
        if not isinstance(row, Mapping):
            raise ValueError(
                f"every row must be an object with named fields. {place.capitalize()} "
                f"of {name} is a {type(row).__name__}. Drop it or name its fields."
            )
    return rows


def _plain(value):
    """Without numpy or pandas types; NaN and NA are None."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return value


# ------------------------------------------------------------------------- files


def _kind(path):
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if zipped else suffixes)[-1:]
    if kind and kind[0] in _KINDS and not (zipped and kind[0] in (".parquet", ".pq")):
        return kind[0]
    raise ValueError(
        "path must end in .jsonl, .json, .csv (or these with .gz) or .parquet. "
        f"Got {path.name!r}."
    )


def _read_file(path):
    if not path.exists():
        raise FileNotFoundError(
            f"path must be an existing file. Got {str(path)!r}. Check the name."
        )
    kind = _kind(path)
    if kind in (".parquet", ".pq"):
        return _parquet_rows(path)
    text = _read_text(path)
    if kind == ".csv":
        return _csv_rows(text, path)
    if kind == ".json" and text.lstrip().startswith("["):
        return _json_array(text, path)
    return _json_lines(text, path)


def _read_text(path):
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"the file must be UTF-8. Line {line} of {path} is not: {error.reason}. "
            "Save it again as UTF-8."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"a file named .gz must be a whole gzip file. {path} is not: {error}. "
            "Copy it again, or take the .gz off its name."
        ) from error


def _json_lines(text, path):
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            hint = f"Line {number} of {path}"
            rows.append((f"line {number}", _parse(line, "every line", hint)))
    return _check_objects(rows, path)


def _json_array(text, path):
    entries = _parse(text, "the file", str(path))
    rows = [(f"entry {number}", row) for number, row in enumerate(entries, start=1)]
    return _check_objects(rows, path)


def _parse(text, what, where):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{what} must be JSON. {where} is not: {error}. Correct or drop it."
        ) from error


def _csv_rows(text, path):
    limit = csv.field_size_limit(2**31 - 1)  # 128 KiB is less than a long response
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(
                    f"every row must have {len(reader.fieldnames)} fields. Line "
                    f"{reader.line_num} of {path} has another number. Quote fields "
                    "that hold commas or line breaks."
                )
            rows.append((f"line {reader.line_num}", row))
    except csv.Error as error:
        raise ValueError(
            f"the CSV must be well formed. Line {reader.line_num} of {path}: {error}. "
            "Write it with a CSV library."
        ) from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _parquet_rows(path):
    parquet = import_optional(
        "pyarrow.parquet", needed_by="reading Parquet", extra="parquet"
    )
    try:
        rows = parquet.read_table(path).to_pylist()
    except (OSError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"the file must be Parquet. {path} is not: {error}. Export it again."
        ) from error
    return [(f"row {number}", row) for number, row in enumerate(rows, start=1)]


# ----------------------------------------------------------------------- writing


def write_rows(rows, path):
    """Write a list of dicts to a file of the kind its name says; return the rows.

    None as `path` only returns them.
    """
    if path is None:
        return rows
    path = Path(path)
    kind = _kind(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if kind in (".parquet", ".pq"):
        pyarrow = import_optional("pyarrow", needed_by="Parquet", extra="parquet")
        parquet = import_optional(
            "pyarrow.parquet", needed_by="writing Parquet", extra="parquet"
        )
        filled = [{name: row.get(name) for name in names} for row in rows]
        try:
            table = pyarrow.Table.from_pylist(filled)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"a column of Parquet has one type. Here one has not: {error}. "
                "Write .jsonl."
            ) from error
        parquet.write_table(table, path)
        return rows
    if kind == ".csv":
        text = _csv_text(rows, names)
    elif kind == ".json":
        text = "[\n" + ",\n".join(map(_dump, rows)) + "\n]\n"
    else:
        text = "".join(_dump(row) + "\n" for row in rows)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"CSV holds Unicode texts only. Here is a lone surrogate: {error}. Write "
            ".jsonl."
        ) from error
    if path.suffix.lower() == ".gz":
        data = gzip.compress(data, mtime=0)
    path.write_bytes(data)
    return rows


def drop_empty(rows, keep=()):
    """The rows without the columns that are empty in all of them."""
    names = dict.fromkeys(name for row in rows for name in row)
    names = [
        name
        for name in names
        if name in keep or any(row.get(name) is not None for row in rows)
    ]
    return [{name: row.get(name) for name in names} for row in rows]


def _dump(row):
    text = json.dumps(row, ensure_ascii=False, default=str)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate: only its escape can be written
        text = json.dumps(row, default=str)
    return text


def _csv_text(rows, names):
    for row in rows:
        for name, value in row.items():
            if isinstance(value, (list, dict)):
                raise ValueError(
                    f"CSV holds texts and numbers only. Column {name!r} has a "
                    f"{type(value).__name__}, such as messages. Write .jsonl or "
                    ".parquet."
                )
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, names, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
