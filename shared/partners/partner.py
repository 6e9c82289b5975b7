"""What an integration says of a partner: where it is, how long it may take, and how calls to it fail well.

The defaults stand here, and nowhere else.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from shared.messages import Declaration
from shared.resilience import BreakerPolicy, Concurrency, Limit, RetryPlan

from .auth import Authentication
from .errors import UnknownTarget

if TYPE_CHECKING:
    from .polling import Poll, Polled

__all__ = ["Partner", "PartnerModel", "Pool", "Target", "Timeouts", "check_base_url", "has_address"]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
RETRY = RetryPlan(max_attempts=3, base=1.0, cap=8.0, max_total=60.0)
"""Tries of one call, unless its partner says otherwise."""
BREAKER = BreakerPolicy()
"""5 failures in a row, or half of at least 20 calls of the last minute, open it for a minute at first."""
CONCURRENCY = Concurrency()
"""100 calls side by side in each process, as many as connections, and fewer while the partner has too much to do."""
LONGEST_CALL = 200.0
"""Seconds: with its commit, a call of this length still fits into 0.8 of the longest lock, 5 minutes."""


class PartnerModel(BaseModel):
    """Base of what a partner's requests and answers look like.

    It stays at the boundary: a handler saves, publishes and sends models of its own, so that a partner's change ends
    here. Fields that nobody agreed on are tolerated.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Bounds of one try, in seconds.

    Parameters
    ----------
    total:
        From the request to the last byte of the answer, as agreed with the partner. The lanes' locks follow from it.
    connect:
        Until there is a connection.
    """

    total: float = 10.0
    connect: float = 5.0

    def __post_init__(self) -> None:
        _check("timeouts.total", self.total, 0.01, LONGEST_CALL)
        _check("timeouts.connect", self.connect, 0.01, LONGEST_CALL)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The connections of one process.

    Parameters
    ----------
    connections:
        At most so many; who wants more waits.
    idle:
        Seconds after which an unused one is closed.
    lifetime:
        Seconds after which all are made anew, so that a change of the partner's address is followed.
    """

    connections: int = 100
    idle: float = 120.0
    lifetime: float = 3_600.0

    def __post_init__(self) -> None:
        _check("pool.connections", self.connections, 1, 1_000)
        _check("pool.idle", self.idle, 0, 3_600)
        _check("pool.lifetime", self.lifetime, 0.01, 86_400)


@dataclass(frozen=True, eq=False)
class Target:
    """One of several places of a partner: for a region, a tier or a customer, with keys and bounds of its own.

    Parameters
    ----------
    name:
        In settings (`carrier.eu=https://…`) and breakers.
    region, tier, customer:
        Whom it is for. A call goes to the target with which it agrees in most of them; what a target doesn't name, it
        is for all of.
    auth, breaker, limit:
        In place of the partner's.
    """

    name: str
    _: KW_ONLY
    base_url: str = ""
    region: str | None = None
    tier: str | None = None
    customer: str | None = None
    auth: tuple[Authentication, ...] | None = None
    breaker: BreakerPolicy | None = None
    limit: Limit | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"Target({self.name!r}): use lower-case letters, digits and hyphens")
        if self.base_url:
            check_base_url(self.name, self.base_url)

    def fit(self, region: str | None, tier: str | None, customer: str | None) -> int:
        """In how many it agrees; -1 where it is for somebody else."""
        pairs = ((self.customer, customer), (self.tier, tier), (self.region, region))
        if any(own is not None and own != given for own, given in pairs):
            return -1
        return sum(weight for weight, (own, _) in zip((4, 2, 1), pairs, strict=True) if own is not None)


@dataclass(frozen=True, eq=False)
class Partner(Declaration):
    """Somebody else's system that handlers call: `await work.call(carrier).post("/labels", Label, body)`.

    Declare it at the top level of a module of its own; that module alone knows the partner's models.

    Parameters
    ----------
    name:
        In settings, metrics and errors: lower-case letters, digits and hyphens.
    base_url:
        Where it is; `SLUICE_PARTNER_URLS` may name another for a stage.
    auth:
        How the app shows who it is, see `shared.partners.auth`.
    targets:
        Where it has several places: which one is called is chosen by `work.call(carrier, region="eu")`. A region that
        none of them names is refused, never defaulted.
    retry:
        Tries of one call, within the time that its message has.
    breaker:
        When calls to a class of its endpoints stop, for all instances; None never stops them.
    limit:
        Calls in a span of time that were agreed, for all instances together.
    concurrency:
        Bounds of the calls that run side by side in one process.
    idempotency_header:
        The header that carries the call's key; None where the partner knows no keys: then a POST or PATCH whose
        outcome is unknown isn't repeated.
    trusted:
        Whether it gets correlation id and trace.
    largest_answer:
        Bytes of a body, decompressed.
    cache:
        Bytes of answers to GETs that each process keeps as their headers allow (RFC 9111); 0 keeps none.

    Example
    -------
    >>> Partner("carrier", base_url="https://api.carrier.example", timeouts=Timeouts(total=20)).timeouts.total
    20
    """

    name: str
    _: KW_ONLY
    base_url: str = ""
    auth: Authentication | tuple[Authentication, ...] = ()
    targets: tuple[Target, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPlan = RETRY
    breaker: BreakerPolicy | None = BREAKER
    limit: Limit | None = None
    concurrency: Concurrency = CONCURRENCY
    pool: Pool = field(default_factory=Pool)
    idempotency_header: str | None = "Idempotency-Key"
    trusted: bool = True
    largest_answer: int = 8 * 1024 * 1024
    cache: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"Partner({self.name!r}): use lower-case letters, digits and hyphens")
        if self.base_url:
            check_base_url(self.name, self.base_url)
        names = [one.name for one in self.targets]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name}: two targets have one name")
        if self.idempotency_header is not None and not _HEADER.fullmatch(self.idempotency_header):
            raise ValueError(f"{self.name}: idempotency_header {self.idempotency_header!r} is no header's name")
        _check(f"{self.name}: largest_answer", self.largest_answer, 1, 256 * 1024 * 1024)
        _check(f"{self.name}: cache", self.cache, 0, 256 * 1024 * 1024)

    @property
    def authentication(self) -> tuple[Authentication, ...]:
        """What it asks for, in order."""
        return self.auth if isinstance(self.auth, tuple) else (self.auth,)

    def target(self, *, region: str | None, tier: str | None, customer: str | None) -> Target | None:
        """The target of a call; None where the partner has one place alone.

        Raises
        ------
        UnknownTarget
            None of its targets is for that region, tier or customer.
        """
        if not self.targets:
            if region is not None:
                raise UnknownTarget(self.name, "target", "has no regions", sent=False)
            return None
        regions: set[str | None] = {one.region for one in self.targets if one.region is not None}
        fits = [(one.fit(region, tier, customer), one) for one in self.targets]
        best = max((fit for fit, _ in fits), default=-1)
        if best < 0 or region not in (regions or {None}):
            raise UnknownTarget(self.name, "target", "has no target for that region, tier and customer", sent=False)
        return next(one for fit, one in fits if fit == best)

    def polls(
        self,
        path: str,
        *,
        every: str,
        sends: str,
        version: str = "1.0",
        since: str | None = None,
        overlap: str = "0s",
        start: str = "",
        query: Mapping[str, str] | None = None,
        name: str | None = None,
        zone: str = "UTC",
        alone: bool = False,
        holds: bool = False,
    ) -> Callable[[Callable[[Any], "Polled"]], "Poll"]:
        """Ask for a list by the clock, and send what is new as messages; over a function from a page to a `Polled`.

        Parameters
        ----------
        every, zone:
            An interval such as `5m`, or NCRONTAB.
        sends, version:
            The contract of the messages; an integration handles them as any others.
        since, start, overlap:
            The query parameter with the place up to which the list was read, its first value, and how far before a
            place that is a time the next poll begins. Without `since` the whole list is asked for, if it has changed
            (ETag, Last-Modified).
        name:
            Of the job, with the partner's; the function's own without.
        alone:
            The parameters of a next page go without the others: the partner's cursor says the rest.
        holds:
            The partner answers only when there is something (long polling): it is asked again at once.
        """

        def declare(read: Callable[[Any], "Polled"]) -> "Poll":
            from .polling import Poll

            return Poll.of(
                self,
                path,
                read,
                every=every,
                zone=zone,
                overlap=overlap,
                name=name,
                sends=sends,
                version=version,
                since=since,
                start=start,
                query=dict(query or {}),
                alone=alone,
                holds=holds,
            )

        return declare


def has_address(partner: Partner, urls: Mapping[str, str]) -> bool:
    """Whether the partner, or one of its targets, has an address: its own, or by its name one of the stage."""
    names = {partner.name: partner.base_url, **{f"{partner.name}.{one.name}": one.base_url for one in partner.targets}}
    return any(url or urls.get(name) for name, url in names.items())


def check_base_url(name: str, url: str) -> str:
    """The URL without a slash at its end.

    Raises
    ------
    ValueError
        It isn't HTTPS to a host (plain HTTP is for this machine alone), or says more than scheme, host and path.
    """
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (parts.scheme == "https" or local) or not parts.hostname:
        raise ValueError(f"the base URL of the partner {name} must be https://… (http:// only on this machine)")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError(f"the base URL of the partner {name} must have no user, query or fragment")
    return url.rstrip("/")


def _check(what: str, value: float, least: float, most: float = inf) -> None:
    if isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{what} is {value}: use {least} to {most}")
