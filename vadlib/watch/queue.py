"""Messages that wait on disk until their receiver has taken them: one SQLite file, whole after any kill."""

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

from vadlib.io.ownership import begin, is_made

MOST = 100_000  # messages that wait for one receiver; beyond it the oldest are given up, and counted


class Queue:
    """Messages in order, for each of several receivers. Threads may share it."""

    def __init__(self, path: Path, receivers: list[str]) -> None:
        """Go on with the file at `path`, or make it. What waited for a receiver no longer named waits on.

        Raises VadError where something is there that this tool did not make.
        """
        for file in (path, path.with_name(f"{path.name}-journal")):
            if not is_made(file):
                begin(file)
        self._receivers = receivers
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._file = sqlite3.connect(path, check_same_thread=False)
        with self._file:
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS message (number INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT, id TEXT, "
                "body TEXT, UNIQUE (receiver, id))"
            )
        self.given_up = 0

    def put(self, identity: str, message: dict[str, Any]) -> None:
        """Add a message for every receiver; of one with the same identity there is one."""
        rows = [(receiver, identity, json.dumps(message)) for receiver in self._receivers]
        with self._lock, self._file:
            self._file.executemany("INSERT OR IGNORE INTO message (receiver, id, body) VALUES (?, ?, ?)", rows)
            for receiver in self._receivers:
                self.given_up += self._file.execute(
                    "DELETE FROM message WHERE receiver = ? AND number <= (SELECT number FROM message "
                    "WHERE receiver = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                    (receiver, receiver, MOST),
                ).rowcount
            self._arrived.notify_all()

    def first(self, receiver: str, seconds: float) -> tuple[int, str, dict[str, Any]] | None:
        """Number, identity and content of the oldest message for a receiver; None where none comes for so long."""
        query = "SELECT number, id, body FROM message WHERE receiver = ? ORDER BY number LIMIT 1"
        with self._lock:
            for wait in (True, False):
                if row := self._file.execute(query, (receiver,)).fetchone():
                    return row[0], row[1], json.loads(row[2])
                if wait:
                    self._arrived.wait(seconds)
        return None

    def done(self, number: int) -> None:
        """The message of that number has been taken."""
        with self._lock, self._file:
            self._file.execute("DELETE FROM message WHERE number = ?", (number,))

    def waiting(self) -> dict[str, int]:
        """How many messages wait for each receiver."""
        with self._lock:
            counts = dict(self._file.execute("SELECT receiver, COUNT(*) FROM message GROUP BY receiver").fetchall())
        return {receiver: counts.get(receiver, 0) for receiver in self._receivers}

    def close(self) -> None:
        with self._lock:
            self._file.close()
