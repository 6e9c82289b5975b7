"""Edits what a dead letter's message says, so that its replay can succeed: the same message, with another payload.

What came is kept as it came. An edit is decided under the dead letter's ETag: of two operators, or of an edit and a
replay, one wins, and the other has to look again.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.classification import HIDDEN, Plan, redacted
from shared.messages import (
    Delivery,
    ErrorCode,
    Handler,
    Headers,
    MalformedJson,
    MessageError,
    Registry,
    parse_strict,
    rfc3339,
    write_json,
)

from .concealing import Concealed, conceal, restored
from .json_patch import PatchError, at, difference, patched, pointer, steps
from .record import Note, Outgoing, Status, StoredLetter
from .redrive import Decision, delivery_of
from .store import DeadLetterStore

__all__ = ["EditOutcome", "EditRefused", "EditResult", "OpenedPayload", "PayloadEditor"]

_SHOWN_PATHS = 5

Payload = Callable[[Delivery, Headers], Awaitable[bytes]]
Prepare = Callable[[Headers, bytes], Awaitable[tuple[Headers, bytes]]]
Check = Callable[[Delivery, Headers], Awaitable[object]]


class EditRefused(Exception):
    """A dead letter can't be edited now, or not like this; the message says why, and quotes no protected value."""


class EditOutcome(StrEnum):
    """What became of an edit."""

    EDITED = "edited"
    VALID = "would be edited"
    SAME = "skip: nothing would change"
    CHANGED = "skip: it was edited, replayed or discarded meanwhile; look at it again"


@dataclass(frozen=True, slots=True)
class EditResult:
    """A dead letter after an edit, and the paths in its payload that differ now (JSON pointers).

    They end at protected values, which differ as soon as they were written, whatever they were before: who may not see
    them can't find them out by guessing.
    """

    letter: StoredLetter
    outcome: EditOutcome
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenedPayload:
    """A payload to be changed.

    Attributes
    ----------
    document:
        The envelope, parsed, with placeholders unless everything is revealed; None where it isn't JSON.
    """

    letter: StoredLetter
    headers: Headers
    handler: Handler
    clear: bytes
    document: Any
    concealed: Concealed | None

    @property
    def text(self) -> str:
        """What an editor shows."""
        if self.document is None:
            return self.clear.decode("utf-8", "replace")
        return write_json(self.document, indent=2)


class PayloadEditor:
    """Opens payloads of dead letters, and keeps what operators made of them.

    Parameters
    ----------
    payload:
        What a message says, decrypted, from its claim where it has one; raises MessageError.
    prepare:
        The headers and body under which a payload travels: encrypted where its lane is, as a claim where it is large.
    check:
        Reads a message as its lane does; raises MessageError where it breaks its contract, or its person was erased.
    """

    def __init__(
        self,
        store: DeadLetterStore,
        registry: Registry,
        *,
        payload: Payload,
        prepare: Prepare,
        check: Check,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._registry = registry
        self._payload = payload
        self._prepare = prepare
        self._check = check
        self._now = now

    async def open(self, letter: StoredLetter, *, reveal: bool = False) -> OpenedPayload:
        """The payload as a replay would send it now.

        Raises
        ------
        EditRefused
            It is decided, being replayed, an event, or nothing that a handler takes.
        LookupError, MessageError
            Its body or claim is gone, or can't be decrypted.
        """
        _require_editable(letter)
        try:
            headers = Headers.from_properties(letter.properties)
            handler = self._registry.handler(headers.event_type, headers.version)
        except MessageError as error:
            raise EditRefused(f"its payload can't be edited: {error}") from None
        clear = await self._clear(letter, await self._store.outgoing(letter))
        document = _parsed(clear)
        if document is None and self._registry.protects and not reveal:
            document, clear = None, b""  # what is protected in it can't be distinguished from the rest
        concealed = None if reveal or document is None else conceal(document, handler.plan, letter.id)
        shown = document if concealed is None else concealed.document
        return OpenedPayload(letter, headers, handler, clear, shown, concealed)

    async def save(
        self, opened: OpenedPayload, changed: Any, decision: Decision, *, dry_run: bool = False
    ) -> EditResult:
        """Keep a changed document as what a replay sends.

        Raises
        ------
        EditRefused
            It breaks the contract, or is another message: id, type, version and key stay.
        """
        return await self._unless_changed(opened.letter, self._save(opened, changed, decision, dry_run))

    async def _save(self, opened: OpenedPayload, changed: Any, decision: Decision, dry_run: bool) -> EditResult:
        letter = opened.letter
        document = self._restored(opened, changed)
        body = write_json(document).encode("utf-8", "surrogatepass")
        self._require_same_message(opened, document, body)
        before = await self._document(letter)
        patch = difference(before, document) if opened.concealed is None else _as_written(opened, changed, document)
        if not patch:
            return EditResult(letter, EditOutcome.SAME)
        paths = _safe_paths(before, document, opened.handler.plan, patch)
        if dry_run:
            return EditResult(letter, EditOutcome.VALID, paths)
        headers = replace(
            opened.headers, sealed=None, claim=None, claim_sha256=None, claim_size=None, claim_encoding=None
        )
        headers, sent = await self._prepare(headers, body)
        made = Outgoing(sent, {str(name): value for name, value in headers.to_properties().items()})
        try:
            await self._check(delivery_of(letter, made), headers)
        except MessageError as error:
            raise EditRefused(str(error)) from None
        return await self._keep(letter, made, patch, paths, decision)

    async def patch(
        self, opened: OpenedPayload, patch: Any, decision: Decision, *, dry_run: bool = False
    ) -> EditResult:
        """Keep a payload after a patch (a list: RFC 6902, an object: RFC 7396); raises as `save` does."""
        if opened.document is None:
            raise EditRefused("its payload isn't JSON, so no patch fits it: give the whole payload")
        try:
            changed = patched(opened.document, patch)
        except PatchError as error:
            raise EditRefused(str(error)) from None
        return await self.save(opened, changed, decision, dry_run=dry_run)

    async def restore(self, letter: StoredLetter, decision: Decision, *, dry_run: bool = False) -> EditResult:
        """Have a replay send the message as it came; raises as `open` does."""
        return await self._unless_changed(letter, self._restore(letter, decision, dry_run))

    async def _restore(self, letter: StoredLetter, decision: Decision, dry_run: bool) -> EditResult:
        _require_editable(letter)
        if not letter.edited:
            return EditResult(letter, EditOutcome.SAME)
        before, after = await self._document(letter), await self._original(letter)
        paths = _safe_paths(before, after, self._plan(letter), await self._edits(letter))
        if dry_run:
            return EditResult(letter, EditOutcome.VALID, paths)
        return await self._keep(letter, None, difference(before, after), paths, decision)

    async def changes(self, letter: StoredLetter, *, reveal: bool = False) -> list[tuple[str, Any, Any]]:
        """What a replay would send differently from what came: path, value before and after; None: nothing there.

        Protected values are placeholders unless they are revealed; paths are then as in `EditResult`.
        """
        if not letter.edited:
            return []
        before, after = await self._original(letter), await self._document(letter)
        paths = tuple(one["path"] for one in difference(before, after))
        if not reveal:
            plan = self._plan(letter)
            paths = _safe_paths(before, after, plan, await self._edits(letter))
            before, after = _masked(before, plan), _masked(after, plan)
        return [(path, _value(before, path), _value(after, path)) for path in paths]

    async def _unless_changed(self, letter: StoredLetter, result: Awaitable[EditResult]) -> EditResult:
        """Somebody else's edit takes the blob away that this one began with."""
        try:
            return await result
        except LookupError:
            known = await self._store.get(letter.id)
            if known is not None and known.etag == letter.etag:
                raise
            return EditResult(letter, EditOutcome.CHANGED)

    def _plan(self, letter: StoredLetter) -> Plan:
        return self._registry.handler(letter.event_type or "", str(letter.properties.get("version", ""))).plan

    async def _edits(self, letter: StoredLetter) -> list[Mapping[str, Any]]:
        """The operations of every edit."""
        return [one for entry in await self._store.differences(letter) for one in entry["patch"]]

    async def _clear(self, letter: StoredLetter, made: Outgoing) -> bytes:
        return await self._payload(delivery_of(letter, made), Headers.from_properties(made.properties))

    async def _original(self, letter: StoredLetter) -> Any:
        return _parsed(await self._clear(letter, Outgoing(await self._store.body(letter), letter.properties)))

    async def _document(self, letter: StoredLetter) -> Any:
        return _parsed(await self._clear(letter, await self._store.outgoing(letter)))

    def _restored(self, opened: OpenedPayload, changed: Any) -> Any:
        if opened.concealed is None:
            return changed
        try:
            return restored(opened.concealed, changed, opened.handler.plan)
        except PatchError as error:
            raise EditRefused(str(error)) from None

    def _require_same_message(self, opened: OpenedPayload, document: Any, body: bytes) -> None:
        headers, handler = opened.headers, opened.handler
        try:
            parse_strict(body)
            envelope = handler.decode(body)
            key = handler.key_of(envelope.data)
        except MessageError as error:
            raise EditRefused(str(error)) from None
        kept = {
            "messageId": (envelope.message_id, headers.message_id),
            "eventType": (envelope.event_type, headers.event_type),
            "version": (envelope.version, headers.version),
            f"data.{handler.key}": (key, headers.key),
        }
        for name, (now, before) in kept.items():
            if now != before:
                raise EditRefused(f"{name} can't be edited: it would be another message; send that as a new one")

    async def _keep(
        self,
        letter: StoredLetter,
        made: Outgoing | None,
        patch: list[dict[str, Any]],
        paths: tuple[str, ...],
        decision: Decision,
    ) -> EditResult:
        """The patch names everything, and is encrypted where bodies are; the history is not."""
        now = self._now()
        what = "as it came" if made is None else _changed_paths(paths)
        note = Note(at=now, action="edited", by=decision.by, reason=f"{decision.reason} ({what})")
        entry = {"at": rfc3339(now), "by": decision.by, "reason": decision.reason, "patch": patch}
        changed = await self._store.edit(letter, made, entry, note)
        if changed is None:
            return EditResult(letter, EditOutcome.CHANGED)
        return EditResult(changed, EditOutcome.EDITED, paths)


def _require_editable(letter: StoredLetter) -> None:
    if letter.status is Status.REPLAYING:
        raise EditRefused("it is being replayed; if it fails again it is open again, and can be edited then")
    if letter.status is Status.ARCHIVED:
        raise EditRefused("it is archived; restore it first")
    if letter.status is Status.UNKNOWN:
        raise EditRefused("a later release gave it a status that this one doesn't know")
    if letter.status is not Status.OPEN:
        raise EditRefused(f"it was {letter.status.value} already, so that no edit of it would have an effect")
    if letter.lane is None:
        raise EditRefused("it is an event, which others have read as it is: mend what reads it, and replay it")
    if letter.code == ErrorCode.MESSAGE_ID_CONFLICT:
        raise EditRefused("its id belongs to another message; send it under a new id")
    if letter.code == ErrorCode.SUBJECT_ERASED:
        raise EditRefused("the person whom it is about was erased")
    if letter.message_id is None or letter.key is None:
        raise EditRefused("its properties can't be read, so that nothing says which message it is")


def _parsed(body: bytes) -> Any:
    try:
        return parse_strict(body)
    except MalformedJson:
        return None


def _masked(document: Any, plan: Plan) -> Any:
    shown = deepcopy(document)
    if isinstance(shown, dict):
        redacted(plan, shown.get("data"))
    return shown


def _as_written(opened: OpenedPayload, changed: Any, document: Any) -> list[dict[str, Any]]:
    """What was done to a payload with placeholders, with the values: one in a placeholder's place is a change.

    Compared with the value behind the placeholder, it would say whether a guess of it is right.
    """
    patch = difference(opened.document, changed)
    return [one if one["op"] == "remove" else {**one, "value": at(document, steps(one["path"]))} for one in patch]


def _safe_paths(before: Any, after: Any, plan: Plan, edits: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Where two payloads differ, for everybody: no further than a protected value, and at each that an edit wrote."""
    masked = (_masked(before, plan), _masked(after, plan))
    written = (path for one in edits for document in masked if (path := _protected_path(document, one["path"])))
    return tuple(dict.fromkeys([*(one["path"] for one in difference(*masked)), *written]))


def _protected_path(masked: Any, path: str) -> str | None:
    """The protected value that a path leads to, or into; None where it leads to none."""
    whole = steps(path)
    found = (pointer(whole[:count]) for count in range(1, len(whole) + 1))
    return next((one for one in found if _value(masked, one) == HIDDEN), None)


def _value(document: Any, path: str) -> Any:
    try:
        return at(document, steps(path))
    except PatchError:
        return None


def _changed_paths(paths: tuple[str, ...]) -> str:
    more = f", and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    return f"changed {', '.join(path or 'everything' for path in paths[:_SHOWN_PATHS])}{more}"
