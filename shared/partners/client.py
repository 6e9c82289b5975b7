"""One partner in this process: every try of a call, and what each answer means."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from opentelemetry.trace import SpanKind

from shared.resilience import RetryBudget
from shared.telemetry import Metrics, span

from .errors import (
    InvalidAnswer,
    OutcomeUnknown,
    PartnerError,
    PartnerFailed,
    PartnerRefused,
    PartnerThrottled,
    PartnerUnavailable,
)
from .partner import Partner
from .retry_after import retry_after
from .sessions import Received, Request, Session

__all__ = ["Caller", "Client", "Surroundings"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""What may be repeated whatever became of it (RFC 9110, 9.2.2)."""
_LEAST_SECONDS = 0.001
RETRY_SHARE = 0.2
RETRY_RESERVE = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """The message that a call is made for.

    Attributes
    ----------
    deadline:
        Until when its handler may run, on the loop's clock.
    batch:
        Whether nobody waits for it: such calls leave the others a share.
    """

    message_id: UUID
    correlation_id: str
    bucket: int
    deadline: float
    batch: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """Time and chance: `clock` is the loop's, in seconds; `random` returns 0 … 1."""

    clock: Callable[[], float]
    now: Callable[[], datetime]
    random: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Client:
    """Calls one partner at one base URL."""

    def __init__(self, partner: Partner, session: Session, around: Surroundings) -> None:
        self.partner = partner
        self._session = session
        self._around = around
        self._budgets = {
            critical: RetryBudget(share=RETRY_SHARE, reserve=RETRY_RESERVE, trickle=0.1, clock=around.clock)
            for critical in (True, False)
        }

    async def call(self, request: Request, caller: Caller, *, repeatable: bool, critical: bool) -> Received:
        """The answer to a request: a good one, after as many tries as time, plan and budget allow.

        Parameters
        ----------
        repeatable:
            Whether the partner does it once, however often it is asked.
        critical:
            Its retries are paid from the budget for critical calls.

        Raises
        ------
        PartnerError, PartnerUnavailable
        """
        budget = self._budgets[critical]
        budget.earn()
        began = self._around.clock()
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._try(request, caller, attempt)
            except (PartnerFailed, PartnerThrottled) as error:
                if not (repeatable or request.method in _SAFE or _was_refused(error)):
                    reason = f"{error.reason}; it may have been done, and must not be asked for twice"
                    raise OutcomeUnknown(self.partner.name, request.endpoint, reason, status=error.status) from error
                now = self._around.clock()
                delay = self.partner.retry.delay(
                    attempt, elapsed=now - began, random=self._around.random, asked=error.after
                )
                # Another try must have its whole time: else the message comes again, and this wait isn't for nothing.
                if delay is None or now + delay + self.partner.timeouts.total > caller.deadline or not budget.spend():
                    raise
            await self._around.sleep(delay)

    async def _try(self, request: Request, caller: Caller, attempt: int) -> Received:
        partner, name = self.partner, self.partner.name
        left = caller.deadline - self._around.clock()
        if left < _LEAST_SECONDS:
            raise PartnerUnavailable(name, request.endpoint, "the message's time is over", after=0.0)
        began = self._around.clock()
        outcome = "cancelled"
        attributes: dict[str, str | int] = {
            "sluice.partner": name,
            "sluice.partner.endpoint": request.endpoint,
            "http.request.method": request.method,
            "http.request.resend_count": attempt - 1,
        }
        try:
            with span("partner call", kind=SpanKind.CLIENT, attributes=attributes):
                answer = await self._session.send(request, seconds=min(left, partner.timeouts.total))
                self._check(request, answer)
            outcome = "done"
        except PartnerError as error:
            outcome = _OUTCOMES[type(error)]
            raise
        finally:
            seconds = self._around.clock() - began
            Metrics.partner_calls.add(partner=name, endpoint=request.endpoint, outcome=outcome)
            Metrics.partner_duration.record(seconds, partner=name, endpoint=request.endpoint)
        return answer

    def _check(self, request: Request, answer: Received) -> None:
        """Raise what an answer's status means; a good one means nothing."""
        status = answer.status
        if 200 <= status < 300:
            return
        kind: type[PartnerError] = PartnerRefused
        if status in (429, 503):
            kind = PartnerThrottled
        elif status >= 500 or status in (408, 409, 425):
            kind = PartnerFailed
        raise kind(
            self.partner.name,
            request.endpoint,
            f"answered {status}",
            status=status,
            after=retry_after(answer.headers, now=self._around.now()) if kind is not PartnerRefused else None,
            body=answer.body,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


_OUTCOMES: dict[type[PartnerError], str] = {
    PartnerFailed: "failed",
    PartnerThrottled: "throttled",
    PartnerRefused: "refused",
    InvalidAnswer: "invalid",
}


def _was_refused(error: PartnerError) -> bool:
    """Whether the partner certainly hasn't done it: it never came, or came too often."""
    return not error.sent or error.status in (425, 429)
