"""What the app says of its health over HTTP."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from shared.messages import rfc3339

from .component import Component, Status, overall
from .draining import on_terminate
from .monitor import Monitor

__all__ = ["VERSION", "Health", "Identity"]

VERSION = "0.1.0"
_DRAINING = Component(
    name="instance",
    status=Status.UNHEALTHY,
    description="Draining: this instance ends what it has begun, and stops.",
)
_FOR_STRANGERS = {
    Status.HEALTHY: "Answers.",
    Status.DEGRADED: "Impaired.",
    Status.UNHEALTHY: "Can't be reached.",
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What runs: the version of the code, and the release that was deployed; empty where nobody named one."""

    release: str = ""
    version: str = VERSION

    def members(self) -> dict[str, str]:
        """As JSON's members."""
        return {"version": self.version, **({"release": self.release} if self.release else {})}


class Health:
    """Liveness, which asks nothing, and readiness, which says what the monitor knows."""

    def __init__(self, monitor: Monitor, identity: Identity, *, now: Callable[[], datetime]) -> None:
        self._monitor = monitor
        self._identity = identity.members()
        self._now = now
        self._draining = False
        self._listens = False

    def drain(self) -> None:
        """This instance is about to stop: nothing new should be sent to it."""
        self._draining = True

    def alive(self) -> Response:
        """200 as soon as the process answers."""
        return JSONResponse({"status": "Healthy", "timestamp": rfc3339(self._now()), **self._identity})

    async def ready(self, *, details: bool) -> Response:
        """200 when the instance can do most of its work, else 503.

        Parameters
        ----------
        details:
            Say why, and with figures; others learn only how each component is.
        """
        if not self._listens:
            self._listens = True
            on_terminate(self.drain)
        started = time.perf_counter()
        found = await self._monitor.components()
        if self._draining:
            found.append(_DRAINING)
        status = overall(found)
        body = {
            "status": status,
            "timestamp": rfc3339(self._now()),
            "duration": _duration(time.perf_counter() - started),
            **self._identity,
            "components": [_detailed(one) if details else _brief(one) for one in found],
        }
        return JSONResponse(body, status_code=503 if status is Status.UNHEALTHY else 200)


def _detailed(one: Component) -> dict[str, Any]:
    return {"name": one.name, "status": one.status, "description": one.description, "data": dict(one.data)}


def _brief(one: Component) -> dict[str, Any]:
    return {"name": one.name, "status": one.status, "description": _FOR_STRANGERS[one.status]}


def _duration(seconds: float) -> str:
    whole, fraction = divmod(seconds, 1)
    minutes, second = divmod(int(whole), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}.{int(fraction * 10_000_000):07d}"
