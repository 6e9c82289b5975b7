"""Secrets in a form that may be logged by mistake; which version is accepted beside the current one, which signs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .policy import Policy

__all__ = ["Secret", "Version", "previous_of", "signing_version", "still_valid"]


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
