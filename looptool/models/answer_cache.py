"""Answers kept in SQLite, so that none is paid twice."""
from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from looptool.errors import InputError
from looptool.models.completion import Reply

_reply = msgspec.json.Decoder(Reply)


class AnswerCache:
    """Answers by the hash of their request, in one SQLite file that several processes may share.

    The file is made by the first look-up, so that a run refused before its first call writes
    nothing. Write-ahead logging: an answer that `put` took survives a killed process.
    """

    def __init__(self, path: Path):
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def get(self, key: bytes) -> Reply | None:
        """The answer to this request, if it was ever paid."""
        row = self._execute("SELECT reply FROM answers WHERE key = ?", key).fetchone()
        return _reply.decode(row[0]) if row else None

    def put(self, key: bytes, reply: Reply) -> None:
        """Keep an answer; it is safe when this returns."""
        self._execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", key,
                      msgspec.json.encode(reply))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, statement: str, *values: bytes) -> sqlite3.Cursor:
        try:
            self._connection = self._connection or self._open()
            return self._connection.execute(statement, values)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"{self.path}: the cache of answers cannot be used ({error}); check the folder's "
                "permissions and space, or remove the file if it is damaged") from None

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # without transactions, so that each answer is there when `put` returns; another process may
        # be writing for longer than the 5 s that SQLite waits by itself
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, reply BLOB NOT NULL)")
        return connection
