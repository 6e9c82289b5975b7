"""The composed API with memory at its edges."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from copy import copy
from datetime import UTC, datetime
from typing import Any

import pytest

import integrations
from functions.composition import CAPABILITIES, Composition
from functions.composition.api import gathered_app
from functions.composition.capabilities import SETTINGS
from functions.composition.claims import claim_store
from functions.composition.dead_letters import dead_letter_store
from functions.composition.health import reports
from functions.composition.limits import limits_table
from functions.composition.pausing import pause_table
from functions.composition.read_models import read_models
from functions.composition.sending import lane_senders, publisher
from functions.composition.state import state_store
from shared.health import Reports
from shared.messages import Registry, discover
from shared.tables import MemoryTable
from tests.unit.asgi import Answer, ask
from tests.unit.memory import MemoryClaims, MemoryDeadLetters, MemoryLanes, MemoryPublisher, MemoryState, MemoryViews

ENVIRONMENT = {
    "ServiceBus": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "EventHubs": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "State": "UseDevelopmentStorage=true",
    "Claims": "UseDevelopmentStorage=true",
    "SLUICE_OPERATION_KEY": "not-a-secret-but-thirty-two-long!",
    "SLUICE_AUTH": "none",
    "SLUICE_STATE_BUCKETS": "4",
    "SLUICE_CLAIM_THRESHOLD_BYTES": "16384",
    "SLUICE_MAX_BODY_BYTES": "2000000",
    "SLUICE_HANDLER_TIMEOUT_SECONDS": "2",
}


Parts = Mapping[Any, Any]


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


class Running:
    """The app as a sender and a worker see it, with memory at its edges.

    Parameters
    ----------
    parts:
        More parts to use instead of making them, by the function that would.
    """

    def __init__(
        self,
        registry: Registry,
        environment: Mapping[str, str] = ENVIRONMENT,
        parts: Parts | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.lanes = MemoryLanes()
        self.state = MemoryState()
        self.claims = MemoryClaims()
        self.views = MemoryViews()
        self.dead_letters = MemoryDeadLetters()
        self.publisher = MemoryPublisher()
        self.reported = MemoryTable("health")
        self._registry = registry
        self._environment = environment
        self._now = now
        self._start(parts or {})

    def _start(self, parts: Parts) -> None:
        edges: dict[Any, Any] = {
            lane_senders: self.lanes,
            state_store: self.state,
            pause_table: MemoryTable("state"),
            limits_table: MemoryTable("limits"),
            claim_store: self.claims,
            read_models: self.views,
            dead_letter_store: self.dead_letters,
            publisher: self.publisher,
        }
        settings = SETTINGS.load(self._environment)
        clock = {} if self._now is None else {"now": self._now}
        edges[reports] = Reports(self.reported, now=self._now or utc_now)
        self.composition = Composition(settings, self._registry, parts={**edges, **parts}, **clock)
        self.asgi = gathered_app(self.composition, [make(self.composition) for make in CAPABILITIES])

    def another(self, parts: Parts | None = None) -> Running:
        """An instance that has just started, on the same edges."""
        found = copy(self)
        found._start(parts or {})
        return found

    async def get(self, path: str, **headers: str) -> Answer:
        """Read; what is behind a question mark is the query."""
        path, _, query = path.partition("?")
        return await ask(self.asgi, "GET", path, headers=headers, query=query)

    async def post(
        self,
        path: str,
        body: bytes | dict[str, Any] | list[Any] | AsyncIterator[bytes],
        headers: dict[str, str] | None = None,
        *,
        kind: str | None = "application/json",
    ) -> Answer:
        """Send; `kind` is the content type, None leaves it out."""
        payload = json.dumps(body).encode() if isinstance(body, dict | list) else body
        every = dict(headers or {})
        if kind is not None:
            every["Content-Type"] = kind
        if isinstance(payload, bytes):
            every.setdefault("Content-Length", str(len(payload)))
        path, _, query = path.partition("?")
        return await ask(self.asgi, "POST", path, payload, every, query=query)


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The app's own integrations."""
    return discover(integrations)


@pytest.fixture
def running(registry: Registry) -> Running:
    """The app with empty edges."""
    return Running(registry)
