"""The vault's own limit: so many requests in ten seconds, then 429."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from local_azure.keyvault.errors import VaultError

__all__ = ["Throttle", "throttled"]

_WINDOW_SECONDS: Final = 10.0


class Throttle:
    """Counts requests in windows of ten seconds, as the service's limits are stated; `now` counts seconds."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        if limit < 1:
            raise ValueError(f"The limit must be at least 1, not {limit}.")
        self._limit = limit
        self._now = now
        self._began = now()
        self._count = 0

    def take(self) -> None:
        """Count one request.

        Raises
        ------
        VaultError
            429 with `Retry-After`, in whole seconds, if there were too many.
        """
        now = self._now()
        if now - self._began >= _WINDOW_SECONDS:
            self._began, self._count = now, 0
        self._count += 1
        if self._count > self._limit:
            raise throttled(max(1, round(self._began + _WINDOW_SECONDS - now)))


def throttled(retry_after: int) -> VaultError:
    """The service's answer to too many requests."""
    message = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
    return VaultError(429, "Throttled", message, headers=(("Retry-After", str(retry_after)),))
