"""Security events for a SIEM: what was refused because of who sent it, as log lines with the same fields each time.

One line a refusal, up to a bound; what is above it is counted in the next line. No line holds a credential, a
signature, a query or a body.
"""

import logging
import time
from collections.abc import Callable
from enum import StrEnum

from shared.resilience import TokenBucket
from shared.telemetry import log_event

__all__ = ["SecurityEvent", "SecurityEvents", "security_event"]

_BURST, _A_SECOND = 20, 5
_LONGEST = 200


class SecurityEvent(StrEnum):
    """Why something was refused."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    BAD_SIGNATURE = "bad-signature"
    REFUSED_ADDRESS = "refused-address"


class SecurityEvents:
    """Writes security events, of each kind at most a burst and then so many a second.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, *, burst: float = _BURST, rate: float = _A_SECOND, clock: Callable[[], float]) -> None:
        self._buckets = {kind: TokenBucket(capacity=burst, rate=rate, clock=clock) for kind in SecurityEvent}
        self._left_out = dict.fromkeys(SecurityEvent, 0)

    def __call__(self, kind: SecurityEvent, reason: str, *, method: str = "", path: str = "", client: str = "") -> None:
        """Write one event.

        Parameters
        ----------
        reason:
            In words of ours.
        path:
            Without its query.
        client:
            Who it was, where that is known: the name of a caller who lacks a role.
        """
        if not self._buckets[kind].take():
            self._left_out[kind] += 1
            return
        left_out, self._left_out[kind] = self._left_out[kind], 0
        log_event(
            "security",
            level=logging.WARNING,
            category="security",
            kind=kind.value,
            reason=_printable(reason),
            method=_printable(method),
            path=_printable(path.partition("?")[0]),
            client=_printable(client),
            leftOut=left_out,
        )


def _printable(text: str) -> str:
    """Bounded, and without what would end a line or steer a terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:_LONGEST])


security_event = SecurityEvents(clock=time.monotonic)
"""The process's own."""
