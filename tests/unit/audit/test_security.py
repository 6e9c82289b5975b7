"""Security events: the same fields each time, bounded, and without anything that is a secret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from shared.audit import SecurityEvent, SecurityEvents
from shared.authentication import Caller, Role, Unauthenticated
from shared.http import Guarded
from shared.http.operations import Operation, OperationIds
from shared.rotation.events import BadEvent, read_event

ABOUT = {"ObjectType": "Secret", "ObjectName": "s", "Version": "1"}
FIELDS = ["category", "kind", "reason", "method", "path", "client", "leftOut"]


def written(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(one)["fields"] for one in caplog.records if one.message == "security"]


def test_a_flood_is_counted_in_the_next_line(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    note = SecurityEvents(burst=2, rate=1, clock=lambda: clock[0])
    for _ in range(10):
        note(SecurityEvent.UNAUTHENTICATED, "no credential")
    note(SecurityEvent.FORBIDDEN, "no role")
    clock[0] = 1.0
    note(SecurityEvent.UNAUTHENTICATED, "no credential")
    found = written(caplog)
    assert [(one["kind"], one["leftOut"]) for one in found] == [
        ("unauthenticated", 0),
        ("unauthenticated", 0),
        ("forbidden", 0),
        ("unauthenticated", 8),
    ]
    assert all(list(one) == FIELDS and one["category"] == "security" for one in found)


def test_what_a_stranger_chose_is_cut_and_printable(caplog: pytest.LogCaptureFixture) -> None:
    note = SecurityEvents(clock=lambda: 0.0)
    note(
        SecurityEvent.FORBIDDEN, "r", method="GET\n", path=f"/api/\x1b[2J{'x' * 999}?token=hunter2", client="\u202eeve"
    )
    (line,) = written(caplog)
    assert "hunter2" not in str(line)
    assert len(line["path"]) == 200
    assert all(str(value).isprintable() for value in line.values())


async def test_401_and_403_are_events_and_503_is_none(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(*_: Any) -> None:
        raise AssertionError("nobody is let in")

    async def nobody(_: Any) -> Caller:
        raise Unauthenticated("The token has expired.")

    async def reader(_: Any) -> Caller:
        return Caller("shop", frozenset({Role.READER}))

    async def drop(_: Any) -> None: ...

    secret = [(b"authorization", b"Bearer hunter2")]
    scope = {"type": "http", "method": "POST", "path": "/api/messages", "headers": secret, "query_string": b"a=hunter2"}
    for authenticate in (nobody, reader):
        guarded = Guarded(
            answer,
            access=lambda *_: frozenset({Role.PRODUCER}),
            authenticate=authenticate,
            now=lambda: datetime.now(UTC),
        )
        await guarded(dict(scope), drop, drop)  # type: ignore[arg-type]
    found = written(caplog)
    assert [(one["kind"], one["method"], one["path"], one["client"]) for one in found] == [
        ("unauthenticated", "POST", "/api/messages", ""),
        ("forbidden", "POST", "/api/messages", "shop"),
    ]
    assert "hunter2" not in str(found)


def test_a_forged_id_and_a_foreign_vault_are_events(caplog: pytest.LogCaptureFixture) -> None:
    forged = OperationIds("x" * 32).make(Operation(UUID(int=1), 0, "shop"))
    assert OperationIds("k" * 32).read(forged) is None
    assert OperationIds("x" * 32).read(forged) is not None
    with pytest.raises(BadEvent):
        read_event(
            {
                "specversion": "1.0",
                "id": "1",
                "type": "Microsoft.KeyVault.SecretNewVersionCreated",
                "time": "2026-05-01T12:00:00Z",
                "subject": "s",
                "data": {**ABOUT, "Id": "https://evil.example/secrets/s/1"},
            },
            vaults=["https://ours.vault.azure.net"],
            now=datetime(2026, 5, 1, 12, tzinfo=UTC),
        )
    assert [one["kind"] for one in written(caplog)] == ["bad-signature", "refused-address"]
    assert not {"evil", forged} & set(str(written(caplog)).split())
