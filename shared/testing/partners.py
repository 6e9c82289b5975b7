"""A partner in a test: it answers as the test says, in memory, and tells what it was asked."""

import asyncio
import json
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from shared.partners import (
    KeptAnswers,
    Opened,
    Partner,
    PartnerFailed,
    Partners,
    Received,
    Request,
    StateRow,
    Surroundings,
)
from shared.state import StateStore

from .recordings import read_recording

__all__ = ["AnsweringPartner", "Asked", "partners_of"]


class Asked(NamedTuple):
    """One request: its body is what JSON makes of it, None without one; header names are as they were sent."""

    method: str
    path: str
    body: Any
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass
class AnsweringPartner:
    """Stands for a partner: what is declared for its calls holds, retries and breaker too, but nothing waits.

    Example
    -------
    >>> api = AnsweringPartner(Partner("carrier"))
    >>> api.answers("POST", "/labels", {"id": "1"})
    >>> api.asked
    []
    """

    partner: Partner
    asked: list[Asked] = field(default_factory=list)
    _rules: list["_Rule"] = field(default_factory=list)

    def answers(
        self,
        method: str = "*",
        path: str = "*",
        body: Any = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
        broken: bool = False,
        text: str | None = None,
    ) -> None:
        """Have it answer so from now on, before everything that was given earlier.

        Parameters
        ----------
        path:
            May hold `*` as file names do.
        body:
            A model, or what JSON can hold.
        times:
            For so many requests only.
        text:
            In place of a body: lines of JSON, or events, for what is streamed; give its `Content-Type` then.
        broken:
            There is no answer: the connection breaks.
        """
        content = body.model_dump(mode="json", by_alias=True) if isinstance(body, BaseModel) else body
        given = {"content-type": "application/json"} | {name.lower(): value for name, value in (headers or {}).items()}
        written = json.dumps(content) if text is None else text
        answer = None if broken else Received(status, given, written.encode())
        self._rules.insert(0, _Rule(method, path, times, answer))

    def replays(self, recording: str | Path) -> None:
        """Have it answer as was recorded by `dev.py partners record`: in order for each path, then the last again.

        Raises
        ------
        WrongRecording
        """
        _, exchanges = read_recording(Path(recording).read_text(encoding="utf-8"))
        last: set[tuple[str, str]] = set()
        for one in reversed(exchanges):  # what is given last counts first
            text = one.answer if isinstance(one.answer, str) else None
            times = 1 if (one.method, one.path) in last else None
            last.add((one.method, one.path))
            self.answers(
                one.method, escape(one.path), one.answer, status=one.status, headers=one.headers, times=times, text=text
            )

    def calls(self, method: str = "*", path: str = "*") -> list[Asked]:
        """What it was asked, in order."""
        return [one for one in self.asked if method in ("*", one.method) and fnmatchcase(one.path, path)]

    async def send(self, request: Request, *, seconds: float, identity: ssl.SSLContext | None = None) -> Received:
        """As a connection of the app's: see `shared.partners`."""
        content = json.loads(request.body) if request.body else None
        self.asked.append(Asked(request.method, request.path, content, request.query, request.headers))
        await asyncio.sleep(0)
        for rule in self._rules:
            if rule.fits(request):
                if rule.answer is None:
                    raise PartnerFailed(self.partner.name, request.endpoint, "the connection broke")
                return rule.answer
        raise LookupError(f"the test gives no answer of {self.partner.name} to {request.method} {request.path}")

    @asynccontextmanager
    async def stream(
        self, request: Request, *, seconds: float, identity: ssl.SSLContext | None = None
    ) -> AsyncIterator[Opened]:
        """As a connection of the app's: see `shared.partners`."""
        answer = await self.send(request, seconds=seconds, identity=identity)
        pieces = _pieces(answer.body if 200 <= answer.status < 300 else b"")
        try:
            yield Opened(answer, pieces)
        finally:
            await pieces.aclose()

    async def close(self) -> None:
        """Nothing is open."""


async def _pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    if body:
        yield body


@dataclass
class _Rule:
    method: str
    path: str
    times: int | None
    answer: Received | None

    def fits(self, request: Request) -> bool:
        if self.times == 0 or self.method not in ("*", request.method) or not fnmatchcase(request.path, self.path):
            return False
        if self.times is not None:
            self.times -= 1
        return True


def partners_of(answering: Iterable[AnsweringPartner], store: StateStore, now: Callable[[], datetime]) -> Partners:
    """Partners that are called in memory; no retry waits."""
    known = {one.partner: one for one in answering}

    async def pass_over(_: float) -> None:
        await asyncio.sleep(0)

    return Partners(
        known,
        urls={},
        answers=KeptAnswers(store, None, now=now),
        connect=lambda partner: known[partner],
        around=Surroundings(
            clock=lambda: asyncio.get_running_loop().time(),
            now=now,
            random=random.random,
            sleep=pass_over,
            row=lambda name: StateRow(store, name),
        ),
    )
