"""Posts messages to the API, many at once, each until it has a final answer."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from local.demo.invoices import Message

__all__ = ["Refusal", "Replay", "replay"]

CONCURRENCY = 64
_ASK_AGAIN = frozenset({408, 429, 502, 503, 504})
_FOR_WHAT_IT_SAYS = frozenset({400, 409, 413, 422})
"""The API has read the invoice and doesn't take it; any other refusal says that nothing here takes invoices."""
_ONE_TRY = aiohttp.ClientTimeout(total=60)
_ALL_TRIES_SECONDS = 180.0
_LONGEST_PAUSE = 15.0
_FIRST_PAUSE = 0.1


@dataclass(frozen=True)
class Refusal:
    """An invoice that was refused: `reason` is the kind, `detail` says where and why in this one."""

    number: str
    reason: str
    detail: str


@dataclass
class Replay:
    """What the API answered: `accepted` by message id, what it refused for its content, and what got neither."""

    accepted: dict[str, Message] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    failed: list[Refusal] = field(default_factory=list)
    answered: int = 0


async def replay(messages: Sequence[Message], urls: Sequence[str], token: str, into: Replay) -> None:
    """Post every message, spread over `urls`, in the name of `token`; an outage is sat out, up to a bound for each."""
    waiting = iter(messages)
    turn = count()
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session, asyncio.TaskGroup() as group:
        for _ in range(min(CONCURRENCY, len(messages))):
            group.create_task(_work(session, waiting, urls, turn, into))


async def _work(
    session: aiohttp.ClientSession,
    waiting: Iterator[Message],
    urls: Sequence[str],
    turn: Iterator[int],
    into: Replay,
) -> None:
    for message in waiting:
        status, answer = await _post(session, message, lambda: urls[next(turn) % len(urls)])
        into.answered += 1
        if status == 202:
            into.accepted[message.message_id] = message
        elif status in _FOR_WHAT_IT_SAYS:
            into.refused.append(_refusal(message.number, status, answer))
        else:
            into.failed.append(
                Refusal(message.number, f"neither accepted nor refused (last: {status or 'none'})", str(answer)[:200])
            )


async def _post(session: aiohttp.ClientSession, message: Message, next_url: Callable[[], str]) -> tuple[int, Any]:
    """The final answer: the status (0 if there never was one) and what came with it."""
    give_up = time.monotonic() + _ALL_TRIES_SECONDS
    pause = _FIRST_PAUSE
    while True:
        asked_pause = None
        try:
            status, answer, asked_pause = await _try(session, next_url() + message.path, message.body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            status, answer = 0, f"{type(error).__name__}: {error}"
        if status and status not in _ASK_AGAIN:
            return status, answer
        wait = min(asked_pause if asked_pause is not None else pause, _LONGEST_PAUSE)
        if time.monotonic() + wait > give_up:
            return status, answer
        await asyncio.sleep(wait)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _try(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, Any, float | None]:
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=body, headers=headers, timeout=_ONE_TRY) as answer:
        text = await answer.text()
        return answer.status, _parsed(text), _seconds(answer.headers.get("Retry-After"))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; a date, which our own API never sends, counts as not given."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None


def _refusal(number: str, status: int, answer: Any) -> Refusal:
    """The first error of an answer in the API's error format, told so that equal reasons look equal."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return Refusal(number, f"{status}", str(answer)[:200])
    details = error.get("details")
    errors = details.get("errors") if isinstance(details, dict) else None
    if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
        return Refusal(number, f"{error.get('code')}: {error.get('message')}", f"invoice {number}")
    first = errors[0]
    name = re.sub(r"\.\d+(?=\.|$)", "", str(first.get("field", ""))).removeprefix("data.")
    line = f", line {first['line']}" if first.get("line") is not None else ""
    why = re.sub(r"^line \d+: ", "", str(first.get("message")))
    return Refusal(number, f"{name}: {why}", f"invoice {number}{line}")
