"""What a capability says of the infrastructure that it needs: resources, and calls on them with their reason.

Names and bounds are those of the services, so that what Azure would refuse stops the start on a laptop.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "ROUTES",
    "Access",
    "ClaimAccount",
    "Container",
    "GridTopic",
    "Hub",
    "Key",
    "LakeAccount",
    "LakeContainer",
    "Need",
    "Queue",
    "Resource",
    "Subscription",
    "Table",
    "Topic",
    "Vault",
    "WrongDeclaration",
]

ROUTES = "its routes"
"""Stands in a need's `by` for what is called over HTTP, in the app of the API."""

_SETTING = re.compile(r"%[A-Za-z]\w*%")
_ENTITY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9./_-]{0,258}[A-Za-z0-9])?")
_SUBSCRIPTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,48}[A-Za-z0-9])?")
_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")
_CONTAINER = re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


class Access(StrEnum):
    """What a call does to a resource; the infrastructure gives the narrowest role that lets it."""

    SEND = "send"
    RECEIVE = "receive"
    TRIGGER = "trigger"
    """What the platform itself does for a function; no need says so."""
    READ = "read"
    WRITE = "write"
    SECRETS = "secrets"
    SET_SECRETS = "set-secrets"
    WRAP = "wrap"
    DELEGATE = "delegate"


class WrongDeclaration(ValueError):
    """A resource that the service would refuse; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A Service Bus queue by its name or `%SETTING%`.

    Attributes
    ----------
    lock, time_to_live:
        ISO 8601 durations: how long a message is its receiver's, 5 seconds to 5 minutes, and how long it is kept.
    deliveries:
        After so many it is a dead letter of the broker's own, 1 to 2000.
    """

    name: str
    sessions: bool = False
    lock: str = "PT30S"
    time_to_live: str = "P14D"
    deliveries: int = 10

    def __post_init__(self) -> None:
        _check_name("queue", self.name, _ENTITY)
        _check_receiving(f"the queue {self.name}", self.lock, self.time_to_live, self.deliveries)


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """What of a topic comes to a queue: every message that the filter lets through, forwarded as it arrives.

    Attributes
    ----------
    forward_to:
        A declared queue by its name or `%SETTING%`.
    where:
        The filter as the service's SQL, such as `eventType = 'order.placed'`. `dev.py declare` reads it as the broker
        does and refuses what it can't.
    lock, time_to_live, deliveries:
        As of a queue. What can't be forwarded so often is a dead letter of the subscription.
    """

    name: str
    forward_to: str
    where: str = "1=1"
    lock: str = "PT30S"
    time_to_live: str = "P14D"
    deliveries: int = 10

    def __post_init__(self) -> None:
        _check_name("subscription", self.name, _SUBSCRIPTION)
        _check_name("queue", self.forward_to, _ENTITY)
        if not 1 <= len(self.where.strip()) <= 1024:
            raise WrongDeclaration(
                f"the filter of the subscription {self.name} has {len(self.where)} characters: use 1 to 1024"
            )
        _check_receiving(f"the subscription {self.name}", self.lock, self.time_to_live, self.deliveries)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A Service Bus topic by its name or `%SETTING%`, with its subscriptions; `time_to_live` as of a queue."""

    name: str
    subscriptions: tuple[Subscription, ...] = ()
    time_to_live: str = "P14D"

    def __post_init__(self) -> None:
        _check_name("topic", self.name, _ENTITY)
        _check_life(f"the topic {self.name}", self.time_to_live)
        names = [one.name.lower() for one in self.subscriptions]
        if len(names) != len(set(names)):
            raise WrongDeclaration(f"the topic {self.name} has two subscriptions of one name")


@dataclass(frozen=True, kw_only=True)
class Hub:
    """An event hub with the consumer groups that read it; names or `%SETTING%`. Partitions can't be changed later."""

    name: str
    groups: tuple[str, ...] = ()
    partitions: int = 4

    def __post_init__(self) -> None:
        _check_name("hub", self.name, _ENTITY)
        if not 1 <= self.partitions <= 32:
            raise WrongDeclaration(f"the hub {self.name} has {self.partitions} partitions: use 1 to 32")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the first state account, or of every one."""

    name: str
    every_account: bool = False

    def __post_init__(self) -> None:
        _check_name("table", self.name, _TABLE)


@dataclass(frozen=True, kw_only=True)
class Container:
    """A blob container by its name or `%SETTING%`, in the account for claims."""

    name: str

    def __post_init__(self) -> None:
        _check_name("container", self.name, _CONTAINER)


@dataclass(frozen=True, kw_only=True)
class LakeContainer:
    """A blob container by its name or `%SETTING%`, in the lake's account."""

    name: str

    def __post_init__(self) -> None:
        _check_name("container", self.name, _CONTAINER)


@dataclass(frozen=True)
class ClaimAccount:
    """The account that claims are in, whose key for links is lent by the account alone."""

    name: str = "%Claims__blobServiceUri%"


@dataclass(frozen=True)
class LakeAccount:
    """The lake's account, whose key for links is lent by the account alone."""

    name: str = "%Lake__blobServiceUri%"


@dataclass(frozen=True)
class Vault:
    """The key vault's secrets."""

    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of the vault by its name or `%SETTING%`."""

    name: str


@dataclass(frozen=True)
class GridTopic:
    """The custom topic of Event Grid for notifications, where the deployment has one."""

    name: str = ""


Resource = (
    Queue | Topic | Hub | Table | Container | LakeContainer | ClaimAccount | LakeAccount | Vault | Key | GridTopic
)
_POSSIBLE: Mapping[type[Resource], frozenset[Access]] = {
    Queue: frozenset({Access.SEND, Access.RECEIVE}),
    Topic: frozenset({Access.SEND}),
    Hub: frozenset({Access.SEND, Access.RECEIVE}),
    Table: frozenset({Access.READ, Access.WRITE}),
    Container: frozenset({Access.READ, Access.WRITE}),
    LakeContainer: frozenset({Access.READ, Access.WRITE}),
    ClaimAccount: frozenset({Access.DELEGATE}),
    LakeAccount: frozenset({Access.DELEGATE}),
    Vault: frozenset({Access.SECRETS, Access.SET_SECRETS}),
    Key: frozenset({Access.WRAP}),
    GridTopic: frozenset({Access.SEND}),
}


@dataclass(frozen=True, kw_only=True)
class Need:
    """A kind of call that functions or jobs make; their apps' identities are granted the role for it.

    Attributes
    ----------
    by:
        Names of functions and jobs that make the call, and ROUTES for the routes; without any, all of the capability.
    why:
        What for: one sentence, as it stands in the grant.
    when:
        A setting that must be set for the call to be made; `NAME=start` with that beginning.
    """

    access: Access
    to: Resource
    why: str
    by: Sequence[str] = ()
    when: str = ""

    def __post_init__(self) -> None:
        kind = type(self.to).__name__.lower()
        if self.access not in _POSSIBLE[type(self.to)]:
            raise WrongDeclaration(f"there is no access {self.access.value} to a {kind}, which {self.to.name} is")
        if not self.why.endswith("."):
            raise WrongDeclaration(f"the need to {self.access.value} {kind} {self.to.name} says why in no sentence")


def _check_name(kind: str, name: str, known: re.Pattern[str]) -> None:
    if not (_SETTING.fullmatch(name) or known.fullmatch(name)):
        raise WrongDeclaration(f"no {kind} can be called {name!r}")


def _check_receiving(what: str, lock: str, time_to_live: str, deliveries: int) -> None:
    if not 5 <= _seconds(f"the lock of {what}", lock) <= 300:
        raise WrongDeclaration(f"the lock of {what} is {lock}: use PT5S to PT5M")
    _check_life(what, time_to_live)
    if not 1 <= deliveries <= 2_000:
        raise WrongDeclaration(f"{what} has {deliveries} deliveries: use 1 to 2000")


def _check_life(what: str, time_to_live: str) -> None:
    if _seconds(f"the time to live of {what}", time_to_live) < 1:
        raise WrongDeclaration(f"the time to live of {what} is {time_to_live}: use PT1S or more")


def _seconds(what: str, duration: str) -> int:
    found = _DURATION.fullmatch(duration)
    if found is None or not any(found.groups()):
        raise WrongDeclaration(f"{what} is {duration!r}, no duration such as PT30S or P14D")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
