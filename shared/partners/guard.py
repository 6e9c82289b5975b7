"""What stands before a partner: its breakers, its limit, and how many calls run side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.resilience import (
    AdaptiveBulkhead,
    BreakerOpen,
    BreakerPolicy,
    BulkheadFull,
    Limit,
    LimitSpent,
    Permit,
    Result,
    SharedBreaker,
    SharedPace,
    SharedRow,
)
from shared.telemetry import Metrics, log_event

from .errors import PartnerError, PartnerUnavailable
from .meaning import check, health
from .meaning import outcome as name_of
from .partner import Partner
from .retry_after import remaining, retry_after
from .sessions import Received, Request

__all__ = ["Admission", "Caller", "Guard", "Surroundings"]

LONGEST_JITTER = 10.0
"""Seconds over which messages that weren't let through come back, so that they are no wave."""
_MOST_ENDPOINTS = 64
"""Classes of endpoints with a breaker of their own; where a path's first part is an id, the others share one."""
_PROBE_WAIT = 2.0
"""Seconds that a probe may wait for its turn: its lease outlasts its call by five."""
_FULL_SECONDS = 1.0
"""A message that found no place comes back after so long."""
_LEAST_AFTER = 0.25
"""Seconds until a message comes back, at least: one that comes at once, and goes at once, keeps everybody busy."""
_USUAL_PAUSE = 1.0
"""Seconds of peace for a partner that refuses, and doesn't say for how long."""


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


class Admission(NamedTuple):
    """Leave to make one call, to be given back when it has ended."""

    breaker: SharedBreaker | None
    permit: Permit | None
    batch: bool


class Guard:
    """Before one target of a partner.

    Parameters
    ----------
    name:
        The partner's, with its target's where it has several: what instances share is shared under it.
    """

    def __init__(
        self, partner: Partner, name: str, *, breaker: BreakerPolicy | None, limit: Limit | None, around: Surroundings
    ) -> None:
        self._partner = partner
        self._name = name
        self._policy = breaker
        self._around = around
        self._breakers: dict[str, SharedBreaker] = {}
        self._bulkhead = AdaptiveBulkhead(partner.concurrency, clock=around.clock)
        self._pace = (
            None
            if limit is None
            else SharedPace(
                limit,
                around.row(f"limit:{name}") if around.row else None,
                now=around.now,
                random=around.random,
                sleep=around.sleep,
            )
        )

    async def enter(self, request: Request, caller: Caller, *, within: float) -> Admission:
        """Wait until the call may be made, but no longer than so many seconds.

        Raises
        ------
        PartnerUnavailable
            The breaker is open, or neither moment nor place come soon enough.
        """
        endpoint = request.endpoint
        breaker = self._breaker(endpoint)
        permit: Permit | None = None
        ends = self._around.clock() + within
        try:
            if breaker is not None:
                permit = await breaker.admit()
                if permit.probe:
                    ends = min(ends, self._around.clock() + _PROBE_WAIT)
            if not self._bulkhead.enter_now(batch=caller.batch):
                await self._bulkhead.enter(batch=caller.batch, within=ends - self._around.clock())
        except BreakerOpen as refused:
            raise self._open(endpoint, refused) from None
        except BulkheadFull:
            raise self.unavailable(endpoint, "as many calls run as it can take", _FULL_SECONDS) from None
        if self._pace is not None:
            try:  # the moment comes last: a call that waited for a place with its moment would be made too late
                await self.again(request, within=ends - self._around.clock())
            except BaseException:
                self._bulkhead.give_back(batch=caller.batch)
                raise
        return Admission(breaker, permit, caller.batch)

    def check(self, endpoint: str) -> None:
        """Raise PartnerUnavailable where the breaker is known to be open for a while: nothing needs to be prepared."""
        breaker = self._breaker(endpoint)
        if breaker is not None and breaker.is_open:
            try:
                breaker.check()
            except BreakerOpen as refused:
                raise self._open(endpoint, refused) from None

    async def beside(self, endpoint: str, send: Callable[[], Awaitable[Received]]) -> Received:
        """What a call needs of another endpoint: that one's failures are counted by a breaker of its own.

        Raises
        ------
        PartnerUnavailable, PartnerError
        """
        breaker = self._breaker(endpoint)
        try:
            permit = await breaker.admit() if breaker is not None else None
        except BreakerOpen as refused:
            raise self._open(endpoint, refused) from None
        name, began = self._partner.name, self._around.clock()
        failure: PartnerError | None = None
        try:
            answer = await send()
            check(name, endpoint, answer, now=self._around.now())
        except PartnerError as error:
            failure = error
        took = self._around.clock() - began
        Metrics.partner_calls.add(partner=name, endpoint=endpoint, outcome=name_of(failure) if failure else "done")
        Metrics.partner_duration.record(took, partner=name, endpoint=endpoint)
        if breaker is not None and permit is not None:
            result, asked = (health(failure), failure.after) if failure else (Result.GOOD, None)
            await breaker.record(permit, result, took=took, asked=asked)
        if failure is not None:
            raise failure
        return answer

    def _open(self, endpoint: str, refused: BreakerOpen) -> PartnerUnavailable:
        return self.unavailable(endpoint, f"its breaker is open ({refused.reason})", refused.after)

    async def again(self, request: Request, *, within: float) -> None:
        """Wait for the limit's moment of one more request, which has its place.

        Raises
        ------
        PartnerUnavailable
            There is none within so many seconds.
        """
        if self._pace is None:
            return
        try:
            await self._pace.take(within=within)
        except LimitSpent as spent:
            raise self.unavailable(request.endpoint, "its limit is spent", spent.after) from None

    async def leave(
        self,
        admission: Admission,
        *,
        took: float,
        error: PartnerError | None,
        tells: bool,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Give the leave back, and learn from how the call went.

        Parameters
        ----------
        tells:
            Whether the call tells anything: one that was cut short doesn't.
        headers:
            Of a good answer.
        """
        result = Result.GOOD if error is None else health(error)
        asked = None if error is None else error.after
        overloaded = error is not None and (result is Result.REFUSED or error.status in (None, 503)) and tells
        self._bulkhead.exit(batch=admission.batch, overloaded=overloaded and result is not Result.GOOD, took=took)
        if self._pace is not None:
            if result is Result.REFUSED:
                await self._pace.pause(_USUAL_PAUSE if asked is None else asked)
            elif headers is not None and remaining(headers) == 0:
                await self._pace.pause(retry_after(headers, now=self._around.now()) or _USUAL_PAUSE)
        if tells and admission.breaker is not None and admission.permit is not None:
            await admission.breaker.record(admission.permit, result, took=took, asked=asked)

    def unavailable(self, endpoint: str, reason: str, after: float = 0.0) -> PartnerUnavailable:
        """Its message comes again after so long and a little later, never at once."""
        after = max(_LEAST_AFTER, after)
        after += self._around.random() * min(LONGEST_JITTER, after + 1)
        return PartnerUnavailable(self._partner.name, endpoint, f"not called: {reason}", after=after)

    def _breaker(self, endpoint: str) -> SharedBreaker | None:
        if self._policy is None:
            return None
        if endpoint not in self._breakers and len(self._breakers) >= _MOST_ENDPOINTS:
            endpoint = "others"
        found = self._breakers.get(endpoint)
        if found is None:
            around, name = self._around, self._name

            def changed(state: str, reason: str) -> None:
                log_event("partner breaker", partner=name, endpoint=endpoint, state=state, reason=reason)
                Metrics.partner_open.set(state == "open", partner=name, endpoint=endpoint)

            found = self._breakers[endpoint] = SharedBreaker(
                self._policy,
                around.row(f"breaker:{name}:{endpoint}") if around.row else None,
                longest=self._partner.timeouts.total,
                clock=around.clock,
                now=around.now,
                random=around.random,
                changed=changed,
            )
        return found
