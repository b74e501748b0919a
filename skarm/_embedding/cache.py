"""Where vectors are kept: in memory, or in a SQLite file that processes share."""

import os
import sqlite3
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

__all__ = ["DiskStore", "MemoryStore", "cache_folder"]

_PATIENCE = 3600.0  # seconds to wait for another process that stores nothing
_SCHEMA = (
    "PRAGMA journal_mode = WAL",
    "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)",
    "CREATE TABLE IF NOT EXISTS batches (n_texts INTEGER)",
)


def cache_folder():
    if own := os.environ.get("SKARM_CACHE"):
        return Path(own, "embeddings")
    usual = {"win32": os.environ.get("LOCALAPPDATA"), "darwin": "~/Library/Caches"}
    root = os.environ.get("XDG_CACHE_HOME") or usual.get(sys.platform) or "~/.cache"
    return Path(root, "skarm", "embeddings")


class MemoryStore:
    """Vectors (bytes) by key, in this process."""

    path = None

    def __init__(self, keep):
        self.keep, self.vectors, self.n_encoded = keep, {}, 0

    def read(self, keys):
        return {key: self.vectors[key] for key in keys if key in self.vectors}

    def fill(self, chunk, encode):
        new = dict(zip(chunk, encode(list(chunk.values())), strict=True))
        self.n_encoded += len(new)
        self.vectors |= new if self.keep else {}
        return new

    def width(self):
        return len(next(iter(self.vectors.values()), b"")) // 4

    def info(self):
        n_texts = len(self.vectors)
        return {"path": None, "n_texts": n_texts, "n_encoded": self.n_encoded}

    def clear(self):
        self.vectors, self.n_encoded = {}, 0


class DiskStore:
    """Vectors (bytes) by key, in a SQLite file that processes share."""

    def __init__(self, path):
        self.path = path

    @contextmanager
    def _open(self):
        with suppress(OSError):  # then SQLite complains, below
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            db = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
            with closing(db):
                for statement in _SCHEMA:
                    self._patiently(db, statement)
                yield db
        except sqlite3.OperationalError as error:
            raise OSError(
                f"The embedding cache {self.path} cannot be used: {error}. Point cache "
                "or SKARM_CACHE to a writable folder on a local disk, or pass "
                "cache=False."
            ) from error
        except sqlite3.DatabaseError as error:
            raise RuntimeError(
                f"The embedding cache {self.path} is damaged: {error}. Delete it, for "
                "example by clear_cache(); its texts are then embedded again."
            ) from error

    def _patiently(self, db, statement):
        """Execute when other processes let us; waits as long as they store texts."""
        seen, deadline = None, time.monotonic() + _PATIENCE
        while True:
            try:
                version = db.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    seen, deadline = version, time.monotonic() + _PATIENCE
                return db.execute(statement).fetchall()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    @staticmethod
    def _select(db, keys):
        keys, found = list(keys), {}
        for start in range(0, len(keys), 500):  # SQLite limits the variables
            part = keys[start : start + 500]
            query = f"SELECT * FROM vectors WHERE key IN ({','.join('?' * len(part))})"
            found.update(db.execute(query, part))
        return found

    def read(self, keys):
        with self._open() as db:
            return self._select(db, keys)

    def fill(self, chunk, encode):
        """Vectors of some texts; the missing ones are encoded while others wait."""
        with self._open() as db:  # closing it without a commit takes all back
            self._patiently(db, "BEGIN IMMEDIATE")
            found = self._select(db, chunk)
            missing = {key: chunk[key] for key in chunk if key not in found}
            if missing:
                new = dict(zip(missing, encode(list(missing.values())), strict=True))
                db.executemany("INSERT INTO vectors VALUES (?, ?)", new.items())
                db.execute("INSERT INTO batches (n_texts) VALUES (?)", [len(new)])
                found |= new
            db.execute("COMMIT")
        return found

    def width(self):
        with self._open() as db:
            row = db.execute("SELECT length(vector) FROM vectors LIMIT 1").fetchone()
        return row[0] // 4 if row else None

    def info(self):
        with self._open() as db:
            n_texts = db.execute("SELECT count(*) FROM vectors").fetchone()[0]
            n_encoded = db.execute("SELECT total(n_texts) FROM batches").fetchone()[0]
        return {"path": str(self.path), "n_texts": n_texts, "n_encoded": int(n_encoded)}

    def clear(self):
        try:
            with self._open() as db:
                self._patiently(db, "BEGIN IMMEDIATE")
                db.execute("DELETE FROM vectors")
                db.execute("DELETE FROM batches")
                db.execute("COMMIT")
                with suppress(sqlite3.OperationalError):  # others may be reading
                    db.execute("VACUUM")
        except RuntimeError:  # damaged
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
