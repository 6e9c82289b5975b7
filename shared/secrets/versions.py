"""Current and previous: which version is accepted beside the current one, and which one signs. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from .policy import Policy
from .secret import Secret, Version

__all__ = ["previous_of", "signing_version", "still_valid"]


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
