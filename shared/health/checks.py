"""Whether the app is alive, and whether what it needs can be reached."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from shared.messages import rfc3339

__all__ = ["Degraded", "Health", "Probe"]

Probe = Callable[[], Awaitable[None]]

PROBE_SECONDS = 5.0
FRESH_SECONDS = 5.0


class Degraded(Exception):
    """Raised by a probe of something that is away, and whose absence is made up for so far; the message says how."""


class Health:
    """Runs probes side by side, each within five seconds; a result is kept for five, so polling costs little."""

    def __init__(self, probes: Mapping[str, Probe], *, now: Callable[[], datetime]) -> None:
        self._probes = dict(probes)
        self._now = now
        self._checking = asyncio.Lock()
        self._known: tuple[float, list[dict[str, Any]]] | None = None

    def alive(self) -> Response:
        """200 as soon as the process answers."""
        return JSONResponse({"status": "Healthy", "timestamp": rfc3339(self._now())})

    async def ready(self) -> Response:
        """200 when nothing is worse than degraded, else 503; both name what can't be reached."""
        started = time.perf_counter()
        async with self._checking:
            if self._known is None or started - self._known[0] > FRESH_SECONDS:
                components = await asyncio.gather(*(_run(name, probe) for name, probe in self._probes.items()))
                self._known = (time.perf_counter(), list(components))
            components = self._known[1]
        found = {component["status"] for component in components}
        status = next((one for one in ("Unhealthy", "Degraded") if one in found), "Healthy")
        body = {
            "status": status,
            "timestamp": rfc3339(self._now()),
            "duration": _duration(time.perf_counter() - started),
            "components": components,
        }
        return JSONResponse(body, status_code=503 if status == "Unhealthy" else 200)


async def _run(name: str, probe: Probe) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
        status, description = "Healthy", "Reached."
    except Degraded as error:
        status, description = "Degraded", str(error)
    except Exception as error:  # whatever is wrong, it is reported
        status, description = "Unhealthy", f"{type(error).__name__}: can't be reached."
    elapsed = round((time.perf_counter() - started) * 1_000)
    return {"name": name, "status": status, "description": description, "data": {"responseTime": f"{elapsed}ms"}}


def _duration(seconds: float) -> str:
    whole, fraction = divmod(seconds, 1)
    minutes, second = divmod(int(whole), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}.{int(fraction * 10_000_000):07d}"
