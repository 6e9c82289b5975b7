"""Describes what a namespace holds, so that broker, configuration and administration share one checked form.

Names and defaults are those of the service, bounds stand in `limits`. Every description is immutable and checked
when it is built; a wrong value raises `InvalidEntityError`, which names the field, the value and what was
expected. Service Bus compares entity names without case: `entity_key` gives the form to compare.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from local_azure.broker.durations import FOREVER, format_duration, parse_duration
from local_azure.broker.limits import LIMITS

__all__ = [
    "DEFAULT_CONSUMER_GROUP",
    "DEFAULT_RULE",
    "FOREVER",
    "AccessRight",
    "AuthorizationRule",
    "ConsumerGroup",
    "CorrelationFilter",
    "Description",
    "EntityStatus",
    "EventHubDescription",
    "FalseFilter",
    "InvalidEntityError",
    "PropertyValue",
    "QueueDescription",
    "RuleDescription",
    "RuleFilter",
    "SqlAction",
    "SqlFilter",
    "SubscriptionDescription",
    "TopicDescription",
    "TrueFilter",
    "entity_key",
    "format_duration",
    "parse_duration",
    "property_name",
]

PropertyValue: TypeAlias = str | bool | int | float | datetime | timedelta
"""What a rule may compare a message's property with."""

DEFAULT_CONSUMER_GROUP = "$Default"
DEFAULT_RULE = "$Default"

_ENTITY_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/~-]*[A-Za-z0-9])?", re.ASCII)
_CHILD_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)


class InvalidEntityError(ValueError):
    """A description breaks a rule of the service; `field`, `value` and `expected` say which."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(f"{field}: {value!r}: expected {expected}")
        self.field = field
        self.value = value
        self.expected = expected


class EntityStatus(StrEnum):
    """Whether an entity takes and gives messages."""

    ACTIVE = "Active"
    DISABLED = "Disabled"
    SEND_DISABLED = "SendDisabled"
    RECEIVE_DISABLED = "ReceiveDisabled"

    @property
    def can_send(self) -> bool:
        """Whether senders are served."""
        return self in (EntityStatus.ACTIVE, EntityStatus.RECEIVE_DISABLED)

    @property
    def can_receive(self) -> bool:
        """Whether receivers are served."""
        return self in (EntityStatus.ACTIVE, EntityStatus.SEND_DISABLED)


def entity_key(name: str) -> str:
    """Give the form under which the service tells names apart: lower case."""
    return name.lower()


def property_name(field_name: str) -> str:
    """The name of a field in configuration files and in the management API: `lock_duration` is `LockDuration`."""
    return "".join(part.capitalize() for part in field_name.split("_"))


class AccessRight(StrEnum):
    """What a shared access key allows."""

    MANAGE = "Manage"
    SEND = "Send"
    LISTEN = "Listen"


@dataclass(frozen=True, kw_only=True, slots=True)
class AuthorizationRule:
    """A shared access policy: kept and returned, never enforced, as every credential is accepted here."""

    key_name: str
    rights: tuple[AccessRight, ...]
    primary_key: str | None = None
    secondary_key: str | None = None
    claim_type: str = "SharedAccessKey"
    claim_value: str = "None"

    def __post_init__(self) -> None:
        _check_text("key_name", self.key_name, "authorization rule name")
        try:
            object.__setattr__(self, "rights", tuple(AccessRight(right) for right in self.rights))
        except ValueError:
            raise InvalidEntityError("rights", self.rights, "Manage, Send or Listen") from None
        needed = {AccessRight.SEND, AccessRight.LISTEN} if AccessRight.MANAGE in self.rights else set()
        if not self.rights or not needed <= set(self.rights):
            raise InvalidEntityError("rights", list(self.rights), "at least one right, and Send and Listen with Manage")


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueDescription:
    """A queue. `forward_*` name an entity of the same namespace; sizes are in the units of their names."""

    name: str
    lock_duration: timedelta = timedelta(minutes=1)
    max_delivery_count: int = 10
    default_message_time_to_live: timedelta = FOREVER
    requires_session: bool = False
    requires_duplicate_detection: bool = False
    duplicate_detection_history_time_window: timedelta = timedelta(minutes=10)
    dead_lettering_on_message_expiration: bool = False
    forward_to: str | None = None
    forward_dead_lettered_messages_to: str | None = None
    max_size_in_megabytes: int = 1_024
    max_message_size_in_kilobytes: int = 256
    auto_delete_on_idle: timedelta = FOREVER
    enable_batched_operations: bool = True
    enable_partitioning: bool = False
    enable_express: bool = False
    status: EntityStatus = EntityStatus.ACTIVE
    user_metadata: str | None = None
    authorization_rules: tuple[AuthorizationRule, ...] = ()

    def __post_init__(self) -> None:
        _check_entity_name("name", self.name)
        _check_receiving(self)
        _check_storing(self)
        _check_flags(self, "requires_session", "dead_lettering_on_message_expiration")

    @property
    def path(self) -> str:
        """The address that clients use."""
        return self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicDescription:
    """A topic: what is sent to it is copied to each subscription with a matching rule."""

    name: str
    default_message_time_to_live: timedelta = FOREVER
    requires_duplicate_detection: bool = False
    duplicate_detection_history_time_window: timedelta = timedelta(minutes=10)
    max_size_in_megabytes: int = 1_024
    max_message_size_in_kilobytes: int = 256
    auto_delete_on_idle: timedelta = FOREVER
    enable_batched_operations: bool = True
    enable_partitioning: bool = False
    enable_express: bool = False
    support_ordering: bool = True
    filtering_messages_before_publishing: bool = False
    status: EntityStatus = EntityStatus.ACTIVE
    user_metadata: str | None = None
    authorization_rules: tuple[AuthorizationRule, ...] = ()

    def __post_init__(self) -> None:
        _check_entity_name("name", self.name)
        _check_storing(self)
        _check_flags(self, "support_ordering", "filtering_messages_before_publishing")

    @property
    def path(self) -> str:
        """The address that clients use."""
        return self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class TrueFilter:
    """Takes every message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FalseFilter:
    """Takes no message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlFilter:
    """Takes the messages for which an SQL condition is true; `parameters` are its `@names`, without the @."""

    expression: str
    parameters: Mapping[str, PropertyValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_text("expression", self.expression)
        _copy_properties(self, "parameters")


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrelationFilter:
    """Takes the messages whose properties equal all that is given here; None means "any"."""

    correlation_id: str | None = None
    message_id: str | None = None
    to: str | None = None
    reply_to: str | None = None
    label: str | None = None
    session_id: str | None = None
    reply_to_session_id: str | None = None
    content_type: str | None = None
    properties: Mapping[str, PropertyValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in CORRELATION_FIELDS:
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidEntityError(name, value, "text or nothing")
        _copy_properties(self, "properties")
        if not self.properties and all(getattr(self, name) is None for name in CORRELATION_FIELDS):
            raise InvalidEntityError("filter", "", "a correlation filter with at least one property")


CORRELATION_FIELDS = (
    "correlation_id",
    "message_id",
    "to",
    "reply_to",
    "label",
    "session_id",
    "reply_to_session_id",
    "content_type",
)
"""The system properties that a correlation filter may name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlAction:
    """Changes a message's properties after its filter took it: SET and REMOVE statements."""

    expression: str
    parameters: Mapping[str, PropertyValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_text("expression", self.expression)
        _copy_properties(self, "parameters")


RuleFilter: TypeAlias = SqlFilter | CorrelationFilter | TrueFilter | FalseFilter


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleDescription:
    """One rule of a subscription. A message that several rules without action take arrives once; a rule
    with an action gives a copy of its own."""

    name: str = DEFAULT_RULE
    filter: RuleFilter = TrueFilter()
    action: SqlAction | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or entity_key(self.name) != entity_key(DEFAULT_RULE):
            _check_child_name("name", self.name)
        if not isinstance(self.filter, RuleFilter):
            raise InvalidEntityError("filter", self.filter, "an SQL, correlation, true or false filter")
        if self.action is not None and not isinstance(self.action, SqlAction):
            raise InvalidEntityError("action", self.action, "an SQL action or nothing")


@dataclass(frozen=True, kw_only=True, slots=True)
class SubscriptionDescription:
    """A subscription of a topic with its rules: without any it takes nothing, by default it takes all."""

    topic_name: str
    name: str
    rules: tuple[RuleDescription, ...] = (RuleDescription(),)
    lock_duration: timedelta = timedelta(minutes=1)
    max_delivery_count: int = 10
    default_message_time_to_live: timedelta = FOREVER
    requires_session: bool = False
    dead_lettering_on_message_expiration: bool = False
    dead_lettering_on_filter_evaluation_exceptions: bool = True
    forward_to: str | None = None
    forward_dead_lettered_messages_to: str | None = None
    auto_delete_on_idle: timedelta = FOREVER
    enable_batched_operations: bool = True
    status: EntityStatus = EntityStatus.ACTIVE
    user_metadata: str | None = None

    def __post_init__(self) -> None:
        _check_entity_name("topic_name", self.topic_name)
        _check_child_name("name", self.name)
        _check_receiving(self)
        _check_common(self)
        _check_flags(
            self,
            "requires_session",
            "dead_lettering_on_message_expiration",
            "dead_lettering_on_filter_evaluation_exceptions",
        )
        _check_distinct("rules", (rule.name for rule in self.rules))

    @property
    def path(self) -> str:
        """The address that receivers use."""
        return f"{self.topic_name}/Subscriptions/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumerGroup:
    """An independent view of an event hub."""

    name: str
    user_metadata: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or entity_key(self.name) != entity_key(DEFAULT_CONSUMER_GROUP):
            _check_child_name("name", self.name)
        _check_user_metadata(self.user_metadata)


@dataclass(frozen=True, kw_only=True, slots=True)
class EventHubDescription:
    """An event hub. The group `$Default` is always there; events leave after `retention_hours`, or before
    that when a partition holds more than `retention_megabytes` (None: no such bound)."""

    name: str
    partition_count: int = 1
    retention_hours: int = 24
    retention_megabytes: int | None = None
    consumer_groups: tuple[ConsumerGroup, ...] = ()
    status: EntityStatus = EntityStatus.ACTIVE
    user_metadata: str | None = None

    def __post_init__(self) -> None:
        _check_name("name", self.name, _CHILD_NAME, "event hub name", "., - or _")
        _check_range("partition_count", self.partition_count)
        _check_range("retention_hours", self.retention_hours)
        if self.retention_megabytes is not None:
            _check_range("retention_megabytes", self.retention_megabytes)
        _check_status(self.status)
        _check_user_metadata(self.user_metadata)
        names = [entity_key(group.name) for group in self.consumer_groups]
        if entity_key(DEFAULT_CONSUMER_GROUP) not in names:
            groups = (ConsumerGroup(name=DEFAULT_CONSUMER_GROUP), *self.consumer_groups)
            object.__setattr__(self, "consumer_groups", groups)
        _check_distinct("consumer_groups", names)
        _check_range("consumer_groups", len(self.consumer_groups))

    @property
    def path(self) -> str:
        """The address that clients use."""
        return self.name

    @property
    def partition_ids(self) -> tuple[str, ...]:
        """The partitions' ids, "0" and up."""
        return tuple(map(str, range(self.partition_count)))


Description: TypeAlias = QueueDescription | TopicDescription | SubscriptionDescription | EventHubDescription


def _check_entity_name(field: str, name: object) -> None:
    _check_name(field, name, _ENTITY_NAME, "queue or topic name", "., -, _, / or ~")
    if "subscriptions" in str(name).lower().split("/"):
        raise InvalidEntityError(field, name, "a name without the part Subscriptions, which addresses subscriptions")


def _check_child_name(field: str, name: object) -> None:
    _check_name(field, name, _CHILD_NAME, "subscription, rule or consumer group name", "., - or _")


def _check_name(field: str, name: object, pattern: re.Pattern[str], kind: str, inner: str) -> None:
    limit = LIMITS[kind]
    if not isinstance(name, str) or not limit.allows(len(name)) or not pattern.fullmatch(name) or "//" in name:
        raise InvalidEntityError(
            field, name, f"{limit.bounds} letters, digits, {inner}, with a letter or digit at both ends"
        )


def _check_receiving(entity: QueueDescription | SubscriptionDescription) -> None:
    _check_duration("lock_duration", entity.lock_duration)
    _check_range("max_delivery_count", entity.max_delivery_count)
    own = entity.name if isinstance(entity, QueueDescription) else entity.path
    for field_name in ("forward_to", "forward_dead_lettered_messages_to"):
        target = getattr(entity, field_name)
        if target is None:
            continue
        _check_entity_name(field_name, target)
        if entity_key(target) == entity_key(own):
            raise InvalidEntityError(field_name, target, "another entity than itself")
    if entity.requires_session and entity.forward_to is not None:
        raise InvalidEntityError("forward_to", entity.forward_to, "nothing, because sessions are required")


def _check_storing(entity: QueueDescription | TopicDescription) -> None:
    _check_common(entity)
    _check_flags(entity, "requires_duplicate_detection", "enable_partitioning", "enable_express")
    _check_duration("duplicate_detection_history_time_window", entity.duplicate_detection_history_time_window)
    _check_range("max_size_in_megabytes", entity.max_size_in_megabytes)
    _check_range("max_message_size_in_kilobytes", entity.max_message_size_in_kilobytes)
    _check_range("authorization_rules", len(entity.authorization_rules))
    _check_distinct("authorization_rules", (rule.key_name for rule in entity.authorization_rules))


def _check_common(entity: QueueDescription | TopicDescription | SubscriptionDescription) -> None:
    _check_duration("default_message_time_to_live", entity.default_message_time_to_live)
    _check_duration("auto_delete_on_idle", entity.auto_delete_on_idle)
    _check_flags(entity, "enable_batched_operations")
    _check_status(entity.status)
    _check_user_metadata(entity.user_metadata)


def _check_flags(entity: object, *fields: str) -> None:
    for name in fields:
        value = getattr(entity, name)
        if not isinstance(value, bool):
            raise InvalidEntityError(name, value, "true or false")


def _check_status(status: object) -> None:
    if not isinstance(status, EntityStatus):
        raise InvalidEntityError("status", status, "one of " + ", ".join(EntityStatus))


def _check_user_metadata(text: object) -> None:
    if text is not None:
        _check_text("user_metadata", text)


def _check_text(field: str, text: object, limit: str = "") -> None:
    bounds = LIMITS[limit or field]
    if not isinstance(text, str) or not bounds.allows(len(text)):
        raise InvalidEntityError(field, text, f"text of {bounds.bounds} characters")


def _check_range(field: str, number: object) -> None:
    bounds = LIMITS[field]
    if type(number) is not int or not bounds.allows(number):
        raise InvalidEntityError(field, number, f"a whole number from {bounds.bounds}")


def _check_duration(field: str, duration: object) -> None:
    bounds = LIMITS[field]
    if not isinstance(duration, timedelta) or not bounds.allows(duration):
        shown = duration
        if isinstance(duration, timedelta) and duration >= timedelta(0):
            shown = format_duration(duration)
        raise InvalidEntityError(field, shown, f"a duration from {bounds.bounds}")


def _check_distinct(field: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if entity_key(name) in seen:
            raise InvalidEntityError(field, name, "a name that is not taken yet, whatever its case")
        seen.add(entity_key(name))


def _copy_properties(owner: SqlFilter | SqlAction | CorrelationFilter, field_name: str) -> None:
    given: Mapping[str, PropertyValue] = getattr(owner, field_name)
    for key, value in given.items():
        _check_text(f"{field_name} key", key, "property key")
        if not isinstance(value, PropertyValue):
            raise InvalidEntityError(
                f"{field_name}.{key}", value, "text, a number, true or false, a time or a duration"
            )
    object.__setattr__(owner, field_name, dict(given))
