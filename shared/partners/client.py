"""One partner in this process: every try of a call, and what each answer means."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

from opentelemetry.trace import SpanKind

from shared.resilience import BoundedCache, RetryBudget
from shared.telemetry import Metrics, span

from .authenticators import Authenticators, Proofs
from .batching import Batches
from .errors import (
    InvalidAnswer,
    OutcomeUnknown,
    PartnerError,
    PartnerFailed,
    PartnerRefused,
    PartnerThrottled,
    PartnerUnavailable,
)
from .guard import Admission, Caller, Guard, Surroundings
from .http_cache import HttpCache, StoredAnswer
from .meaning import check, was_refused
from .meaning import outcome as name_of
from .partner import Partner
from .sessions import Connection, Opened, Received, Request

__all__ = ["Client"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""What may be repeated whatever became of it (RFC 9110, 9.2.2)."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LEAST_SECONDS = 0.001
RETRY_SHARE = 0.2
RETRY_RESERVE = 10.0
_NONE = Proofs()
_FORMER_BYTES = 8 * 1024 * 1024
"""Of answers that are kept for the time when a partner can't be called."""


async def _timed(
    pieces: AsyncIterator[bytes], partner: Partner, endpoint: str, deadline: float, clock: Callable[[], float]
) -> AsyncGenerator[bytes, None]:
    """Pieces none of which takes longer than a call."""
    while True:
        seconds = min(partner.timeouts.total, deadline - clock())
        if seconds < _LEAST_SECONDS:
            raise PartnerFailed(partner.name, endpoint, "no time left", tells=False)
        try:
            async with asyncio.timeout(seconds):
                piece = await anext(pieces, None)
        except TimeoutError:
            tells = seconds >= partner.timeouts.total
            raise PartnerFailed(partner.name, endpoint, f"nothing more within {seconds:.3g} s", tells=tells) from None
        if piece is None:
            return
        yield piece


class Client:
    """Calls one partner at one base URL."""

    def __init__(
        self,
        partner: Partner,
        guard: Guard,
        session: Connection,
        authenticators: Authenticators,
        around: Surroundings,
        *,
        base_url: str = "",
    ) -> None:
        self.partner = partner
        self.base_url = base_url
        self.batches = Batches(partner.name)
        self._cache = HttpCache(partner.cache, key_header=partner.idempotency_header) if partner.cache else None
        self._guard = guard
        self._session = session
        self._authenticators = authenticators
        self._around = around
        self._former: BoundedCache[Hashable, tuple[Received, float]] = BoundedCache(
            _FORMER_BYTES, size=lambda kept: len(kept[0].body) + 1_000, clock=around.clock
        )
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
        made = partial(self._call, caller=caller, repeatable=repeatable, critical=critical, is_first=is_first)
        cache = self._cache
        if cache is None:
            return await made(request)
        if cache.takes(request):
            return await self._cached(cache, request, made)
        answer = await made(request)
        if request.method not in _READING:
            cache.drop(request.path)
        return answer

    def forget(self, request: Request) -> None:
        """An answer turned out to break the contract: it isn't to be used again."""
        if self._cache is not None:
            self._cache.drop(request.path)

    async def _cached(
        self, cache: HttpCache, request: Request, made: Callable[[Request], Awaitable[Received]]
    ) -> Received:
        """An answer that is fresh, or that the partner finds good still, or another; or an old one where it fails."""
        found = cache.find(request)
        asked_at = self._around.now().timestamp()
        if found is not None and found.serves(request, asked_at):
            return found.served(asked_at)
        conditions = found.conditions if found is not None else {}
        try:
            answer = await made(request._replace(headers={**request.headers, **conditions}))
        except (PartnerFailed, PartnerThrottled, PartnerUnavailable):
            now = self._around.now().timestamp()
            if found is None or not found.serves_instead(now):
                raise
            return found.served(now)
        except PartnerRefused as error:
            if found is None or not conditions or error.status != 304:
                raise
            now = self._around.now().timestamp()
            found = found.found_good(error.headers, asked_at=asked_at, received_at=now)
            cache.put(request, found)
            return found.served(now)
        now = self._around.now().timestamp()
        stored = StoredAnswer.of(request, answer, asked_at=asked_at, received_at=now)
        if stored is not None:
            cache.put(request, stored)
        elif found is not None:
            cache.drop(request.path)
        return answer

    async def _call(
        self, request: Request, *, caller: Caller, repeatable: bool, critical: bool, is_first: bool
    ) -> Received:
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
                    raise OutcomeUnknown(self.partner.name, request.endpoint, reason) from error
                now = self._around.clock()
                delay = self.partner.retry.delay(
                    attempt, elapsed=now - began, random=self._around.random, asked=error.after
                )
                # Another try must have its whole time: else the message comes again, and this wait isn't for nothing.
                if delay is None or now + delay + self.partner.timeouts.total > caller.deadline or not budget.spend():
                    raise
            await self._around.sleep(delay)

    async def _admitted(self, request: Request, caller: Caller, *, is_first: bool) -> tuple[Proofs, Admission]:
        """The proofs of a call, and leave to make it."""
        partner = self.partner
        left = caller.deadline - self._around.clock()
        if is_first and left < partner.timeouts.total:
            raise self._guard.unavailable(request.endpoint, "the time of its batch is over")
        proofs = _NONE
        if self._authenticators.any:
            self._guard.check(request.endpoint)
            proofs = await self._authenticators.collect()
            left = caller.deadline - self._around.clock()
            if is_first and left < partner.timeouts.total:
                raise self._guard.unavailable(request.endpoint, "its credential took too long")
        if left < _LEAST_SECONDS:  # the calls before it took it: this counts as an attempt, and doesn't go on for days
            raise PartnerFailed(partner.name, request.endpoint, "no time left", sent=False, tells=False)
        spare = left - partner.timeouts.total if is_first else left
        return proofs, await self._guard.enter(request, caller, within=spare)

    async def _try(self, request: Request, caller: Caller, attempt: int, *, is_first: bool) -> Received:
        partner, name = self.partner, self.partner.name
        proofs, admission = await self._admitted(request, caller, is_first=is_first)
        began = self._around.clock()
        seconds = min(caller.deadline - began, partner.timeouts.total)
        answer: Received | None = None
        waited = 0.0
        failure: PartnerError | None = None
        attributes: dict[str, str | int] = {
            "sluice.partner": name,
            "sluice.partner.endpoint": request.endpoint,
            "http.request.method": request.method,
            "http.request.resend_count": attempt - 1,
        }
        try:
            with span("partner call", kind=SpanKind.CLIENT, attributes=attributes):
                answer, waited = await self._authenticated(request, proofs, seconds)
                if not 200 <= answer.status < 300:
                    check(name, request.endpoint, answer, now=self._around.now())
            return answer
        except PartnerError as error:
            failure = error
            raise
        finally:
            took = self._around.clock() - began - waited
            # A call that had less than its agreed time tells nothing where it had no answer.
            cut = failure is not None and failure.status is None and took >= seconds < partner.timeouts.total
            tells = answer is not None if failure is None else failure.tells and not cut
            headers = answer.headers if answer and failure is None else None
            try:
                outcome = name_of(failure) if failure else "done" if answer else "cancelled"
                Metrics.partner_calls.add(partner=name, endpoint=request.endpoint, outcome=outcome)
                Metrics.partner_duration.record(took, partner=name, endpoint=request.endpoint)
            finally:  # whatever measuring comes to, the place is given back
                await self._guard.leave(admission, took=took, error=failure, tells=tells, headers=headers)

    async def _authenticated(self, request: Request, proofs: Proofs, seconds: float) -> tuple[Received, float]:
        """The answer to a request with its proofs; a 401 is met once by a new token or another version of the key.

        With it the seconds for which not the partner was waited for, but such a key.
        """
        prover, session, clock = self._authenticators, self._session, self._around.clock
        if not prover.any:
            return await session.send(request, seconds=seconds), 0.0
        ends = clock() + seconds
        answer = await session.send(prover.apply(request, proofs), seconds=seconds, identity=proofs.identity)
        if answer.status != 401:
            return answer, 0.0
        asked_at = clock()
        if await prover.refused(proofs):
            proofs = await prover.collect()
            waited = clock() - asked_at
            await self._guard.again(request, within=ends - clock())
            proven = prover.apply(request, proofs)
            answer = await session.send(proven, seconds=ends - clock(), identity=proofs.identity)
            return answer, waited
        return answer, clock() - asked_at

    @asynccontextmanager
    async def stream(self, request: Request, caller: Caller, *, is_first: bool) -> AsyncIterator[Opened]:
        """A good answer whose body is read piece by piece, in one try.

        Its place is taken until the end. A piece may take as long as a call, all of them as long as the message has.

        Raises
        ------
        PartnerError, PartnerUnavailable
            Also from the pieces.
        """
        partner, name, clock = self.partner, self.partner.name, self._around.clock
        proofs, admission = await self._admitted(request, caller, is_first=is_first)
        began = clock()
        seconds = min(caller.deadline - began, partner.timeouts.total)
        ended: float | None = None
        failure: PartnerError | None = None

        @contextmanager
        def noting() -> Iterator[None]:
            """What fails while the stream is used may be another call's: only what is noted here is this one's."""
            nonlocal failure
            try:
                yield
            except PartnerError as error:
                failure = error
                raise

        async def watched(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
            with noting():
                async for piece in pieces:
                    yield piece

        try:
            async with AsyncExitStack() as stack:
                with noting():
                    opened = await self._opened(stack, request, proofs, seconds)
                    ended = clock()
                    check(name, request.endpoint, opened.head, now=self._around.now())
                timed = _timed(opened.pieces, partner, request.endpoint, caller.deadline, clock)
                stack.push_async_callback(timed.aclose)
                pieces = watched(timed)
                stack.push_async_callback(pieces.aclose)
                yield Opened(opened.head, pieces)
        except InvalidAnswer as error:  # whoever reads the pieces finds out what they are
            if failure is None and (error.partner, error.endpoint) == (name, request.endpoint):
                failure = error
            raise
        finally:
            took = (clock() if ended is None else ended) - began
            cut = ended is None and took >= seconds < partner.timeouts.total  # as of a call that isn't streamed
            tells = ended is not None if failure is None else failure.tells and not cut
            try:
                outcome = name_of(failure) if failure else "cancelled" if ended is None else "done"
                Metrics.partner_calls.add(partner=name, endpoint=request.endpoint, outcome=outcome)
                Metrics.partner_duration.record(took, partner=name, endpoint=request.endpoint)
            finally:
                await self._guard.leave(admission, took=took, error=failure, tells=tells)

    async def _opened(self, stack: AsyncExitStack, request: Request, proofs: Proofs, seconds: float) -> Opened:
        prover, session, clock = self._authenticators, self._session, self._around.clock
        ends = clock() + seconds
        proven = prover.apply(request, proofs)
        opened = await stack.enter_async_context(session.stream(proven, seconds=seconds, identity=proofs.identity))
        if opened.head.status == 401 and prover.any and await prover.refused(proofs):
            proofs = await prover.collect()
            await self._guard.again(request, within=ends - clock())
            proven, left = prover.apply(request, proofs), ends - clock()
            opened = await stack.enter_async_context(session.stream(proven, seconds=left, identity=proofs.identity))
        return opened

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await self._around.sleep(seconds)

    def has_time(self, caller: Caller, seconds: float) -> bool:
        """Whether a message has so many seconds left, and a call's beside."""
        return self._around.clock() + seconds + self.partner.timeouts.total <= caller.deadline

    def remember(self, asked: Hashable, received: Received) -> None:
        """Keep a good answer for the time when the partner can't be called.

        Parameters
        ----------
        asked:
            All of the handler's request that an answer depends on.
        """
        self._former.put(asked, (received, self._around.clock()))

    def former(self, asked: Hashable, *, within: float) -> tuple[Received, float] | None:
        """The last good answer to what was asked and its age, unless it is older than so many seconds."""
        found = self._former.get(asked)
        if found is None:
            return None
        received, at = found
        age = received.age + self._around.clock() - at
        return (received, age) if age <= within else None

    async def close(self) -> None:
        """Close the connections."""
        await self.batches.close()
        await self._authenticators.close()
        await self._session.close()
