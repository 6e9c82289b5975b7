"""The operator's command line for dead letters, on the same clients and settings as the app's own triggers."""

import argparse
import asyncio
import contextlib
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.servicebus.exceptions import ServiceBusError

from functions.changes import SOURCE as CHANGES
from functions.composition import Composition
from functions.composition.changes import change_consumer
from functions.composition.claims import claim_store, decoder
from functions.composition.dead_letters import dead_letter_store, run_book
from functions.composition.encryption import fields
from functions.composition.notifications import notifier, topic
from functions.composition.read_models import projector
from functions.composition.sending import lane_senders
from functions.composition.state import parking, state_store
from functions.composition.undelivered import deliver
from functions.dead_letters import is_erased
from ops.auditing import audited
from ops.failures import cause_of
from ops.settings_file import load_settings
from shared.dead_letters import (
    Action,
    Decision,
    InboxRecords,
    Redrive,
    RedriveRun,
    ReplayOutcome,
    ReplayResult,
    Report,
    StoredLetter,
    preview,
)
from shared.environment import WrongSettings
from shared.messages import Delivery, Headers, Lane, MessageError, PayloadHash, Registry, discover, parse_strict
from shared.secrets import SecretError
from shared.settings import Settings
from shared.state import StateMismatch
from shared.streams import StreamEvent
from shared.undelivered import SOURCE

from .arguments import ALL_RUNS, DECIDING, about, filters_of, order_by, parse, ramp_of
from .choosing import WrongUse, chosen, group_by, named, not_one, revealed, some_of
from .editing import edit, payload_editor
from .rendering import (
    as_json,
    counted,
    group_json,
    groups_table,
    letter_json,
    letter_text,
    letters_table,
    report_json,
    run_json,
    runs_table,
)

__all__ = ["main", "redrive_of"]

PROGRAM = "dead-letters"
OK, INCOMPLETE, WRONG, UNREACHABLE = 0, 1, 2, 3

_PROBE_SECONDS = 12.0
_SIDE_BY_SIDE = 16
_SHOWN = 20


def main(arguments: list[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    try:
        known = parse(sys.argv[1:] if arguments is None else arguments, program=PROGRAM)
        settings = load_settings(known.settings, environment)
        return asyncio.run(_run(known, settings))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except KeyboardInterrupt:
        return _say("stopped; what was begun is open again, or is gone on with after two minutes.", 130)
    except (WrongUse, WrongSettings, StateMismatch, ValueError) as error:
        return _say(str(error), WRONG)


def redrive_of(composition: Composition) -> Redrive:
    """Decisions about dead letters, with the app's own lanes, inbox and projector."""

    async def project(letter: StoredLetter, body: bytes) -> None:
        await composition.get(projector).project([_logged(letter, body)])

    async def notify(letter: StoredLetter, body: bytes) -> None:
        if composition.get(topic) is None:
            raise LookupError("there is no topic: set SLUICE_NOTIFICATION_URL")
        await composition.get(notifier).notify([_logged(letter, body)])

    async def change(letter: StoredLetter, body: bytes) -> None:
        event = replace(_logged(letter, body), properties=letter.properties)
        await composition.get(change_consumer).take_again(event)

    async def bring(letter: StoredLetter, body: bytes) -> None:
        event = parse_strict(body)
        if not isinstance(event, dict) or not await deliver(composition, event):
            raise LookupError("it is no event that one handler here is for")

    async def renew(claim: str) -> None:
        await composition.get(claim_store).renew(claim)

    async def resolved(letter: StoredLetter, discarded: bool) -> None:
        if letter.lane == Lane.ORDERED and letter.key is not None and letter.message_id is not None:
            await composition.get(parking).unblock(letter.key, letter.message_id, done_only=not discarded)

    async def hashes_of(delivery: Delivery, headers: Headers) -> Sequence[PayloadHash]:
        message = await composition.get(decoder).decode(delivery, headers)
        return (message.payload_hash, *message.earlier_hashes)

    protection = composition.get(fields)
    return Redrive(
        composition.get(dead_letter_store),
        InboxRecords(composition.get(state_store)),
        send=composition.get(lane_senders).forward,
        events={"events": project, "notifications": notify, CHANGES: change, SOURCE: bring},
        renew=renew,
        now=composition.now,
        resolved=resolved,
        is_erased=is_erased(composition.get(decoder)),
        payload_hashes=None if protection is None else protection.payload_hashes,
        hashes_of=hashes_of,
    )


def _logged(letter: StoredLetter, body: bytes) -> StreamEvent:
    place = letter.position
    return StreamEvent(
        body=body,
        partition=str(place.get("partition", "")),
        offset=str(place.get("offset", "")),
        sequence_number=int(place.get("sequenceNumber", 0)),
    )


def _registry() -> Registry:
    import integrations  # the users' modules: only a replay of events and a look at a message need them

    return discover(integrations)


async def _run(known: argparse.Namespace, settings: Settings) -> int:
    composition = Composition(
        settings, _registry() if known.command in ("replay", "show", "edit", "groups") else Registry([])
    )
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await composition.get(dead_letter_store).probe()
        return await _recorded(known, composition)
    except* (AzureError, ServiceBusError, SecretError, OSError) as group:
        return_code = _unreachable(group)
    finally:
        with contextlib.suppress(Exception):
            await composition.close()
    return return_code


async def _recorded(known: argparse.Namespace, composition: Composition) -> int:
    """Do a command; what decides, or reveals, leaves an audit record before and after."""
    decides = known.command in DECIDING and not known.dry_run
    if not decides and not getattr(known, "reveal", False):
        return await _COMMANDS[known.command](known, composition)
    by, verb = order_by(known), f"dead-letters {known.command}"
    async with audited(composition, verb, by=by, reason=known.reason, **about(known)) as result:
        code = await _COMMANDS[known.command](known, composition)
        result |= {"exitCode": code, **getattr(known, "counts", {})}
    return code


def _unreachable(group: BaseExceptionGroup[BaseException]) -> int:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, HttpResponseError) and error.response is not None:
        first = (error.message or "").strip().splitlines() or [""]
        return _say(f"the store refused this ({error.status_code}): {first[0]}", UNREACHABLE)
    return _say(
        f"the stores or the vault that the settings name don't answer ({cause_of(error)}). Is the stack running? Start "
        "it with `python3 dev.py run`, or set ServiceBus, EventHubs, State and Claims to those of your app.",
        UNREACHABLE,
    )


async def _list(known: argparse.Namespace, composition: Composition) -> int:
    letters, total = await composition.get(dead_letter_store).newest(
        filters_of(known, now=composition.now()), known.limit
    )
    if known.json:
        _print(as_json({"total": total, "letters": [letter_json(letter) for letter in letters]}))
    elif not letters:
        _print("no dead letters match")
    else:
        _print(letters_table(letters))
        _print(f"\n{len(letters)} of {total}, newest first")
    return OK


async def _groups(known: argparse.Namespace, composition: Composition) -> int:
    now = composition.now()
    store, by = composition.get(dead_letter_store), group_by(known.by, composition.registry)
    groups = await store.groups(filters_of(known, now=now), now=now, by=by)
    if known.json:
        _print(as_json({"groups": [group_json(group) for group in groups]}))
    else:
        _print(groups_table(groups, by=known.by) if groups else "no dead letters match")
    return OK


async def _show(known: argparse.Namespace, composition: Composition) -> int:
    letters = await named(composition, known.id)
    if len(letters) != 1:
        return _say(not_one(known.id, letters), INCOMPLETE)
    try:
        body = await composition.get(dead_letter_store).message(letters[0])
    except (LookupError, MessageError) as error:
        return _say(str(error), INCOMPLETE)
    letter = letters[0]
    changes: list[tuple[str, Any, Any]] = []
    with contextlib.suppress(LookupError, MessageError):  # its contract is gone, or its claim
        changes = await payload_editor(composition).changes(letter, reveal=known.reveal)
    if known.reveal:
        letter = await revealed(letter, Decision(by=order_by(known), reason=known.reason), composition)
    else:
        masked = preview(letter, body, composition.registry)
        if known.body is not None and masked != body:
            raise WrongUse("the message holds protected fields: add --reveal and --reason to write it as it is")
        body = masked
    if known.body is not None:
        _write(known.body, body)
    elif known.json:
        edited = {"changes": [{"path": path, "before": old, "after": new} for path, old, new in changes]}
        whole = {**letter_json(letter), **(edited if letter.edited else {})}
        _print(as_json({**whole, "body": body.decode("utf-8", "backslashreplace")}))
    else:
        _print(letter_text(letter, body, changes))
    return OK


def _write(file: str, body: bytes) -> None:
    if file == "-":
        sys.stdout.buffer.write(body)
        return
    try:
        Path(file).write_bytes(body)
    except OSError as error:
        raise WrongUse(f"{file} can't be written: {error.strerror or error}") from None


async def _replay(known: argparse.Namespace, composition: Composition) -> int:
    if known.stop is not None:
        return await _stop(known, composition)
    redrive = redrive_of(composition)
    if known.dry_run:
        return await _dry_run(known, composition, redrive)
    ramp, order = ramp_of(known), Decision(by=order_by(known), reason=known.reason)
    name = f"{composition.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    noted = composition.get(run_book).begin(name, order, clock=time.monotonic)
    run = RedriveRun(redrive, ramp, clock=time.monotonic, watch=_show_progress, look=noted.look)
    try:
        report = await run.replay(chosen(known, composition), order)
    except BaseException as error:
        await asyncio.shield(noted.end(None, failed=f"failed: {type(error).__name__}"))
        raise
    await noted.end(report)
    _end_progress()
    known.counts = report_json(report)
    if known.json:
        _print(as_json(report_json(report)))
    else:
        _print(_report_text(report))
    bad = report.stopped or report.outcomes[ReplayOutcome.FAILED] or report.actions[Action.FAILED]
    settled = report.handed_over or report.actions[Action.CLOSE]
    return INCOMPLETE if bad or not settled else OK


async def _stop(known: argparse.Namespace, composition: Composition) -> int:
    """Ask the runs that go on to stop, or one of them."""
    book, order = composition.get(run_book), Decision(by=order_by(known), reason=known.reason)
    going = [one for one in await book.all() if one.ended is None and not one.lost(composition.now())]
    meant = [one for one in going if known.stop in (ALL_RUNS, one.run)]
    for one in meant:
        await book.ask_to_stop(one.run, order)
    known.counts = {"runs": [one.run for one in meant]}
    if known.json:
        _print(as_json(known.counts))
    else:
        stopping = [f"{one.run} stops at its next step; the same replay goes on where it was" for one in meant]
        _print("\n".join(stopping) or "no replay is going on")
    return OK if meant else INCOMPLETE


async def _replays(known: argparse.Namespace, composition: Composition) -> int:
    runs, now = await composition.get(run_book).all(), composition.now()
    if known.json:
        _print(as_json({"replays": [run_json(one, now) for one in runs]}))
    else:
        _print(runs_table(runs, now) if runs else "nothing was replayed")
    return OK


_SETTLED = {
    "discard": (Action.CLOSE, "discarded"),
    "archive": (Action.ARCHIVE, "archived"),
    "restore": (Action.RESTORE, "restored"),
}


async def _settle(known: argparse.Namespace, composition: Composition) -> int:
    """Discard, archive or restore."""
    redrive, (done, word) = redrive_of(composition), _SETTLED[known.command]
    decide: dict[str, Callable[[StoredLetter, Decision], Awaitable[ReplayResult]]] = {
        "discard": redrive.discard,
        "archive": partial(redrive.archive, until=composition.now() + getattr(known, "window", timedelta())),
        "restore": redrive.restore,
    }
    actions: Counter[str] = Counter()
    order = None if known.dry_run else Decision(by=order_by(known), reason=known.reason)
    letters = chosen(known, composition)
    while some := [letter async for letter in some_of(letters, _SIDE_BY_SIDE)]:
        if order is None:
            actions[f"would be {word}"] += len(some)
            continue
        for result in await asyncio.gather(*(decide[known.command](letter, order) for letter in some)):
            actions[word if result.action is done else result.action.value] += 1
    known.counts = {"actions": dict(actions)}
    if known.json:
        _print(as_json({"dryRun": known.dry_run, "actions": dict(actions)}))
    else:
        _print(counted(actions) or "no dead letters match")
    return OK if known.dry_run or actions[word] else INCOMPLETE


async def _dry_run(known: argparse.Namespace, composition: Composition, redrive: Redrive) -> int:
    actions: Counter[str] = Counter()
    shown: list[tuple[StoredLetter, Action]] = []
    letters = chosen(known, composition)
    while some := [letter async for letter in some_of(letters, _SIDE_BY_SIDE)]:
        for plan in await asyncio.gather(*(redrive.plan(letter) for letter in some)):
            actions[plan.action.value] += 1
            if len(shown) < _SHOWN or known.json:
                shown.append((plan.letter, plan.action))
    if known.json:
        planned = [{"id": letter.id, "messageId": letter.message_id, "action": action} for letter, action in shown]
        _print(as_json({"dryRun": True, "actions": dict(actions), "letters": planned}))
    elif not shown:
        _print("no dead letters match")
    else:
        for letter, action in shown:
            _print(f"{letter.id[:12]}  {letter.message_id or '':<36}  {action.value}")
        _print(f"\nnothing was changed; a replay would do this:\n{counted(actions)}")
    return OK


def _report_text(report: Report) -> str:
    lines = [counted({action.value: count for action, count in report.actions.items()}) or "no dead letters match"]
    if report.handed_over:
        found = report.outcomes
        lines.append(
            f"of {report.handed_over} handed over: {found[ReplayOutcome.DONE]} processed, "
            f"{found[ReplayOutcome.FAILED]} failed again, {found[ReplayOutcome.PENDING]} without an outcome yet"
        )
    lines += [f"error: {error}" for error in report.errors]
    if report.stopped is not None:
        lines.append(f"stopped: {report.stopped}")
    return "\n".join(lines)


def _show_progress(report: Report) -> None:
    if sys.stderr.isatty():
        found = report.outcomes
        done, failed = found[ReplayOutcome.DONE], found[ReplayOutcome.FAILED]
        sys.stderr.write(f"\r{report.handed_over} handed over, {done} processed, {failed} failed again ")
        sys.stderr.flush()


def _end_progress() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\n")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code


async def _edit(known: argparse.Namespace, composition: Composition) -> int:
    return OK if await edit(known, composition) else INCOMPLETE


_COMMANDS = {
    "edit": _edit,
    "replays": _replays,
    "list": _list,
    "groups": _groups,
    "show": _show,
    "replay": _replay,
    **dict.fromkeys(_SETTLED, _settle),
}
