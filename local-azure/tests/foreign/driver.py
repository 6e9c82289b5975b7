"""One process that drives clients in another language: a request a line in, an answer a line out."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

__all__ = ["Driver", "Refused"]

_START_SECONDS = 60.0
_CALL_SECONDS = 60.0


class Refused(Exception):
    """The client raised; `code` is one word for all languages, such as `message-lock-lost`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Driver:
    """Start it with a command line; `call` runs one operation. Requests may overlap (`start`)."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._waiting: dict[int, Future[Any]] = {0: Future()}
        self._lock = threading.Lock()
        self._last = 0
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, env=dict(environment)
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        ready = self._waiting[0]
        self._reader.start()
        ready.result(_START_SECONDS)

    def start(self, op: str, **given: Any) -> Future[Any]:
        """Begin an operation; what is None is left out."""
        future: Future[Any] = Future()
        with self._lock:
            self._last += 1
            self._waiting[self._last] = future
            request = {"id": self._last, "op": op} | {key: value for key, value in given.items() if value is not None}
            self._input.write(json.dumps(request).encode() + b"\n")
            self._input.flush()
        return future

    def call(self, op: str, **given: Any) -> Any:
        """Run an operation; raise `Refused` if the client raised."""
        return self.start(op, **given).result(_CALL_SECONDS)

    def close(self) -> None:
        """End the process, which ends when its input does."""
        self._input.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            try:
                answer = json.loads(line)
            except ValueError:  # a library's own print
                continue
            with self._lock:
                future = self._waiting.pop(answer["id"], None)
            if future is None:
                continue
            if "error" in answer:
                future.set_exception(Refused(answer["error"]["code"], answer["error"]["message"]))
            else:
                future.set_result(answer.get("result"))
        ended = RuntimeError(f"the driver ended: {self._log.read_text(errors='replace')[-2000:]}")
        with self._lock:
            left, self._waiting = self._waiting, {}
        for future in left.values():
            future.set_exception(ended)
