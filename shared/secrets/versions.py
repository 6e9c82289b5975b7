"""Versions of a secret: which is accepted beside the current one, which signs, and how long each is used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite

__all__ = ["Policy", "Secret", "Version", "previous_of", "signing_version", "still_valid"]

EXPIRY = 1.25
"""Times the time-to-live after which a value isn't given any more without having asked the vault."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Checked when it is built.

    Parameters
    ----------
    ttl:
        A value is read again at the earliest after this long, be the answer good or bad: so the vault sees at most one
        read per secret and `ttl` from each instance.
    jitter:
        Up to this share of `ttl` is added at random, so that instances don't ask in step. Below 0.25, so that a
        refresh begins ahead of the expiry.
    stale:
        A value is given this long after it was read while the vault fails.
    negative:
        An unknown, disabled, expired or denied secret is asked for again after this long.
    patience:
        The longest that a caller waits whose value has expired and is being read; then it gets the one that is cached.
    timeout:
        The longest that a caller waits who has nothing, and that a read takes.
    first_retry, last_retry:
        The delay between tries for a secret of which nothing is cached begins with the one and doubles up to the other.
    overlap:
        The version before the current one is accepted for this long after the current one was made.
    """

    ttl: float = 300.0
    jitter: float = 0.1
    stale: float = 86_400.0
    negative: float = 15.0
    patience: float = 0.5
    timeout: float = 5.0
    first_retry: float = 1.0
    last_retry: float = 30.0
    overlap: float = 604_800.0

    def __post_init__(self) -> None:
        for name in ("ttl", "stale", "negative", "patience", "timeout", "first_retry", "last_retry", "overlap"):
            value = getattr(self, name)
            if isinstance(value, bool) or not (isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}, must be above 0")
        if not 0 <= self.jitter < EXPIRY - 1:
            raise ValueError(f"jitter is {self.jitter}, must be 0 or more and below {EXPIRY - 1}")
        if self.stale < self.ttl:
            raise ValueError(f"stale {self.stale} is below ttl {self.ttl}")
        if self.last_retry < self.first_retry:
            raise ValueError(f"last_retry {self.last_retry} is below first_retry {self.first_retry}")

    @property
    def refresh_period(self) -> float:
        """No caller is given an older value without the vault having been asked."""
        return EXPIRY * self.ttl

    @property
    def settling(self) -> float:
        """After this long every instance that can reach the vault knows a new version.

        Two seconds are for the vault's clock, which tells whole seconds, and for differences between clocks.
        """
        return self.refresh_period + self.timeout + 2.0


@dataclass(frozen=True, slots=True)
class Secret:
    """One version of a secret. Its repr leaves the value out.

    Attributes
    ----------
    created, expires:
        As the vault tells them, in UTC; whole seconds.
    vault:
        The address of the vault that it came from.
    """

    name: str
    value: str = field(repr=False)
    version: str
    created: datetime
    expires: datetime | None = None
    vault: str = ""

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled: its value would leave the process")


@dataclass(frozen=True, slots=True)
class Version:
    """A version in a secret's history, without its value."""

    version: str
    created: datetime
    enabled: bool = True
    expires: datetime | None = None


def previous_of(
    current: Secret,
    versions: Iterable[Version],
    *,
    before: str | None = None,
    now: datetime,
    policy: Policy,
) -> Version | None:
    """The newest version before the current one that may still be accepted.

    Parameters
    ----------
    before:
        The version that was in use here until now: of two made within the same second it is the previous.
    """
    if now - current.created > timedelta(seconds=policy.overlap):
        return None
    older = [
        one
        for one in versions
        if one.version != current.version
        and one.enabled
        and one.created <= current.created
        and (one.expires is None or one.expires > now)
    ]
    return max(older, key=lambda one: (one.created, one.version == before), default=None)


def still_valid(previous: Secret, current: Secret, *, now: datetime, policy: Policy) -> bool:
    """Whether a version that is cached may go on being accepted, by what is known without asking."""
    expired = previous.expires is not None and previous.expires <= now
    return not expired and now - current.created <= timedelta(seconds=policy.overlap)


def signing_version(versions: Sequence[Secret], *, now: datetime, policy: Policy) -> Secret:
    """The version to sign with: a new one only when every instance has had the time to see it.

    Otherwise an instance that has not refreshed yet would refuse what another one has just signed.
    """
    current, *older = versions
    if older and now - current.created < timedelta(seconds=policy.settling):
        return older[0]
    return current
