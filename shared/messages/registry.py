"""What integrations declare, each as a value, and which of it a message belongs to."""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter
from pydantic import ValidationError as PydanticError

from shared.changes import Feed, change_event_type
from shared.classification import Plan, Scrubber, plan_of, redacted_finding, secrets_in
from shared.jobs import Scheduled
from shared.resilience import RetryPlan
from shared.webhooks import ANY_TOPIC, WebhookSource, webhook_event_type

from .declared import Declaration, Notification, Rotation
from .envelope import Envelope, Lane, Redact, describe
from .errors import InvalidMessage, MessageError, UnknownEventType, UnknownVersion
from .fields import fields_to, second_names
from .gold import Gold
from .silver import Silver
from .strict_json import parse_strict, validate_json, write_json
from .versions import Upcaster, brought_up, chains_to

__all__ = [
    "Declared",
    "Handler",
    "Priority",
    "Projection",
    "Registry",
]

MAX_KEY = 128
"""Longest key in characters: the limit of an Event Hubs partition key and a Service Bus session id."""
FIRST_VERSION = "1.0"
_IN_NO_PATH = frozenset("/\\%?#")
OWN_PATHS = frozenset({"messages", "operations", "health", "docs", "webhooks"})
"""First segments of the API's own paths: a route or read model there could never be reached."""


Priority = Lane | Callable[[Any], Lane]


@dataclass(frozen=True, kw_only=True)
class Handler:
    """One event type in one version: its model, its key, its lane, and the function that does the work.

    Attributes
    ----------
    webhook:
        The source whose webhooks it handles: it takes no commands of producers then.
    internal:
        Only handlers, polls and operators send it.
    feed:
        The table whose changes it handles.
    upcasters:
        The steps from this version to the one whose model and function these are; none where they are its own.
    """

    integration: str
    event_type: str
    version: str
    model: type[BaseModel]
    key: str
    priority: Priority
    route: str | None
    retry: RetryPlan | None = None
    owned: bool = False
    webhook: str | None = None
    internal: bool = False
    feed: Feed | None = None
    upcasters: tuple[Upcaster, ...] = ()
    call: Callable[[Any, Any], Awaitable[None]]

    @cached_property
    def envelope(self) -> TypeAdapter[Envelope[Any]]:
        """Validates a whole body in one pass."""
        return TypeAdapter(Envelope[self.model])  # type: ignore[name-defined]

    @cached_property
    def _validate(self) -> Callable[[bytes | str], Envelope[Any]]:
        return partial(self.envelope.validate_json, strict=True)

    @cached_property
    def _key_path(self) -> tuple[str, ...]:
        return tuple(name for _, name in fields_to(self.model, self.key))

    def decode(self, body: bytes) -> Envelope[Any]:
        """Validate an envelope with this handler's data; that of an earlier version is brought up before.

        Raises
        ------
        InvalidMessage, MalformedJson
            Every field that is wrong, by its JSON name; an element of a list by its number, from 1.
        """
        if self.upcasters:
            self.as_sent(body)
            parsed = parse_strict(body)
            if not isinstance(parsed, dict):
                raise InvalidMessage("The body must be a JSON object.")
            body = write_json({**parsed, "data": brought_up(parsed.get("data"), self.upcasters)}).encode()
        try:
            envelope = validate_json(self._validate, body)
        except MessageError:
            raise
        except PydanticError as error:
            raise describe(error, self._redact(body)) from None
        except Exception as error:  # a model's own validators may raise anything; the message is still this one's
            raise InvalidMessage(f"data: {self.model.__name__} can't read it ({type(error).__name__})") from error
        if self.key:
            self.key_of(envelope.data)
        return envelope

    def as_sent(self, body: bytes) -> Envelope[Any] | None:
        """The envelope of an earlier version by the contract that its sender knows; None where that isn't declared.

        Raises
        ------
        InvalidMessage, MalformedJson
        """
        return None if self._earlier is None else self._earlier.decode(body)

    @cached_property
    def described(self) -> type[BaseModel] | None:
        """The model that senders of this version go by; None where nobody declares it any more."""
        return self.upcasters[0].model if self.upcasters else self.model

    @cached_property
    def _earlier(self) -> "Handler | None":
        model = self.upcasters[0].model if self.upcasters else None
        return None if model is None else replace(self, model=model, upcasters=(), key="")

    def may_be_named_twice(self, body: bytes) -> bool:
        """Whether a body may have a field under both of its names; hardly any needs a closer look."""
        if self.upcasters and self._earlier is not None:
            return self._earlier.may_be_named_twice(body)
        if b"_" not in body and not self._plain_second_names:
            return False
        return b"\\u" in body or any(name in body for name in self._second_names)

    @cached_property
    def _second_names(self) -> frozenset[bytes]:
        """The Python names of all fields that JSON spells otherwise, in quotes."""
        return frozenset(f'"{name}"'.encode() for name in second_names(self.envelope.core_schema))

    @cached_property
    def _plain_second_names(self) -> bool:
        return any(b"_" not in name for name in self._second_names)

    @cached_property
    def plan(self) -> Plan:
        """What the markers of the model that a message was sent by ask for."""
        return plan_of((self.described or self.model) if self.upcasters else self.model)

    def _redact(self, body: bytes) -> Redact | None:
        """How findings of validation are redacted, where the model has protected fields."""
        plan = plan_of(self.model)  # of what was brought up
        if not plan.protects:
            return None
        try:
            secrets = secrets_in(plan, json.loads(body)["data"])
            secrets |= secrets_in(plan, json.loads(body, parse_float=Decimal)["data"])  # as they were written
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
            secrets = set()  # not even JSON with data: validation quotes none of it
        scrub = Scrubber(secrets)

        def tell(location: Sequence[str | int], kind: str, message: str) -> tuple[Sequence[str | int], str]:
            if location[:1] != ("data",):
                return location, scrub(message)
            below, message = redacted_finding(plan, scrub, location[1:], kind, message)
            return ("data", *below), message

        return tell

    def key_of(self, data: BaseModel) -> str:
        """The aggregate that a message belongs to: decides order, partition and transaction."""
        value: Any = data
        for name in self._key_path:
            value = getattr(value, name, None)
        key = "" if value is None else str(value)
        if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
            raise InvalidMessage(
                f"data.{self.key}: must be 1 to {MAX_KEY} printable characters",
                details={"errors": [{"field": f"data.{self.key}", "message": "must name the aggregate"}]},
            )
        return key

    @property
    def refuses_unknown_fields(self) -> bool:
        """Whether the API refuses fields that the contract doesn't have: those of its first version got 202."""
        return self.version != FIRST_VERSION

    def new_key_of(self, data: BaseModel) -> str:
        """The key of a command that comes from outside: one that its own address finds again, on every road.

        The platform and what stands before it decode, clean and cut paths, each in its own way: `/` and `%2F` can't be
        distinguished, nor `A` and `%41`, and `..` never arrives. What was accepted before that was known is still
        processed and read.

        Raises
        ------
        InvalidMessage
        """
        key = self.key_of(data)
        if _IN_NO_PATH & set(key) or key in (".", "..") or key != key.strip():
            message = "must have none of / \\ % ? #, no blank around it, and not be . or .."
            raise InvalidMessage(
                f"data.{self.key}: {message}",
                details={"errors": [{"field": f"data.{self.key}", "message": message}], "count": 1},
            )
        return key

    def lane_of(self, data: BaseModel) -> Lane:
        """The lane a message waits in."""
        return self.priority if isinstance(self.priority, Lane) else Lane(self.priority(data))


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Turns a published event into the row that a read model shows.

    Attributes
    ----------
    shown:
        The model of the row, from the annotation of what the function returns.
    find_by:
        The indexes by which the view is queried, each a field or several; None where it isn't.
    key:
        The row's field (by its JSON name) that holds its key, where it is declared.
    folds:
        The function takes the row so far too.
    deletes:
        It may return None, which deletes the row.
    """

    event_type: str
    view: str
    model: type[BaseModel]
    shown: type[BaseModel] | None = None
    find_by: tuple[str | tuple[str, ...], ...] | None = None
    key: str | None = None
    folds: bool = False
    deletes: bool = False
    call: Callable[..., BaseModel | None]

    @cached_property
    def plan(self) -> Plan:
        """What the markers of the event's model ask for."""
        return plan_of(self.model)


@dataclass
class Declared:
    """What an integration declares, in order."""

    name: str
    handlers: list[Handler] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    rotations: list[Rotation] = field(default_factory=list)
    scheduled: list[Scheduled] = field(default_factory=list)
    webhook_sources: list[WebhookSource] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    upcasters: list[Upcaster] = field(default_factory=list)
    golds: list[Gold] = field(default_factory=list)
    silvers: list[Silver] = field(default_factory=list)


D = TypeVar("D", bound=Declaration)


class Registry:
    """All handlers and projections of the app, checked for clashes when it is built.

    Parameters
    ----------
    beside:
        What the integrations' modules declare beside them.
    """

    def __init__(self, integrations: Iterable[Declared], *, beside: Iterable[Declaration] = ()) -> None:
        self.integrations = tuple(integrations)
        self._beside = tuple(beside)
        self._handlers: dict[str, dict[str, Handler]] = {}
        self._projections: dict[str, list[Projection]] = {}
        self._routes: dict[str, Handler] = {}
        self._rotations: dict[str, Rotation] = {}
        self.notifications: dict[str, Notification] = {}
        for notification in (one for integration in self.integrations for one in integration.notifications):
            if notification.event_type in self.notifications:
                raise ValueError(f"{notification.event_type} is notified of twice")
            self.notifications[notification.event_type] = notification
        self.webhook_sources: dict[str, WebhookSource] = {}
        for source in (one for integration in self.integrations for one in integration.webhook_sources):
            if source.name in self.webhook_sources:
                raise ValueError(f"the webhook source {source.name} is declared twice")
            self.webhook_sources[source.name] = source
        for integration in self.integrations:
            for handler in integration.handlers:
                self._add(handler)
            for projection in integration.projections:
                _check_path(projection.view)
                self._projections.setdefault(projection.event_type, []).append(projection)
            for rotation in integration.rotations:
                if rotation.secret.lower() in self._rotations:
                    raise ValueError(f"the secret {rotation.secret} is rotated twice")
                self._rotations[rotation.secret.lower()] = rotation
        for view in self.folded:
            if len(self.shown(view)) != 1 or any(one.shown is None for one in self.projections_into(view)):
                raise ValueError(
                    f"the read model {view}: a projection takes the row so far or deletes it, so all of them say that "
                    "they return the same model"
                )
        names = [gold.name for gold in self.golds]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"gold.{twice[0]} is declared twice")
        self._bring_up()

    def _bring_up(self) -> None:
        """Have earlier versions read by who handles the version that they are brought to."""
        every = [one for integration in self.integrations for one in integration.upcasters]
        for event_type in dict.fromkeys(one.event_type for one in every):
            versions = self._handlers.get(event_type, {})
            own = [one for one in every if one.event_type == event_type]
            chains = chains_to(event_type, {name: one.model for name, one in versions.items()}, own)
            for version, (to, chain) in chains.items():
                versions[version] = replace(versions[to], version=version, upcasters=chain)

    @property
    def accepted(self) -> tuple[Handler, ...]:
        """Every handler, once for each version that it takes: its own first, then those that are brought up to it."""
        every = [one for integration in self.integrations for one in integration.handlers]
        earlier = [one for versions in self._handlers.values() for one in versions.values() if one.upcasters]
        return (*every, *earlier)

    def beside(self, *integrations: Declared) -> "Registry":
        """These integrations and more, checked for clashes anew."""
        return Registry((*self.integrations, *integrations), beside=self._beside)

    def declared(self, kind: type[D]) -> tuple[D, ...]:
        """Everything of a kind that the integrations' modules declare beside their integrations."""
        return tuple(one for one in self._beside if isinstance(one, kind))

    @property
    def rotations(self) -> dict[str, Rotation]:
        """Secret, in lower case → what makes its next value."""
        return dict(self._rotations)

    def _add(self, handler: Handler) -> None:
        versions = self._handlers.setdefault(handler.event_type, {})
        if handler.version in versions:
            raise ValueError(
                f"{handler.event_type} {handler.version} is handled twice, by "
                f"{versions[handler.version].integration} and {handler.integration}"
            )
        versions[handler.version] = handler
        if handler.route is not None:
            _check_path(handler.route)
            if handler.route in self._routes:
                raise ValueError(f"the route /api/{handler.route} is claimed twice")
            self._routes[handler.route] = handler
        if handler.webhook is not None and handler.webhook not in self.webhook_sources:
            self.webhook_sources[handler.webhook] = WebhookSource.preset(handler.webhook)

    def webhook(self, source: str, topic: str) -> Handler | None:
        """Who handles what a source tells about a topic; None where nobody does."""
        for wanted in (topic, ANY_TOPIC):
            for handler in self._handlers.get(webhook_event_type(source, wanted), {}).values():
                return handler
        return None

    def changes(self, tables: Iterable[str]) -> Handler | None:
        """Who handles changes of a table, known by several names, the most exact first; None where nobody does."""
        for table in tables:
            for handler in self._handlers.get(change_event_type(table), {}).values():
                return handler
        return None

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The tables whose changes are handled."""
        handlers = (one for integration in self.integrations for one in integration.handlers)
        return tuple(one.feed for one in handlers if one.feed is not None)

    @property
    def scheduled(self) -> tuple[Scheduled, ...]:
        """What integrations have run by the clock."""
        return tuple(one for integration in self.integrations for one in integration.scheduled)

    @property
    def silvers(self) -> tuple[Silver, ...]:
        """What is kept of published events in the lake's silver layer."""
        return tuple(one for integration in self.integrations for one in integration.silvers)

    @cached_property
    def golds(self) -> tuple[Gold, ...]:
        """The tables of the lake's gold layer."""
        return tuple(one for integration in self.integrations for one in integration.golds)

    @property
    def routes(self) -> dict[str, Handler]:
        """Path under the route prefix → the handler whose messages it takes."""
        return dict(self._routes)

    @property
    def views(self) -> tuple[str, ...]:
        """Names of all read models."""
        return tuple(sorted({p.view for projections in self._projections.values() for p in projections}))

    def projections_into(self, view: str) -> list[Projection]:
        """What makes the rows of a read model."""
        return [one for found in self._projections.values() for one in found if one.view == view]

    @cached_property
    def folded(self) -> frozenset[str]:
        """The read models whose rows depend on what they were: each event is applied to them once, in its turn."""
        every = (one for found in self._projections.values() for one in found)
        return frozenset(one.view for one in every if one.folds or one.deletes)

    @cached_property
    def protects(self) -> bool:
        """Any message or event has protected fields."""
        handled = (handler.plan for versions in self._handlers.values() for handler in versions.values())
        projected = (one.plan for found in self._projections.values() for one in found)
        return any(plan.protects for plan in (*handled, *projected))

    def shown(self, view: str) -> list[type[BaseModel]]:
        """The models of the rows of a read model, as far as its projections say what they return."""
        return list(dict.fromkeys(one.shown for one in self.projections_into(view) if one.shown is not None))

    def subjects(self, kind: str) -> frozenset[str]:
        """Names of the fields, in any message, event or row, that say which person of a kind it is about."""
        handlers = [handler.plan for versions in self._handlers.values() for handler in versions.values()]
        projections = [one for found in self._projections.values() for one in found]
        shown = [plan_of(one.shown) for one in projections if one.shown]
        plans = [*handlers, *(one.plan for one in projections), *shown]
        return frozenset().union(*(plan.subjects(kind) for plan in plans))

    def plans(self, view: str) -> tuple[Plan, ...]:
        """What is protected in the rows of a read model, by each of its projections."""
        shown = (one.shown for one in self.projections_into(view) if one.shown)
        return tuple({id(plan): plan for plan in map(plan_of, shown)}.values())

    def handler(self, event_type: str, version: str) -> Handler:
        """The handler of a contract.

        Raises
        ------
        UnknownEventType, UnknownVersion
        """
        versions = self._handlers.get(event_type)
        if versions is None:
            raise UnknownEventType(
                "No integration handles this event type.",
                details={"expected": sorted(self._handlers)[:50]},
            )
        handler = versions.get(version)
        if handler is None:
            raise UnknownVersion(
                f"{event_type} is not known in this version.",
                details={"expected": sorted(versions)},
            )
        return handler

    def integration_of(self, event_type: str, version: str) -> str | None:
        """The name of the integration that handles a contract; None where nobody does."""
        handler = self._handlers.get(event_type, {}).get(version)
        return None if handler is None else handler.integration

    def projections(self, event_type: str) -> list[Projection]:
        """The read models that show this event; events that nobody shows are fine."""
        return self._projections.get(event_type, [])


def _check_path(path: str) -> None:
    if path.partition("/")[0] in OWN_PATHS:
        raise ValueError(f"/api/{path} belongs to the API itself; choose another name")
