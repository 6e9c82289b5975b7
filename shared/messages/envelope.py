"""A message: its envelope, what is found wrong in it, and what travels beside it.

The envelope is the body of every command. What a body holds beyond its contract is refused where a sender still hears
of it, and counted where nobody does. Beside the body travel its lane and the properties that we rely on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Generic, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, GetCoreSchemaHandler, StringConstraints
from pydantic import ValidationError as PydanticError
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from shared.classification import HIDDEN, plan_of

from .errors import InvalidMessage
from .strict_json import parse_rfc3339, with_one_reading

if TYPE_CHECKING:
    from shared.telemetry import RecordedSpan

__all__ = [
    "EDIT_OF",
    "ERASED_PROPERTY",
    "Contract",
    "Delivery",
    "Envelope",
    "Headers",
    "Lane",
    "Timestamp",
    "describe",
    "finding",
    "refuse_named_twice",
    "refuse_unknown",
    "unknown_fields",
]

MAX_REPORTED_ERRORS = 20
EDIT_OF = "editOf"
"""Property of a message that was edited among the dead letters: which one of them it was."""


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
Read = TypeVar("Read")


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
    if item["type"] == "union_tag_invalid":  # the one message of pydantic's that quotes what came
        message = f"Input should have one of the tags {item['ctx']['expected_tags']}"
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


Place = tuple[str | int, ...]

_MOST = 20
_LONGEST = 80
_SCALARS = frozenset({str, int, float, bool, type(None), bytes, Decimal, datetime, date, UUID})
"""Hold no model: most fields of every message, so they are passed over first."""


def unknown_fields(model: BaseModel, data: Any) -> Iterator[Place]:
    """The place of each field of `data` that its model doesn't know, also in models within it.

    Parameters
    ----------
    model:
        What was read from `data`: it tells which model was taken where there are several.
    """
    for place, one, given in _models(model, data, ()):
        if not (given.keys() <= (known := _known(type(one)))) and type(one).model_config.get("extra") != "allow":
            yield from ((*place, str(name)[:_LONGEST]) for name in given if name not in known)


def refuse_named_twice(model: BaseModel, data: Any) -> None:
    """Raise InvalidMessage where an object has a field under both of its names: one of the two would be lost."""
    for place, one, given in _models(model, data, ()):
        for name, info in type(one).model_fields.items():
            if info.alias not in (None, name) and name in given and info.alias in given:
                found = finding((*place, str(info.alias)), f"is given twice, also as {name}")
                raise InvalidMessage(f"{found['field']}: {found['message']}", details={"errors": [found], "count": 1})


def _models(value: Any, data: Any, place: Place) -> Iterator[tuple[Place, BaseModel, Mapping[str, Any]]]:
    """Each model in a value, where it is, and the object that it was read from."""
    if isinstance(value, BaseModel):
        if not isinstance(data, Mapping):
            return
        yield place, value, data
        for name, spellings in _spellings(type(value)):
            child = getattr(value, name)
            if type(child) not in _SCALARS:
                for given in spellings & data.keys():
                    yield from _models(child, data[given], (*place, given))
    elif isinstance(value, list | tuple) and isinstance(data, Sequence) and len(value) == len(data):
        if value and isinstance(value[0], BaseModel | list | tuple | dict):
            for number, (one, given) in enumerate(zip(value, data, strict=True)):
                yield from _models(one, given, (*place, number))
    elif isinstance(value, Mapping) and isinstance(data, Mapping):
        for name in value.keys() & data.keys():
            yield from _models(value[name], data[name], (*place, str(name)))


@cache
def _spellings(model: type[BaseModel]) -> tuple[tuple[str, frozenset[str]], ...]:
    """Each field with the names that it may have in JSON."""
    return tuple((name, frozenset({name, info.alias or name})) for name, info in model.model_fields.items())


@cache
def _known(model: type[BaseModel]) -> frozenset[str]:
    return frozenset().union(*(spellings for _, spellings in _spellings(model)))


def refuse_unknown(places: Sequence[Place]) -> None:
    """Raise InvalidMessage that names the fields, unless there are none."""
    if not places:
        return
    found = [finding(place, "the contract has no such field") for place in places[:_MOST]]
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    raise InvalidMessage(
        f"{found[0]['field']}: {found[0]['message']}{more}", details={"errors": found, "count": len(places)}
    )


ERASED_PROPERTY = "erased"
"""Set on a message whose content was erased with the person whom it was about."""


class Lane(StrEnum):
    """A queue with a rank of its own; high is never behind low, low keeps a guaranteed share.

    On the ordered lane the messages of a key are done strictly one after the other.
    """

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    ORDERED = "ordered"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A message, and what the broker says of it.

    Attributes
    ----------
    properties:
        Application properties, which no host shifts between the messages of a batch.
    message_id:
        The broker's, which differs between the copies of a message.
    span:
        Of its processing, where it is traced.
    """

    body: bytes
    properties: Mapping[str, Any]
    message_id: str
    sequence_number: int
    delivery_count: int
    span: "RecordedSpan | None" = field(default=None, compare=False, repr=False)

    def erased(self) -> Self:
        """The message without its content: whoever takes it refuses it, and says why."""
        kept = {name: value for name, value in self.properties.items() if not name.startswith(("claim", "sealed"))}
        return replace(self, body=b"", properties={**kept, ERASED_PROPERTY: True})


@dataclass(frozen=True, kw_only=True, slots=True)
class Headers:
    """What we rely on beside the body: application properties, which no host shifts between messages.

    `sender` is a mark of the client that sent the message, not its name; None where nobody asked, or a handler sent it.
    `accepted_at` is when it was accepted, where `first_attempt_at` was moved on since.
    `former_id` is the id under which the release before knows a CloudEvent.
    `request` is the number of the one request that brought it: several may come under one message id.
    `edit_of` is the dead letter whose message an operator edited into this one.
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
    accepted_at: datetime | None = None
    request: str | None = None
    edit_of: str | None = None

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
        first = self.first_attempt_at + min(timedelta(seconds=seconds), possible)
        return replace(self, accepted_at=self.accepted_at or self.first_attempt_at, first_attempt_at=first)

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
            EDIT_OF: self.edit_of,
            "acceptedAt": None if self.accepted_at is None else self.accepted_at.astimezone(UTC).isoformat(),
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

        def optional(name: str, read: Callable[[Any], Read]) -> Read | None:
            return None if properties.get(name) is None else _read(properties, name, read)

        return cls(
            message_id=_read(properties, "messageId", _uuid),
            event_type=_read(properties, "eventType", _NAME),
            version=_read(properties, "version", _NAME),
            source=_read(properties, "source", _SOURCE),
            key=_read(properties, "key", _key),
            lane=_read(properties, "priority", Lane),
            attempt=_read(properties, "attempt", _ATTEMPT),
            replay=optional("replay", _REPLAY) or 0,
            first_attempt_at=_read(properties, "firstAttemptAt", _first_attempt),
            correlation_id=_read(properties, "correlationId", _NAME),
            traceparent=optional("traceparent", _TEXT),
            claim=optional("claim", _TEXT),
            claim_sha256=optional("claimSha256", _TEXT),
            claim_size=optional("claimSize", _SIZE),
            claim_encoding=optional("claimEncoding", _TEXT),
            sealed=optional("sealed", _TEXT),
            sender=optional("sender", _TEXT),
            former_id=optional("formerId", _uuid),
            request=optional("request", _TEXT),
            edit_of=optional(EDIT_OF, _TEXT),
            accepted_at=optional("acceptedAt", _first_attempt),
        )


def _read(properties: Mapping[str, Any], name: str, read: Callable[[Any], Read]) -> Read:
    """A property; what is wrong is named, and its value never quoted."""
    if name not in properties:
        raise InvalidMessage(f"The application property {name!r} is missing.")
    try:
        return read(properties[name])
    except (ValueError, TypeError, OverflowError):
        raise InvalidMessage(f"The application property {name!r} is wrong.") from None


def _uuid(value: Any) -> UUID:
    return UUID(str(value))


def _text(longest: int) -> Callable[[Any], str]:
    """Bounded and encodable, so that whatever keeps it later can."""

    def read(value: Any) -> str:
        text = str(value)
        if len(text) > longest:
            raise ValueError("too long")
        text.encode()
        return text

    return read


def _whole(first: int, last: int) -> Callable[[Any], int]:
    """A number that later readers hold: a column, or a part of a broker's message id."""

    def read(value: Any) -> int:
        number = int(value)
        if not first <= number <= last:
            raise ValueError("out of bounds")
        return number

    return read


_NAME, _SOURCE, _TEXT = _text(128), _text(256), _text(1_024)
_ATTEMPT, _REPLAY, _SIZE = _whole(1, 10_000), _whole(0, 1_000_000), _whole(0, 2**53)


def _key(value: Any) -> str:
    text = _NAME(value)
    if not text:
        raise ValueError("empty")
    return text


def _first_attempt(value: Any) -> datetime:
    moment = parse_rfc3339(str(value), offset=False)
    if moment.year < 1970:
        raise ValueError("before 1970")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
