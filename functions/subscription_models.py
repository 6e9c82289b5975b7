"""What subscribers send, as models, and what they are shown."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from shared.messages import Timestamp, rfc3339
from shared.subscriptions import (
    Delivery,
    Mode,
    PayloadFormat,
    ReceiverAuth,
    ReceiverAuthKind,
    Status,
    Subscription,
    check_pattern,
    conditions_of,
)

__all__ = ["ChangedSubscription", "NewSubscription", "Replay", "delivery_view", "subscription_view"]


def _is_filter(value: dict[str, Any]) -> dict[str, Any]:
    conditions_of(value)
    return value


def _whole(value: Any) -> Any:
    """A whole number, which JSON may also write as 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Pattern = Annotated[str, AfterValidator(check_pattern)]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=50)]
Filter = Annotated[dict[str, Any], AfterValidator(_is_filter)]
Url = Annotated[
    str, Field(min_length=1, max_length=2_048, description="https://, to a host on the public internet; else 403.")
]
Description = Annotated[str, Field(max_length=256)]
Rate = Annotated[float, Field(ge=0.1, le=1_000, description="POSTs a second, of all instances together.")]
Concurrency = Annotated[
    int, Field(ge=1, le=64, description="POSTs side by side of each instance."), BeforeValidator(_whole)
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, strict=True)


_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"
_OURS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "te",
        "trailer",
        "traceparent",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)
"""Headers of a POST that say something else."""
Credential = Annotated[str, Field(min_length=1, max_length=4_096, pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$")]


def _is_free(name: str) -> str:
    if name.lower() in _OURS:
        raise ValueError("is a header with a meaning of its own")
    return name


def _is_token_url(url: str) -> str:
    if re.search(r"[?#@\s]", url):
        raise ValueError("has no query, no fragment and no user")
    return url


class ApiKeyAuthentication(_Body):
    """A key in a header of every POST."""

    type: Literal["apiKey"]
    key: Credential
    header: Annotated[str, Field(pattern=_HEADER), AfterValidator(_is_free)] = "X-API-Key"

    def value(self) -> ReceiverAuth:
        """As it is kept."""
        return ReceiverAuth(kind=ReceiverAuthKind.API_KEY, secret=self.key, header=self.header)


class OAuth2Authentication(_Body):
    """A token of the OAuth 2.0 client credentials grant (RFC 6749, 4.4), which is asked for like a webhook is sent."""

    type: Literal["oauth2"]
    token_url: Annotated[Url, AfterValidator(_is_token_url)]
    client_id: Credential
    client_secret: Credential
    scope: Annotated[str, Field(max_length=1_024, pattern=r"^[\x20-\x7e]*$")] = ""

    def value(self) -> ReceiverAuth:
        """As it is kept."""
        return ReceiverAuth(
            kind=ReceiverAuthKind.OAUTH2,
            secret=self.client_secret,
            token_url=self.token_url,
            client_id=self.client_id,
            scope=self.scope,
        )


class MutualTlsAuthentication(_Body):
    """The app's own certificate, the same for all receivers."""

    type: Literal["mutualTls"]

    def value(self) -> ReceiverAuth:
        """As it is kept."""
        return ReceiverAuth(kind=ReceiverAuthKind.MUTUAL_TLS)


Authentication = Annotated[
    ApiKeyAuthentication | OAuth2Authentication | MutualTlsAuthentication, Field(discriminator="type")
]


class NewSubscription(_Body):
    """What a subscriber asks for."""

    url: Url
    event_types: Patterns
    filter: Filter = Field(default_factory=dict)
    description: Description = ""
    ordered: bool = False
    mode: Annotated[Mode, Field(strict=False)] = Mode.AT_LEAST_ONCE
    payload_format: Annotated[PayloadFormat, Field(strict=False)] = PayloadFormat.STANDARD
    rate: Rate | None = None
    concurrency: Concurrency = 8
    authentication: Authentication | None = None


class ChangedSubscription(_Body):
    """What a subscriber changes (RFC 7396): only what is named counts; `rate` and `authentication` may be null.

    An authentication is replaced whole.

    Of the filter too only what is named, path by path: null takes a path or an operator out of it.
    """

    url: Url = ""
    event_types: Patterns = Field(default_factory=list)
    filter: dict[str, Any] = Field(default_factory=dict)
    description: Description = ""
    payload_format: Annotated[PayloadFormat, Field(strict=False)] = PayloadFormat.STANDARD
    rate: Rate | None = None
    concurrency: Concurrency = 8
    authentication: Authentication | None = None
    status: Annotated[Status, Field(strict=False)] = Status.ENABLED


class Replay(_Body):
    """From when on what was missed is sent again."""

    model_config = ConfigDict(strict=False)

    since: Timestamp


def subscription_view(one: Subscription) -> dict[str, Any]:
    """One as its owner sees it, without its secret."""
    return {
        "id": one.id,
        "url": one.url,
        "eventTypes": list(one.event_types),
        "filter": dict(one.filters),
        "description": one.description,
        "ordered": one.ordered,
        "mode": one.mode.value,
        "payloadFormat": one.payload_format.value,
        "rate": one.rate,
        "concurrency": one.concurrency,
        "authentication": None if one.authentication is None else _authentication_view(one.authentication),
        "status": one.status.value,
        "reason": one.reason or None,
        "failingSince": None if one.failing_since is None else rfc3339(one.failing_since),
        "createdAt": rfc3339(one.created_at),
        "changedAt": rfc3339(one.changed_at),
    }


def _authentication_view(one: ReceiverAuth) -> dict[str, Any]:
    """What it is, without what proves it."""
    shown = {"type": one.kind.value, "header": one.header, "tokenUrl": one.token_url, "clientId": one.client_id}
    return {name: value for name, value in {**shown, "scope": one.scope}.items() if value}


def delivery_view(one: Delivery) -> dict[str, Any]:
    """One with its latest attempts."""
    return {
        "id": one.id,
        "messageId": one.message_id,
        "eventId": one.event_id,
        "eventType": one.event_type,
        "status": one.status.value,
        "createdAt": rfc3339(one.created_at),
        "nextAt": None if one.next_at is None else rfc3339(one.next_at),
        "attempts": one.attempts,
        "tries": list(one.tries),
    }
