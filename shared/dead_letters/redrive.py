"""Plays dead letters again or discards them, one at a time, each step of it safe to repeat.

A replay has four steps: take the record (`open` → `replaying`, under its ETag, so one operator wins), let the inbox
give way, hand the message to its lane or projector, note `replayed`. What fails between two of them gives the record
back at once; whoever is killed there leaves it `replaying`, and the next replay goes on from there with the same number
and the same broker id. A copy sent twice takes effect once, since the inbox record opens for one of them only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.messages import (
    Delivery,
    ErrorCode,
    Headers,
    Lane,
    MessageError,
    PayloadHash,
    parse_strict,
    payload_hash,
    rfc3339,
    stored_hashes,
)
from shared.sending import BrokerMessage, NotSent, broker_message
from shared.state import Row

from .inbox import InboxRecords
from .record import Note, Outgoing, Status, StoredLetter
from .store import DeadLetterStore

__all__ = [
    "Action",
    "Decision",
    "Redrive",
    "ReplayOutcome",
    "ReplayPlan",
    "ReplayResult",
    "delivery_of",
    "replay_message",
]

Send = Callable[[Lane, BrokerMessage], Awaitable[None]]
ReplayEvent = Callable[[StoredLetter, bytes], Awaitable[None]]
PayloadHashes = Callable[[str], Awaitable[Sequence[str]]]
Resolved = Callable[[StoredLetter, bool], Awaitable[None]]
Renew = Callable[[str], Awaitable[None]]
IsErased = Callable[[Delivery, Headers], Awaitable[bool]]
HashesOf = Callable[[Delivery, Headers], Awaitable[Sequence[PayloadHash]]]

TAKE_OVER_AFTER = timedelta(minutes=2)
"""A replay that made no step for so long was killed."""

_BROKER_ID_LIMIT = 100


class Action(StrEnum):
    """What a replay of a dead letter would do, or has done."""

    SEND = "send to its lane"
    PROJECT = "project its event"
    CLOSE = "close: it was processed already"
    SKIP_CONFLICT = "skip: its id belongs to another message; send it under a new id"
    SKIP_RESOLVED = "skip: it is replayed or discarded already"
    ARCHIVE = "archive"
    RESTORE = "restore"
    SKIP_ARCHIVED = "skip: it is archived; restore it first"
    SKIP_UNKNOWN = "skip: a later release gave it a status that this one doesn't know"
    SKIP_NOT_ARCHIVED = "skip: it isn't archived"
    SKIP_WINDOW = "skip: the time in which it could be restored is over"
    SKIP_BUSY = "skip: somebody else is replaying it"
    SKIP_NOWHERE = "skip: nothing here takes messages of its source"
    SKIP_ERASED = "skip: the person whom it is about was erased"
    SKIP_GONE = "skip: it is no longer in the store"
    FAILED = "failed: it can't be handed over; it is open as before"
    UNREACHABLE = "failed: the broker didn't take it; it is open as before"
    NO_ANSWER = "failed: a store or the key service doesn't answer; it is open as before"

    @property
    def hands_over(self) -> bool:
        """Whether the message goes on its way again."""
        return self in (Action.SEND, Action.PROJECT)


class ReplayOutcome(StrEnum):
    """What became of a message after its replay."""

    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Who decides about dead letters, and why; both stay in their history."""

    by: str
    reason: str

    def __post_init__(self) -> None:
        if not self.by.strip() or not self.reason.strip():
            raise ValueError("a decision about dead letters needs a name and a reason")


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """A dead letter, and what a replay would do to it now."""

    letter: StoredLetter
    action: Action


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """A dead letter after a replay, and what was done."""

    letter: StoredLetter
    action: Action
    error: str | None = None


class Redrive:
    """Decides about single dead letters.

    Parameters
    ----------
    send:
        Hands a message to a lane; raises NotSent where the broker didn't confirm it.
    events:
        For each event stream, what reads an event of it again; it raises only storage's own errors.
    renew:
        Has the payload behind a claim kept for as long as a new message; raises MessageError where it is gone.
    resolved:
        Called with a dead letter that nothing is to be sent for any more, and whether it was discarded; what it does
        must be safe to repeat.
    is_erased:
        Given a message of a lane and its headers: whether its person was erased since it was accepted.
    payload_hashes:
        Given the digest of what a message says: every form in which the inbox may keep it.
    hashes_of:
        Given an edited message and its headers: its payload's hash as the inbox keeps it, then as it kept it under
        earlier keys; raises MessageError where it breaks its contract.
    """

    def __init__(
        self,
        store: DeadLetterStore,
        inbox: InboxRecords,
        *,
        send: Send,
        events: Mapping[str, ReplayEvent],
        renew: Renew,
        now: Callable[[], datetime],
        resolved: Resolved | None = None,
        is_erased: IsErased | None = None,
        payload_hashes: PayloadHashes | None = None,
        hashes_of: HashesOf | None = None,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._send = send
        self._events = dict(events)
        self._renew = renew
        self._now = now
        self._resolved = resolved
        self._is_erased = is_erased
        self._payload_hashes = payload_hashes
        self._hashes_of = hashes_of

    async def plan(self, letter: StoredLetter) -> ReplayPlan:
        """What a replay would do now; nothing is changed."""
        return ReplayPlan(letter, await self._action(letter))

    async def replay(self, letter: StoredLetter, decision: Decision) -> ReplayResult:
        """Play one dead letter again; running it again after a crash goes on where it was."""
        known = await self._store.get(letter.id)
        if known is None:
            return ReplayResult(letter, Action.SKIP_GONE)
        action = await self._action(known)
        if action is Action.CLOSE:
            note = self._note(decision, "closed", "processed already, nothing was sent")
            result = self._result(known, action, await self._decide(known, Status.REPLAYED, note))
            await self._tell(result.letter)
            return result
        if not action.hands_over:
            await self._tell(known)  # who decided may have died before it was reported
            return ReplayResult(known, action)
        taken = await self._take(known, decision)
        if taken is None:
            return ReplayResult(known, Action.SKIP_BUSY)
        return await self._hand_over(taken, action, decision)

    async def discard(self, letter: StoredLetter, decision: Decision) -> ReplayResult:
        """Settle a dead letter for good without replaying it; it stays in the store for its retention."""
        known = await self._store.get(letter.id)
        if known is None:
            return ReplayResult(letter, Action.SKIP_GONE)
        if known.status in (Status.REPLAYED, Status.DISCARDED):
            await self._tell(known)
            return ReplayResult(known, Action.SKIP_RESOLVED)
        if known.status is Status.UNKNOWN:
            return ReplayResult(known, Action.SKIP_UNKNOWN)
        if known.status is Status.REPLAYING and not self._was_left(known):
            return ReplayResult(known, Action.SKIP_BUSY)
        changed = await self._decide(known, Status.DISCARDED, self._note(decision, "discarded"))
        if changed is not None and known.status is Status.REPLAYING:
            await self._close_inbox(known)
        result = self._result(known, Action.CLOSE, changed)
        await self._tell(result.letter)
        return result

    async def archive(self, letter: StoredLetter, decision: Decision, *, until: datetime) -> ReplayResult:
        """Put a dead letter away; until a moment it can be restored, and is discarded after it."""
        known = await self._store.get(letter.id)
        if known is None:
            return ReplayResult(letter, Action.SKIP_GONE)
        if known.status is Status.REPLAYING:
            return ReplayResult(known, Action.SKIP_BUSY)
        if known.status is Status.UNKNOWN:
            return ReplayResult(known, Action.SKIP_UNKNOWN)
        if known.status is not Status.OPEN:
            return ReplayResult(known, Action.SKIP_RESOLVED)
        note = self._note(decision, "archived", f"until {rfc3339(until)}")
        changed = await self._store.change(
            known, status=Status.ARCHIVED, note=note, at=self._now(), archived_until=until
        )
        return self._result(known, Action.ARCHIVE, changed)

    async def restore(self, letter: StoredLetter, decision: Decision) -> ReplayResult:
        """Undo `archive`."""
        known = await self._store.get(letter.id)
        if known is None:
            return ReplayResult(letter, Action.SKIP_GONE)
        if known.status is not Status.ARCHIVED:
            return ReplayResult(known, Action.SKIP_NOT_ARCHIVED)
        if known.archived_until is None or self._now() >= known.archived_until:
            return ReplayResult(known, Action.SKIP_WINDOW)
        note = self._note(decision, "restored")
        return self._result(known, Action.RESTORE, await self._decide(known, Status.OPEN, note))

    async def _tell(self, letter: StoredLetter) -> None:
        """A letter that was refused for its id says nothing of the message whose id it is."""
        decided = letter.status in (Status.REPLAYED, Status.DISCARDED)
        if self._resolved is not None and decided and letter.code != ErrorCode.MESSAGE_ID_CONFLICT:
            await self._resolved(letter, letter.status is Status.DISCARDED)

    async def outcome(self, letter: StoredLetter) -> ReplayOutcome:
        """What became of a message that `replay` handed over."""
        known = await self._store.get(letter.id)
        if known is not None and known.status is Status.OPEN:
            return ReplayOutcome.FAILED
        if letter.source in self._events:
            return ReplayOutcome.DONE
        row = await self._inbox_row(letter)
        return ReplayOutcome.DONE if row is not None and row["status"] == "done" else ReplayOutcome.PENDING

    async def _action(self, letter: StoredLetter) -> Action:
        if letter.code == ErrorCode.SUBJECT_ERASED:
            return Action.SKIP_ERASED
        if letter.status in (Status.REPLAYED, Status.DISCARDED):
            return Action.SKIP_RESOLVED
        if letter.status is Status.ARCHIVED:
            return Action.SKIP_ARCHIVED
        if letter.status is Status.UNKNOWN:
            return Action.SKIP_UNKNOWN
        if letter.status is Status.REPLAYING and not self._was_left(letter):
            return Action.SKIP_BUSY
        if letter.source in self._events:
            return Action.PROJECT
        if _lane(letter) is None:
            return Action.SKIP_NOWHERE
        if letter.code == ErrorCode.MESSAGE_ID_CONFLICT:
            return Action.SKIP_CONFLICT
        row = await self._inbox_row(letter)
        if row is None or row["status"] != "done":
            return Action.SKIP_ERASED if await self._concerns_erased(letter) else Action.SEND
        return Action.CLOSE if await self._is_same_payload(letter, row) else Action.SKIP_CONFLICT

    async def _concerns_erased(self, letter: StoredLetter) -> bool:
        if self._is_erased is None:
            return False
        try:
            made = await self._store.outgoing(letter)
            return await self._is_erased(delivery_of(letter, made), Headers.from_properties(made.properties))
        except (MessageError, LookupError):  # it can't be read: its replay says so
            return False

    async def _is_same_payload(self, letter: StoredLetter, row: Row) -> bool:
        """Whether what was done under the id is this message; without a payload at hand it can't be decided."""
        if letter.edited:
            try:
                hashes = await self._edited_hashes(letter, await self._store.outgoing(letter))
            except (MessageError, LookupError):
                return False
            return any(form.is_in(row) for form in hashes)
        if letter.claim is not None or letter.event_type is None:
            return False
        try:
            data = parse_strict(await self._store.message(letter))["data"]
            known = payload_hash(letter.event_type, str(letter.properties.get("version")), data)
        except (MessageError, KeyError, TypeError, LookupError):
            return False
        return any(form.is_in(row) for form in await stored_hashes(known, self._payload_hashes))

    async def _edited_hashes(self, letter: StoredLetter, made: Outgoing) -> Sequence[PayloadHash]:
        if self._hashes_of is None:
            raise LookupError("an edited message can't be read here")
        return await self._hashes_of(delivery_of(letter, made), Headers.from_properties(made.properties))

    async def _take(self, letter: StoredLetter, decision: Decision) -> StoredLetter | None:
        left = letter.status is Status.REPLAYING
        note = self._note(decision, "resumed" if left else "replay")
        number = letter.replays if left else letter.replays + 1
        return await self._decide(letter, Status.REPLAYING, note, replays=number)

    async def _hand_over(self, taken: StoredLetter, action: Action, decision: Decision) -> ReplayResult:
        try:
            made = await self._store.outgoing(taken)
            if action is Action.PROJECT:
                await self._events[taken.source](taken, made.body)
            else:
                await self._send_to_lane(taken, made)
        except asyncio.CancelledError:
            await self._give_back(taken, decision, "stopped by the operator")
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            given_back = await self._give_back(taken, decision, why)
            return ReplayResult(given_back, _failed(error), why)
        changed = await self._decide(taken, Status.REPLAYED, None)
        return ReplayResult(changed or taken, action)  # None: it has failed again already, and is open

    async def _give_back(self, taken: StoredLetter, decision: Decision, why: str) -> StoredLetter:
        """Open it as before; where the store is away too, the next replay takes it over in time."""
        with suppress(Exception):  # nothing is worse than before: a record that says `replaying`
            changed = await self._decide(taken, Status.OPEN, self._note(decision, "not handed over", why))
            if changed is not None:
                await self._close_inbox(taken)
                return changed
        return taken

    async def _send_to_lane(self, letter: StoredLetter, made: Outgoing) -> None:
        lane = _lane(letter)
        if lane is None:
            raise LookupError(f"no lane for {letter.source}")
        edited = (await self._edited_hashes(letter, made))[0] if letter.edited else None
        if (claim := made.properties.get("claim")) is not None:
            await self._renew(str(claim))
        if letter.message_id is not None and letter.key is not None:
            await self._inbox.reopen(letter.message_id, letter.key, replay=letter.replays, payload_hash=edited)
        await self._send(lane, replay_message(letter, made, now=self._now()))

    async def _close_inbox(self, letter: StoredLetter) -> None:
        if letter.message_id is not None and letter.key is not None:
            await self._inbox.close(letter.message_id, letter.key, replay=letter.replays)

    async def _inbox_row(self, letter: StoredLetter) -> Row | None:
        if letter.message_id is None or letter.key is None:
            return None
        return await self._inbox.find(letter.message_id, letter.key)

    def _was_left(self, letter: StoredLetter) -> bool:
        return self._now() - letter.changed_at > TAKE_OVER_AFTER

    async def _decide(
        self, letter: StoredLetter, status: Status, note: Note | None, *, replays: int | None = None
    ) -> StoredLetter | None:
        return await self._store.change(letter, status=status, note=note, at=self._now(), replays=replays)

    def _note(self, decision: Decision, action: str, more: str | None = None) -> Note:
        reason = f"{decision.reason} ({more})" if more else decision.reason
        return Note(at=self._now(), action=action, by=decision.by, reason=reason)

    def _result(self, known: StoredLetter, action: Action, changed: StoredLetter | None) -> ReplayResult:
        return ReplayResult(known, Action.SKIP_BUSY) if changed is None else ReplayResult(changed, action)


def delivery_of(letter: StoredLetter, made: Outgoing) -> Delivery:
    """A message of a dead letter as a trigger would hand it over."""
    return Delivery(
        body=made.body,
        properties=made.properties,
        message_id=letter.message_id or "",
        sequence_number=0,
        delivery_count=letter.attempts,
    )


def replay_message(letter: StoredLetter, made: Outgoing, *, now: datetime) -> BrokerMessage:
    """The message of a replay: the same logical id, properties, claim and body, under a broker id of its own.

    Attempts and the time they may take begin anew. The broker id differs by the number of the replay, or duplicate
    detection would drop it in silence.
    """
    anew = {"attempt": 1, "firstAttemptAt": now.astimezone(UTC).isoformat(), "replay": letter.replays}
    properties = {str(name): value for name, value in {**made.properties, **anew}.items()}
    name = (letter.message_id or "").partition("#")[0]
    return broker_message(
        made.body,
        broker_id=f"{name if 0 < len(name) <= _BROKER_ID_LIMIT else letter.id}#r{letter.replays}",
        properties=properties,
        session_id=letter.key if letter.lane == Lane.ORDERED else None,
    )


def _failed(error: Exception) -> Action:
    match error:
        case NotSent():
            return Action.UNREACHABLE
        case MessageError() | LookupError() | ValueError() | TypeError():
            return Action.FAILED
        case _:
            return Action.NO_ANSWER


def _lane(letter: StoredLetter) -> Lane | None:
    try:
        return Lane(letter.lane) if letter.lane is not None else None
    except ValueError:
        return None
