"""Hostile requests to the API behind the local host: every answer of the app in its own format, and none of 5xx."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.progress import Progress

from local.access import AUDIENCE
from local.fuzz.hostile import HostileRequest, hostile_request
from local.fuzz.report import Case, Kind, Options, Report
from local.fuzz.wire import Answer, exchange
from local.stack import Stack, StackOptions
from local.stack.ports import InternalPorts, any_free
from local_azure.identity import fetch_token, open_registration

__all__ = ["REQUESTS", "broken_promise", "fuzz_address"]

_AT_ONCE = 16
_RESETS = 3
_SETTINGS = {"ORDERS_CARRIER": ""}  # what is sent here isn't shipped
_ANY = InternalPorts(amqp=0, admin=0, blob=0, queue=0, table=0, identity=0, vault=0, partners=0)
_ROLES = (("producer",), ("producer",), ("reader",), ("operator",), ("producer", "reader", "operator"))
_BY_THE_APP = "x-correlation-id"
_INTERNAL = re.compile(rb'Traceback|File "/|site-packages|azure\.core|pydantic|Exception\b')
_FORM = {"messageId", "status", "timestamp", "error", "retryable", "retryAfter"}
_GROWTH = 1.3
"""So much more memory than after the first tenth is a leak."""


async def fuzz_address(
    host: str, port: int, tokens: Sequence[str], options: Options, report: Report, *, pid: int | None = None
) -> Report:
    """Send the cases to an app that runs there; with the process id of its host the memory is watched too."""
    answers: Counter[str] = Counter()
    memory: list[int] = []
    numbers = iter(range(options.first, options.first + options.count))
    run = f"{options.seed:x}"
    began = time.monotonic()

    async def send() -> None:
        for number in numbers:
            sent = hostile_request(Random(f"{options.seed}:{number}"), tokens, run=run)  # noqa: S311
            answer = await _ask(host, port, sent)
            if broken := broken_promise(sent, answer):
                report.failed.append(Case(number=number, broken=broken, sent=sent.about))
            by = "the app" if _BY_THE_APP in answer.headers else "the platform"
            answers[f"{answer.status} by {by}" if answer.status > 0 else "closed without an answer"] += 1
            if pid is not None and number % max(1, options.count // 50) == 0:
                memory.append(psutil.Process(pid).memory_info().rss)

    await asyncio.gather(*(send() for _ in range(min(_AT_ONCE, options.count))))
    report.failed.sort(key=lambda case: case.number)
    seconds = time.monotonic() - began
    report.rows += [("requests", f"{options.count:,}"), ("took", f"{seconds:.0f} s")]
    report.rows += [(name, f"{number:,}") for name, number in sorted(answers.items())]
    if len(memory) >= 20:
        early, late = (
            max(part) for part in (memory[len(memory) // 10 : len(memory) // 5], memory[-len(memory) // 5 :])
        )
        report.rows.append(("memory of the host, early and late", f"{early >> 20} and {late >> 20} MiB"))
        if late > early * _GROWTH:
            report.complaints.append(f"The host's memory grew from {early >> 20} to {late >> 20} MiB.")
    return report


async def _ask(host: str, port: int, sent: HostileRequest) -> Answer:
    """The answer; where the connection was reset, that to the same bytes at once.

    A server that refuses a request before its last piece has come closes the connection, and what it had answered is
    lost to a sender that is still writing (RFC 9112, 9.6).
    """
    is_head = sent.method == "HEAD"
    answer = await exchange(host, port, sent.pieces, head_only=is_head, hang_up=not sent.is_complete)
    for _ in range(_RESETS):
        if answer.status != 0 or not sent.is_complete:
            break
        answer = await exchange(host, port, [b"".join(sent.pieces)], head_only=is_head)
    return answer


def broken_promise(sent: HostileRequest, answer: Answer) -> str | None:
    """Which promise an answer breaks, or None."""
    if answer.status < 0:
        return "no answer in time" if sent.is_complete else None
    if answer.status >= 500:
        return f"answered with {answer.status}: {answer.body[:200]!r}"
    if answer.status == 0:
        return "closed without an answer" if sent.is_complete else None
    if _INTERNAL.search(answer.body):
        return f"tells what is inside: {answer.body[:200]!r}"
    if _BY_THE_APP not in answer.headers or answer.status < 400 or sent.method == "HEAD":
        return None
    return None if _is_error(answer.body) else f"{answer.status} in another format: {answer.body[:200]!r}"


def _is_error(body: bytes) -> bool:
    try:
        parsed = json.loads(body)
    except ValueError:
        return False
    return isinstance(parsed, dict) and set(parsed) == _FORM


async def _run(options: Options, console: Console) -> Report:
    """Start a stack, send all, and stop it again; its folder stays where something failed."""
    report = Report()
    (options.project / ".sluice").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=options.project / ".sluice"))
    async with _stack(options, folder, console) as stack:
        registration = open_registration(stack.data.identity)
        tokens = [
            await asyncio.to_thread(
                fetch_token,
                stack.identity,
                registration,
                client=f"fuzz-{number}",
                roles=roles,
                audience=AUDIENCE,
                lifetime=86_400,
            )
            for number, roles in enumerate(_ROLES)
        ]
        port = int(stack.urls[0].rpartition(":")[2])
        pid = int(json.loads((stack.data.path / "processes.json").read_text(encoding="utf-8"))["host-0"])
        with Progress(console=console, transient=True) as progress:
            progress.add_task("sending", total=None)
            await fuzz_address("127.0.0.1", port, tokens, options, report, pid=pid)
    if report.passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"Stores and logs are kept in {folder}", style="dim", markup=False, highlight=False)
    return report


@contextlib.asynccontextmanager
async def _stack(options: Options, folder: Path, console: Console) -> AsyncIterator[Stack]:
    wanted = StackOptions(
        project=options.project, data_directory=folder, port=any_free(), ports=_ANY, reload=False, settings=_SETTINGS
    )
    async with Stack(wanted, lambda text: console.print(text, style="dim", markup=False, highlight=False)) as stack:
        yield stack


REQUESTS = Kind(
    name="requests",
    about="Hostile HTTP requests: no answer of 5xx, every error in the API's format, memory that doesn't grow.",
    count=10_000,
    run=_run,
)
