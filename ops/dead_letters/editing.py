"""`dead-letters edit`: from an editor, a file or a patch to what a replay sends."""

import argparse
import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from functions.composition import Composition
from functions.composition.claims import claim_store, decoder
from functions.composition.dead_letters import dead_letter_store
from functions.composition.encryption import message_encryption
from shared.dead_letters import (
    Decision,
    EditOutcome,
    EditRefused,
    EditResult,
    OpenedPayload,
    PayloadEditor,
    StoredLetter,
)
from shared.messages import Headers, MalformedJson, MessageError, parse_strict

from .arguments import order_by
from .choosing import WrongUse, chosen, revealed, some_of
from .rendering import as_json, counted

__all__ = ["edit", "payload_editor"]

_SIDE_BY_SIDE = 16
_SHOWN = 20
_REASONS = 20


def payload_editor(composition: Composition) -> PayloadEditor:
    """Edits dead letters with the app's own contracts, claims and keys."""
    reads = composition.get(decoder)

    async def prepare(headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        if len(body) > composition.settings.claim_threshold_bytes:
            claim = await composition.get(claim_store).put(headers.message_id, body)
            headers = replace(headers, claim=claim.name, claim_sha256=claim.sha256, claim_size=claim.size)
            return replace(headers, claim_encoding=claim.encoding), b""
        encryption = composition.get(message_encryption)
        return (headers, body) if encryption is None else await encryption.encrypt(headers, body)

    return PayloadEditor(
        composition.get(dead_letter_store),
        composition.registry,
        payload=reads.payload,
        prepare=prepare,
        check=reads.decode,
        now=composition.now,
    )


async def edit(known: argparse.Namespace, composition: Composition) -> bool:
    """Edit what a command line names; return whether all of it was edited."""
    run = _Run(known, composition)
    change, letters = run.change(), chosen(known, composition)
    while some := [letter async for letter in some_of(letters, _SIDE_BY_SIDE)]:
        await asyncio.gather(*(run.edit(letter, change) for letter in some))
    known.counts = run.counted()
    sys.stdout.write(run.text() + "\n")
    return run.all_done


Change = Callable[[OpenedPayload], Awaitable[EditResult]]


class _Run:
    """One command line's edits, and what became of each dead letter."""

    def __init__(self, known: argparse.Namespace, composition: Composition) -> None:
        self._known = known
        self._composition = composition
        self._editor = payload_editor(composition)
        self._decision = Decision(by=order_by(known), reason=known.reason or "dry run")
        self._counts: Counter[str] = Counter()
        self._lines: list[dict[str, Any]] = []

    @property
    def all_done(self) -> bool:
        """There was something to edit, and nothing was refused or changed by somebody else."""
        done = sum(self._counts[one] for one in (EditOutcome.EDITED, EditOutcome.VALID, EditOutcome.SAME))
        return 0 < done == len(self._lines)

    def change(self) -> Change:
        """What is done to each payload, as the command line says."""
        known, dry_run = self._known, self._known.dry_run
        if known.original:
            return lambda opened: self._editor.restore(opened.letter, self._decision, dry_run=dry_run)
        file = known.patch or known.payload
        if file is None:
            editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
            if not editor:
                raise WrongUse("set EDITOR to your editor's command, or use --patch or --payload")
            return partial(self._by_hand, editor)
        try:
            read = parse_strict(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
        except OSError as error:
            raise WrongUse(f"{file} can't be read: {error.strerror or error}") from None
        except MalformedJson as error:
            raise WrongUse(f"{file}: {error}") from None
        if known.payload:
            return lambda opened: self._editor.save(opened, read, self._decision, dry_run=dry_run)
        if not isinstance(read, dict | list):
            raise WrongUse(f"{file}: a patch is a list of operations (RFC 6902) or an object (RFC 7396)")
        return lambda opened: self._editor.patch(opened, read, self._decision, dry_run=dry_run)

    async def edit(self, letter: StoredLetter, change: Change) -> None:
        """Edit one dead letter."""
        try:
            if self._known.reveal:
                letter = await revealed(letter, self._decision, self._composition)
            result = await change(await self._editor.open(letter, reveal=self._known.reveal))
        except (EditRefused, LookupError, MessageError) as error:
            self._note(letter, f"refused: {error}")
        else:
            self._note(letter, result.outcome.value, result.paths)

    async def _by_hand(self, editor: str, opened: OpenedPayload) -> EditResult:
        """A text that isn't taken stays where it is, unless it shows what is protected."""
        file = await asyncio.to_thread(_written, opened)
        try:
            changed = parse_strict(await asyncio.to_thread(_edited_by_hand, editor, file))
            result = await self._editor.save(opened, changed, self._decision, dry_run=self._known.dry_run)
        except (EditRefused, MessageError) as error:
            if self._known.reveal:
                raise
            raise EditRefused(f"{error} (your text is in {file}: mend it, and give it with --payload)") from None
        finally:
            if self._known.reveal:
                await asyncio.to_thread(_removed, file)
        if result.outcome is not EditOutcome.CHANGED:
            await asyncio.to_thread(_removed, file)
        return result

    def _note(self, letter: StoredLetter, action: str, paths: tuple[str, ...] = ()) -> None:
        """Of many different reasons the last ones share a line."""
        kept = action in self._counts or len(self._counts) < _REASONS
        self._counts[action if kept else "refused: other reasons"] += 1
        self._lines.append({"id": letter.id, "messageId": letter.message_id, "action": action, "paths": list(paths)})

    def counted(self) -> dict[str, Any]:
        """How many ended how; reasons are left out, since they may name what a message says."""
        counts = Counter[str]()
        for action, count in self._counts.items():
            counts[action.partition(":")[0]] += count
        return {"actions": dict(counts)}

    def text(self) -> str:
        """What is printed."""
        if self._known.json:
            return as_json({"dryRun": self._known.dry_run, "actions": dict(self._counts), "letters": self._lines})
        if not self._lines:
            return "no dead letters match"
        lines = [f"{one['id'][:12]}  {one['action']}  {' '.join(one['paths'][:5])}" for one in self._lines[:_SHOWN]]
        return "\n".join([*lines, "", counted(self._counts)])


def _written(opened: OpenedPayload) -> Path:
    file = Path(tempfile.mkdtemp(prefix="dead-letter-")) / f"{opened.letter.id[:12]}.json"
    file.touch(mode=0o600)
    file.write_text(opened.text, encoding="utf-8")
    return file


def _removed(file: Path) -> None:
    file.unlink(missing_ok=True)
    with suppress(OSError):  # gone already, or the editor left something beside it
        file.parent.rmdir()


def _edited_by_hand(editor: str, file: Path) -> bytes:
    try:
        done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603
    except (OSError, ValueError) as error:
        _removed(file)
        raise WrongUse(f"the editor {editor!r} can't be started: {error}") from None
    if done.returncode != 0:
        _removed(file)
        raise WrongUse(f"the editor ended with {done.returncode}; nothing was changed")
    return file.read_bytes()
