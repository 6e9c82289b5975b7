"""The composed API with memory at its edges."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

import pytest

import integrations
from functions.api import build_api
from functions.services import Services
from shared.messages import Registry, discover
from shared.settings import Settings
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


class Running:
    """The app as a sender and a worker see it."""

    def __init__(self, registry: Registry) -> None:
        self.services = Services(Settings.load(ENVIRONMENT), registry)
        self.reset()
        self.asgi = build_api(self.services)

    def reset(self) -> None:
        """Empty edges, and nothing that remembers the ones before."""
        for made in [
            name for name in vars(self.services) if isinstance(getattr(Services, name, None), cached_property)
        ]:
            del vars(self.services)[made]
        self.lanes = MemoryLanes()
        self.state = MemoryState()
        self.claims = MemoryClaims()
        self.views = MemoryViews()
        self.dead_letters = MemoryDeadLetters()
        self.publisher = MemoryPublisher()
        for edge in ("lanes", "state", "claims", "views", "dead_letters", "publisher"):
            vars(self.services)[edge] = getattr(self, edge)

    async def get(self, path: str, **headers: str) -> Answer:
        """Read."""
        return await ask(self.asgi, "GET", path, headers=headers)

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
        return await ask(self.asgi, "POST", path, payload, every)


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The app's own integrations."""
    return discover(integrations)


@pytest.fixture(scope="session")
def composed(registry: Registry) -> Running:
    """The app, put together once."""
    return Running(registry)


@pytest.fixture
def running(composed: Running) -> Running:
    """The app with empty edges."""
    composed.reset()
    return composed
