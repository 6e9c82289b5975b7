"""Change capture from PostgreSQL: a job for each database that an integration declares."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from functions.triggers import AppName
from shared.environment import WrongSettings
from shared.health import Check, Degraded
from shared.jobs import Job, JobRun
from shared.partners import StateRow
from shared.postgresql import (
    Capturing,
    ChangeRecord,
    Postgresql,
    ServerAddress,
    Session,
    SlotLost,
    lsn_text,
    opened,
)
from shared.postgresql.settings import CaptureSettings
from shared.streams import StreamEvent
from shared.telemetry import Metrics

from .capability import Capability, Command
from .changes import change_consumer
from .claims import CLAIMS
from .composition import Composition
from .dead_letters import DEAD_LETTER_BODIES, DEAD_LETTERS
from .declaring import Access, Need, Vault
from .encryption import KEY_NEEDS
from .platform import platform
from .secrets import secret_cache
from .sending import to_lanes
from .state import STATE, state_store

__all__ = ["capability", "capture_row", "session_with"]

APP = AppName.STREAMS
"""Where changes of other sources are read too."""
_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
"""Azure Database for PostgreSQL takes a token for this as the password of the identity's user."""
_ROW_SECONDS = 10.0


def capture_row(composition: Composition, name: str) -> StateRow:
    """Where a capture's position is kept."""
    return StateRow(composition.get(state_store), f"capture:{name}", seconds=_ROW_SECONDS)


def session_with(
    composition: Composition, source: Postgresql, address: ServerAddress
) -> AbstractAsyncContextManager[Session]:
    """A session with a database, closed by whoever asks."""

    async def password() -> str | None:
        if source.password is not None:
            return (await composition.get(secret_cache).get(source.password)).value
        if address.local:
            return None
        token, _ = await composition.get(platform).token(_SCOPE)
        return token

    return opened(address, password)


def capability(composition: Composition) -> Capability:
    """Jobs, probes of their slots, and the command that shows and resets positions; nothing without a declaration.

    Raises
    ------
    ValueError
        A table's changes are handled by nobody, two databases have one name, or a setting names one that nobody
        declares.
    """
    found = composition.registry.declared(Postgresql)
    addresses = composition.settings.databases()
    names = [one.name for one in found]
    wrong = [
        f"the database {name} is declared twice" for name in sorted({one for one in names if names.count(one) > 1})
    ]
    wrong += [
        f"the database {source.name} captures {table}, whose changes nobody handles"
        for source in found
        for table in source.tables
        if composition.registry.changes((f"{source.name}.{table}", table)) is None
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
    if unknown := sorted(set(addresses) - set(names)):
        raise WrongSettings(f"Wrong settings: SLUICE_CAPTURE_URLS: nobody declares the database {', '.join(unknown)}")
    command = Command(name="captures", summary="show how far changes were captured, or reset it", module="ops.captures")
    variables = list(CaptureSettings.variables())
    if not found:
        return Capability(name="capturing", metrics=[Metrics.capture_lag], commands=[command], settings=variables)
    jobs = [_job(composition, source, addresses.get(source.name)) for source in found]
    by = [job.name for job in jobs]
    return Capability(
        name="capturing",
        jobs=jobs,
        probes={
            f"slot-{source.name}": _probe(composition, source, addresses[source.name])
            for source in found
            if source.name in addresses
        },
        metrics=[Metrics.capture_lag],
        commands=[command],
        settings=variables,
        needs=[
            *to_lanes("Captured changes are put here, on the ordered lane.", by=by),
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps large captured changes.", by=by),
            Need(access=Access.WRITE, to=STATE, why="Keeps how far each capture has come.", by=by),
            Need(access=Access.WRITE, to=DEAD_LETTERS, why="Records captured messages that are no changes.", by=by),
            Need(access=Access.WRITE, to=DEAD_LETTER_BODIES, why="Keeps their bodies.", by=by),
            *(
                [Need(access=Access.SECRETS, to=Vault(), why="Reads the passwords of databases.")]
                if any(source.password for source in found)
                else []
            ),
            *KEY_NEEDS,
        ],
    )


def _job(composition: Composition, source: Postgresql, address: ServerAddress | None) -> Job:
    async def send(records: Sequence[ChangeRecord]) -> None:
        await composition.get(change_consumer).apply([_event(source, one) for one in records])

    async def call(run: JobRun) -> bool | None:
        if address is None:
            return None  # the stage has no such database
        capturing = Capturing(
            source.name,
            source.tables,
            address.database,
            lambda: session_with(composition, source, address),
            capture_row(composition, source.name),
            send,
            run.time_left,
            slot=source.slot,
            publication=source.slot,
            follow=source.follow,
            named=_named(composition, source),
            handles=lambda prefix: composition.registry.changes(_names(source, address, prefix)) is not None,
        )
        return await capturing.run()

    return Job(name=source.job, app=APP, schedule=source.schedule, call=call)


def _names(source: Postgresql, address: ServerAddress, name: str) -> Sequence[str]:
    """The names by which a table, or the prefix of messages, may be declared."""
    return f"{source.name}.{name}", f"{address.database}.{name}", name


def _named(composition: Composition, source: Postgresql) -> Mapping[str, Sequence[str]]:
    """By table, the spellings of the column by which its changes are handled."""
    handlers = {table: composition.registry.changes((f"{source.name}.{table}", table)) for table in source.tables}
    return {table: one.feed.key for table, one in handlers.items() if one is not None and one.feed is not None}


def _event(source: Postgresql, record: ChangeRecord) -> StreamEvent:
    """As a connector would have written it to the hub; where it is in the log takes the place of where it is there."""
    at = lsn_text(record.position.lsn) if record.position.lsn else record.table
    return StreamEvent(
        body=json.dumps(record.value, ensure_ascii=False, separators=(",", ":")).encode(),
        partition=f"{source.job}:{at}",
        offset=at,
        sequence_number=record.position.number,
        properties={"key": json.dumps(record.key, ensure_ascii=False)},
    )


def _probe(composition: Composition, source: Postgresql, address: ServerAddress) -> Check:
    largest = composition.settings.capture_lag_bytes

    async def ask() -> Mapping[str, Any]:
        async with session_with(composition, source, address) as session:
            slot = await session.slot(source.slot)
        if slot is None:
            if (await capture_row(composition, source.name).read()).values.get("begun"):
                raise SlotLost(f"the slot {source.slot} was dropped: changes are missing, so reset the capture")
            return {"slot": "not made yet"}
        Metrics.capture_lag.set(slot.lag, source=source.name)
        figures = {"behind": f"{slot.lag} bytes", "kept": f"{slot.kept} bytes", "log": slot.status}
        if slot.status == "lost":
            raise SlotLost(f"the server removed the log that the slot {source.slot} needs: reset the capture")
        if slot.lag > largest or slot.status == "unreserved":
            raise Degraded("The slot is far behind: the server keeps its log, and its disk may fill.", figures)
        return figures

    return Check(ask=ask, app=APP, interval=30, timeout=8, threshold=4, weight=0)
