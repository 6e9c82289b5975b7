"""One partner in this process: every try of a call, and what each answer means."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from opentelemetry.trace import SpanKind

from shared.resilience import (
    BoundedCache,
    BreakerOpen,
    BreakerPolicy,
    Permit,
    Result,
    RetryBudget,
    SharedBreaker,
    SharedRow,
)
from shared.telemetry import Metrics, log_event, span

from .authenticators import Authenticators
from .errors import OutcomeUnknown, PartnerError, PartnerFailed, PartnerThrottled, PartnerUnavailable
from .meaning import check, health, was_refused
from .meaning import outcome as name_of
from .partner import Partner
from .sessions import Received, Request, Session

__all__ = ["Caller", "Client", "Surroundings"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""What may be repeated whatever became of it (RFC 9110, 9.2.2)."""
_LEAST_SECONDS = 0.001
RETRY_SHARE = 0.2
RETRY_RESERVE = 10.0
LONGEST_JITTER = 10.0
"""Seconds over which messages that met an open breaker come back, so that they are no wave."""
_FORMER_BYTES = 8 * 1024 * 1024
"""Of answers that are kept for the time when a partner can't be called."""
_MOST_ENDPOINTS = 64
"""Classes of endpoints with a breaker of their own; where a path's first part is an id, the others share one."""


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
    """Time and chance, and what the instances share.

    Attributes
    ----------
    clock:
        The loop's, in seconds.
    random:
        Returns 0 … 1.
    row:
        The shared row of a name; None leaves each instance alone.
    """

    clock: Callable[[], float]
    now: Callable[[], datetime]
    random: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    row: Callable[[str], SharedRow] | None = None


class Client:
    """Calls one partner at one base URL.

    Parameters
    ----------
    name:
        The partner's, with its target's where it has several: breakers are shared under it.
    """

    def __init__(
        self,
        partner: Partner,
        name: str,
        policy: BreakerPolicy | None,
        session: Session,
        authenticators: Authenticators,
        around: Surroundings,
    ) -> None:
        self.partner = partner
        self._name = name
        self._policy = policy
        self._session = session
        self._authenticators = authenticators
        self._around = around
        self._former: BoundedCache[Hashable, tuple[Received, float]] = BoundedCache(
            _FORMER_BYTES, size=lambda kept: len(kept[0].body) + 1_000, clock=around.clock
        )
        self._breakers: dict[str, SharedBreaker] = {}
        self._budgets = {
            critical: RetryBudget(share=RETRY_SHARE, reserve=RETRY_RESERVE, trickle=0.1, clock=around.clock)
            for critical in (True, False)
        }

    async def call(
        self, request: Request, caller: Caller, *, repeatable: bool, critical: bool, is_first: bool = True
    ) -> Received:
        """The answer to a request: a good one, after as many tries as time, plan and budget allow.

        Parameters
        ----------
        repeatable:
            Whether the partner does it once, however often it is asked.
        critical:
            Its retries are paid from the budget for critical calls.
        is_first:
            Of its message's run: it is begun only where all of its agreed time is left.

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
                return await self._try(request, caller, attempt, is_first=is_first)
            except (PartnerFailed, PartnerThrottled) as error:
                if not (repeatable or request.method in _SAFE or was_refused(error)):
                    reason = f"{error.reason}; it may have been done, and must not be asked for twice"
                    raise OutcomeUnknown(self.partner.name, request.endpoint, reason, status=error.status) from error
                now = self._around.clock()
                if error.status is None and now >= caller.deadline - _LEAST_SECONDS:
                    raise self._out_of_time(request) from error
                delay = self.partner.retry.delay(
                    attempt, elapsed=now - began, random=self._around.random, asked=error.after
                )
                # Another try must have its whole time: else the message comes again, and this wait isn't for nothing.
                if delay is None or now + delay + self.partner.timeouts.total > caller.deadline or not budget.spend():
                    raise
            await self._around.sleep(delay)

    async def _try(self, request: Request, caller: Caller, attempt: int, *, is_first: bool) -> Received:
        partner, name = self.partner, self.partner.name
        left = caller.deadline - self._around.clock()
        if left < (partner.timeouts.total if is_first else _LEAST_SECONDS):
            raise self._out_of_time(request)
        breaker = self._breaker(request.endpoint)
        permit = await self._admitted(breaker, request)
        began = self._around.clock()
        seconds = min(caller.deadline - began, partner.timeouts.total)
        outcome, result, asked = "cancelled", Result.GOOD, None
        attributes: dict[str, str | int] = {
            "sluice.partner": name,
            "sluice.partner.endpoint": request.endpoint,
            "http.request.method": request.method,
            "http.request.resend_count": attempt - 1,
        }
        try:
            with span("partner call", kind=SpanKind.CLIENT, attributes=attributes):
                answer = await self._authenticated(request, began + seconds)
                check(name, request.endpoint, answer, now=self._around.now())
            outcome = "done"
        except PartnerError as error:
            outcome, result, asked = name_of(error), health(error), error.after
            raise
        finally:
            took = self._around.clock() - began
            Metrics.partner_calls.add(partner=name, endpoint=request.endpoint, outcome=outcome)
            Metrics.partner_duration.record(took, partner=name, endpoint=request.endpoint)
            # A call that had less than its agreed time tells nothing where it had no answer.
            cut = outcome == "cancelled" or (result is Result.FAILED and took >= seconds < partner.timeouts.total)
            if breaker is not None and permit is not None and not cut:
                await breaker.record(permit, result, took=took, asked=asked)
        return answer

    def _out_of_time(self, request: Request) -> PartnerUnavailable:
        reason = "the time of its batch is over"
        return PartnerUnavailable(self.partner.name, request.endpoint, reason, after=0.0)

    async def _authenticated(self, request: Request, deadline: float) -> Received:
        """The answer to a request with its proofs; a 401 is met once by a new token or another version of the key."""
        prover = self._authenticators
        if not prover.any:
            return await self._session.send(request, seconds=deadline - self._around.clock())
        proven = await prover.apply(request)
        identity = await prover.identity()
        answer = await self._session.send(proven, seconds=deadline - self._around.clock(), identity=identity)
        if answer.status == 401 and await prover.refused(proven):
            proven = await prover.apply(request)
            answer = await self._session.send(proven, seconds=deadline - self._around.clock(), identity=identity)
        return answer

    async def _admitted(self, breaker: SharedBreaker | None, request: Request) -> Permit | None:
        if breaker is None:
            return None
        try:
            return await breaker.admit()
        except BreakerOpen as refused:
            after = refused.after + self._around.random() * min(LONGEST_JITTER, refused.after + 1)
            reason = f"not called: its breaker is open ({refused.reason})"
            raise PartnerUnavailable(self.partner.name, request.endpoint, reason, after=after) from None

    def _breaker(self, endpoint: str) -> SharedBreaker | None:
        policy = self._policy
        if policy is None:
            return None
        if endpoint not in self._breakers and len(self._breakers) >= _MOST_ENDPOINTS:
            endpoint = "others"
        found = self._breakers.get(endpoint)
        if found is None:
            around, name = self._around, self.partner.name

            def changed(state: str, reason: str) -> None:
                log_event("partner breaker", partner=name, endpoint=endpoint, state=state, reason=reason)
                Metrics.partner_open.set(state == "open", partner=name, endpoint=endpoint)

            found = self._breakers[endpoint] = SharedBreaker(
                policy,
                around.row(f"breaker:{self._name}:{endpoint}") if around.row else None,
                longest=self.partner.timeouts.total,
                clock=around.clock,
                now=around.now,
                random=around.random,
                changed=changed,
            )
        return found

    def remember(self, request: Request, received: Received) -> None:
        """Keep a good answer for the time when the partner can't be called."""
        self._former.put(_place(request), (received, self._around.clock()))

    def former(self, request: Request, *, within: float) -> tuple[Received, float] | None:
        """The last good answer to a GET and its age, unless it is older than so many seconds."""
        found = self._former.get(_place(request)) if request.method == "GET" else None
        if found is None:
            return None
        received, at = found
        age = self._around.clock() - at
        return (received, age) if age <= within else None

    async def close(self) -> None:
        """Close the connections."""
        await self._authenticators.close()
        await self._session.close()


def _place(request: Request) -> Hashable:
    return request.path, tuple(sorted(request.query.items()))
