"""What can go wrong with a partner's call. Messages name the partner and the endpoint, never a secret or a body.

PartnerError
├── PartnerFailed       no answer, or a 5xx: worth another try
├── PartnerThrottled    429, or 503: worth another try, after what the partner asked for
├── PartnerRefused      any other 4xx or 3xx: another try can't help
├── InvalidAnswer       an answer that isn't what was agreed: too large, of another type, not readable
├── OutcomeUnknown      it may have been done, and the partner takes no idempotency keys: a person decides
└── UnknownTarget       nobody agreed on a region, tier or customer: refused, never defaulted
PartnerUnavailable      not called at all: the message comes again later, and burns no attempt (a `Postpone`)
"""

from collections.abc import Mapping

from shared.messages import Postpone

__all__ = [
    "InvalidAnswer",
    "OutcomeUnknown",
    "PartnerError",
    "PartnerFailed",
    "PartnerRefused",
    "PartnerThrottled",
    "PartnerUnavailable",
    "UnknownTarget",
]


class PartnerError(Exception):
    """A call that has no good answer.

    Attributes
    ----------
    partner, endpoint:
        Whom it called: names from the code, never what a message holds.
    status:
        Of the answer; None where there is none.
    after:
        Seconds that the partner asked to wait, where it did.
    sent:
        Whether the request may have reached the partner.
    tells:
        Whether it says anything of the partner's health: a secret or our own time that was missing doesn't.
    body:
        The beginning of a refusal's body, for the handler that knows the partner's error codes.
    headers:
        Of the answer, by their names in lower case.
    """

    def __init__(
        self,
        partner: str,
        endpoint: str,
        reason: str,
        *,
        status: int | None = None,
        after: float | None = None,
        sent: bool = True,
        tells: bool = True,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{partner}: {endpoint}: {reason}")
        self.partner = partner
        self.endpoint = endpoint
        self.reason = reason
        self.status = status
        self.after = after
        self.sent = sent
        self.tells = tells
        self.body = body
        self.headers = headers or {}


class PartnerFailed(PartnerError):
    """No answer in time, a connection that broke or was refused, or an answer of 5xx."""


class PartnerThrottled(PartnerError):
    """The partner has too much to do."""


class PartnerRefused(PartnerError):
    """The partner won't do it; the status tells why, and `body` in its own words."""


class InvalidAnswer(PartnerError):
    """The partner broke its contract."""


class OutcomeUnknown(PartnerError):
    """A call that must not be repeated got no answer."""


class UnknownTarget(PartnerError):
    """No target of the partner is for that region, tier or customer."""


class PartnerUnavailable(Postpone):
    """The partner isn't called now: its breaker is open, its limit is spent, or the batch's time is."""

    def __init__(self, partner: str, endpoint: str, reason: str, *, after: float) -> None:
        super().__init__(f"{partner}: {endpoint}: {reason}", after=after)
        self.partner = partner
        self.endpoint = endpoint
