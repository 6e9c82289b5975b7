"""What an answer or its lack means: for the call, for the partner's health, and for another try. Pure."""

from datetime import datetime

from shared.resilience import Result

from .errors import (
    InvalidAnswer,
    PartnerError,
    PartnerFailed,
    PartnerRefused,
    PartnerThrottled,
)
from .retry_after import retry_after
from .sessions import Received

__all__ = ["check", "health", "outcome", "was_refused"]


def check(partner: str, endpoint: str, answer: Received, *, now: datetime) -> None:
    """Raise what an answer's status means; a good one means nothing.

    Raises
    ------
    PartnerThrottled, PartnerFailed, PartnerRefused
    """
    status = answer.status
    if 200 <= status < 300:
        return
    kind: type[PartnerError] = PartnerRefused
    if status in (429, 503):
        kind = PartnerThrottled
    elif status >= 500 or status in (408, 409, 425):
        kind = PartnerFailed
    # A wait of 0 leaves it to the plan: it would burn all of a message's attempts at once.
    after = (retry_after(answer.headers, now=now) or None) if kind is not PartnerRefused else None
    raise kind(
        partner, endpoint, f"answered {status}", status=status, after=after, body=answer.body, headers=answer.headers
    )


def outcome(error: PartnerError) -> str:
    """What metrics call it: what hasn't changed is no refusal."""
    return "done" if error.status == 304 else _OUTCOMES.get(type(error), "failed")


def health(error: PartnerError) -> Result:
    """What a failure tells of the partner's health: one that refuses this request is well."""
    if error.status == 429:
        return Result.REFUSED
    unwell = isinstance(error, PartnerFailed | PartnerThrottled) and error.status not in (408, 409, 425)
    return Result.FAILED if unwell else Result.GOOD


def was_refused(error: PartnerError) -> bool:
    """Whether the partner certainly hasn't done it: it never came, or came too often."""
    return not error.sent or error.status in (425, 429)


_OUTCOMES: dict[type[PartnerError], str] = {
    PartnerFailed: "failed",
    PartnerThrottled: "throttled",
    PartnerRefused: "refused",
    InvalidAnswer: "invalid",
}
