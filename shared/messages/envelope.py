"""The envelope around every command, and the properties that travel beside it on Service Bus."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Generic, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, GetCoreSchemaHandler, StringConstraints
from pydantic import ValidationError as PydanticError
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from shared.classification import HIDDEN, plan_of

from .errors import InvalidMessage
from .lanes import Lane
from .one_reading import with_one_reading
from .times import parse_rfc3339

__all__ = ["Contract", "Envelope", "Headers", "Timestamp", "describe", "finding"]

MAX_REPORTED_ERRORS = 20


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


Timestamp = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment that came with an offset, kept in UTC."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]


class Contract(BaseModel):
    """Base of every model that crosses a boundary: camelCase names, unknown fields tolerated on purpose.

    Times are read as RFC 3339 writes them, decimals as JSON does or from such a text.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return with_one_reading(handler(source))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Protected values stay out of every text that a model ends up in."""
        plan = plan_of(type(self))
        protected = plan.fields | plan.spellings
        for name, value in super().__repr_args__():
            hidden = name in protected and not _tells_itself(value)
            yield name, HIDDEN if hidden and value is not None else value


def _tells_itself(value: Any) -> bool:
    """A model of ours, or several, whose own text leaves out what is protected in them."""
    return all(isinstance(one, Contract) for one in value) if isinstance(value, list) else isinstance(value, Contract)


Data = TypeVar("Data")


class Envelope(Contract, Generic[Data]):
    """What HTTP and Service Bus bodies hold.

    Attributes
    ----------
    message_id:
        Identity of the message for as long as it is remembered: the same id twice is the same message.
    timestamp:
        When the sender made it; must carry an offset.
    source:
        Who sent it.
    """

    message_id: UUID
    timestamp: Timestamp
    source: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    event_type: Name
    version: Name
    data: Data


Redact = Callable[[Sequence[str | int], str, str], tuple[Sequence[str | int], str]]
"""Given where a finding is, of what kind and in which words: where and in which words it is reported, redacted."""


def describe(error: PydanticError, redact: Redact | None = None) -> InvalidMessage:
    """Turn pydantic's findings into one sentence and a list that names each field by its JSON name."""
    found = [_finding(item, redact) for item in error.errors(include_url=False, include_input=False)]
    first, more = found[0], len(found) - 1
    sentence = f"{first['field'] or 'body'}: {first['message']}"
    if more:
        sentence += f" (and {more} more)"
    return InvalidMessage(sentence, details={"errors": found[:MAX_REPORTED_ERRORS], "count": len(found)})


def _finding(item: Mapping[str, Any], redact: Redact | None) -> dict[str, Any]:
    location, message = item["loc"], str(item["msg"]).removeprefix("Value error, ")
    if redact is not None:
        location, message = redact(location, item["type"], message)
    return finding(location, message)


def finding(location: Sequence[str | int], message: str) -> dict[str, Any]:
    """One finding as the API reports it: the field by its JSON name, an element of a list by its number, from 1."""
    found: dict[str, Any] = {"field": ".".join(str(part) for part in location)}
    for name, index in pairwise(location):
        if isinstance(name, str) and isinstance(index, int):
            element = name.removesuffix("s")
            if element not in ("field", "message"):
                found[element] = index + 1
            message = f"{element} {index + 1}: {message}"
    found["message"] = message
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Headers:
    """What we rely on beside the body: application properties, which no host shifts between messages.

    `sender` is a mark of the client that sent the message, not its name; None where nobody asked, or a handler sent it.
    `former_id` is the id under which the release before knows a CloudEvent.
    `request` is the number of the one request that brought it: several may come under one message id.
    """

    message_id: UUID
    event_type: str
    version: str
    source: str
    key: str
    lane: Lane
    correlation_id: str
    first_attempt_at: datetime
    attempt: int = 1
    replay: int = 0
    traceparent: str | None = None
    claim: str | None = None
    claim_sha256: str | None = None
    claim_size: int | None = None
    claim_encoding: str | None = None
    sealed: str | None = None
    sender: str | None = None
    former_id: UUID | None = None
    request: str | None = None

    @property
    def identities(self) -> tuple[UUID, ...]:
        """The ids by which it may have been dealt with before."""
        return (self.message_id,) if self.former_id is None else (self.message_id, self.former_id)

    @property
    def broker_id(self) -> str:
        """The broker's message id: a delayed copy differs, or duplicate detection would drop it."""
        if self.replay:
            return f"{self.message_id}#r{self.replay}" + ("" if self.attempt == 1 else f".{self.attempt}")
        return str(self.message_id) if self.attempt == 1 else f"{self.message_id}#{self.attempt}"

    def next_attempt(self) -> Self:
        """The headers of the delayed copy."""
        return replace(self, attempt=self.attempt + 1)

    def waited(self, seconds: float) -> Self:
        """The headers after a wait that no attempt asked for: it takes none of the time that attempts may take."""
        possible = datetime.max.replace(tzinfo=UTC) - self.first_attempt_at
        return replace(self, first_attempt_at=self.first_attempt_at + min(timedelta(seconds=seconds), possible))

    def to_properties(self) -> dict[str | bytes, Any]:
        """Application properties of a Service Bus message; absent values are left out."""
        properties: dict[str | bytes, Any] = {
            "messageId": str(self.message_id),
            "eventType": self.event_type,
            "version": self.version,
            "source": self.source,
            "key": self.key,
            "priority": self.lane.value,
            "attempt": self.attempt,
            "firstAttemptAt": self.first_attempt_at.astimezone(UTC).isoformat(),
            "correlationId": self.correlation_id,
        }
        optional = {
            "replay": self.replay or None,
            "traceparent": self.traceparent,
            "claim": self.claim,
            "claimSha256": self.claim_sha256,
            "claimSize": self.claim_size,
            "claimEncoding": self.claim_encoding,
            "sealed": self.sealed,
            "sender": self.sender,
            "formerId": None if self.former_id is None else str(self.former_id),
            "request": self.request,
        }
        properties.update({name: value for name, value in optional.items() if value is not None})
        return properties

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> Self:
        """Read the properties of a delivery.

        Raises
        ------
        InvalidMessage
            Names the property that is missing or wrong: the message wasn't sent by this app's senders.
        """
        try:
            size = properties.get("claimSize")
            return cls(
                message_id=UUID(str(properties["messageId"])),
                event_type=_text(properties["eventType"], 128),
                version=_text(properties["version"], 128),
                source=_text(properties["source"], 256),
                key=_key(_text(properties["key"], 128)),
                lane=Lane(properties["priority"]),
                attempt=_whole("attempt", properties["attempt"], 1, 10_000),
                replay=_whole("replay", properties.get("replay", 0), 0, 1_000_000),
                first_attempt_at=_first_attempt(properties["firstAttemptAt"]),
                correlation_id=_text(properties["correlationId"], 128),
                traceparent=_optional(properties, "traceparent"),
                claim=_optional(properties, "claim"),
                claim_sha256=_optional(properties, "claimSha256"),
                claim_size=None if size is None else _whole("claimSize", size, 0, 2**53),
                claim_encoding=_optional(properties, "claimEncoding"),
                sealed=_optional(properties, "sealed"),
                sender=_optional(properties, "sender"),
                former_id=UUID(str(properties["formerId"])) if "formerId" in properties else None,
                request=_optional(properties, "request"),
            )
        except KeyError as error:
            raise InvalidMessage(f"The application property {error.args[0]!r} is missing.") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidMessage(f"An application property is wrong: {error}.") from None


def _optional(properties: Mapping[str, Any], name: str) -> str | None:
    value = properties.get(name)
    return None if value is None else _text(value, 1_024)


def _text(value: Any, longest: int) -> str:
    """Bounded and encodable, so that whatever keeps it later can."""
    text = str(value)
    if len(text) > longest:
        raise ValueError(f"a text of {len(text)} characters, at most {longest} are taken")
    text.encode()
    return text


def _key(text: str) -> str:
    if not text:
        raise ValueError("key must be a text of 1 to 128 characters")
    return text


def _first_attempt(value: Any) -> datetime:
    moment = parse_rfc3339(str(value), offset=False)
    if moment.year < 1970:
        raise ValueError("firstAttemptAt must be 1970 or later")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _whole(name: str, value: Any, first: int, last: int) -> int:
    """A number that later readers hold: a column, or a part of a broker's message id."""
    number = int(value)
    if not first <= number <= last:
        raise ValueError(f"{name} must be from {first} to {last}")
    return number
