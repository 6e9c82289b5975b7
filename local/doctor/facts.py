"""What the doctor knows of the project: plain values, each with the place where it is stated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, NamedTuple

from local.app import Setting
from local_azure.host.host_json import HostOptions

__all__ = [
    "Account",
    "App",
    "Deployment",
    "Facts",
    "Grant",
    "Hub",
    "Need",
    "Place",
    "Queue",
    "Size",
    "Trigger",
    "Unreadable",
]

_REFERENCE = re.compile(r"%([^%]+)%")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is stated: a file relative to the project, and its line from 1 where it is known."""

    file: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A source that can't be read, and why; the rules that need it can say nothing."""

    place: Place
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One Service Bus queue."""

    name: str
    place: Place
    lock: timedelta
    ttl: timedelta
    max_deliveries: int
    sessions: bool
    duplicate_detection: bool
    forwards_to: str
    forwards_dead_letters_to: str
    dead_letters_expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """One event hub; `$Default` is not listed among its groups."""

    name: str
    place: Place
    partitions: int
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A function by its trigger; `binding` is as in function.json, `retry` the platform's policy or None.

    `app` is the one that runs it.
    """

    function: str
    binding: Mapping[str, Any]
    retry: Mapping[str, Any] | None = None
    app: str = ""

    @property
    def type(self) -> str:
        """Such as `serviceBusTrigger`."""
        return str(self.binding["type"])

    def text(self, name: str) -> str:
        """A value of the binding, empty where it isn't given."""
        return str(self.binding.get(name) or "")

    @property
    def references(self) -> Iterator[tuple[str, str]]:
        """The settings that the binding names as `%SETTING%`, with the property that names each."""
        for name, value in self.binding.items():
            if isinstance(value, str):
                yield from ((name, found) for found in _REFERENCE.findall(value))

    @property
    def queue(self) -> str:
        """The queue as the binding names it."""
        return self.text("queueName")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How a Flex Consumption app is sized; None is what only Azure knows."""

    memory_mb: int | None
    python: str | None
    http_concurrency: int | None


@dataclass(frozen=True, kw_only=True)
class App:
    """One function app with the settings that it gets. `identity` names its managed identity in Azure."""

    name: str
    place: Place
    settings: Mapping[str, str]
    host: HostOptions
    identity: str = ""
    size: Size | None = None

    def resolve(self, text: str) -> str:
        """The text with every `%SETTING%` replaced; one that isn't set stays as it is."""
        return _REFERENCE.sub(lambda found: self.settings.get(found[1]) or found[0], text)

    def runs(self, function: str) -> bool:
        """Whether the function isn't switched off here."""
        flag = self.settings.get(f"AzureWebJobs.{function}.Disabled", "")
        return flag.strip().lower() not in ("1", "true")

    @property
    def switches(self) -> list[str]:
        """The functions that a `Disabled` flag names, whatever it says."""
        found = (re.fullmatch(r"AzureWebJobs\.(.+)\.Disabled", name) for name in self.settings)
        return [match[1] for match in found if match]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role for an identity at a scope: `kind` and `name` of the resource, `""` for what isn't one."""

    place: Place
    identity: str
    role: str
    kind: str
    name: str


class Need(NamedTuple):
    """A call on a `kind` of resource by name (or `%SETTING%`), with an access, and what for.

    `when` is a setting that must be set for the call to be made, `NAME=start` with that beginning; `apps` are those
    that make it, as far as it isn't the platform that does, and `of` is the capability that declares it.
    """

    kind: str
    name: str
    access: str
    why: str
    when: str = ""
    apps: tuple[str, ...] = ()
    of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A namespace or storage account: whether keys open it, and days after which lifecycle rules delete, by prefix."""

    place: Place
    kind: str
    name: str
    keys: bool
    deletes_after: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One place where the app runs: the local stack, or a stage of the infrastructure with its parameters."""

    name: str
    azure: bool
    queues: Mapping[str, Queue]
    hubs: Mapping[str, Hub]
    apps: Sequence[App]
    grants: Sequence[Grant] = ()
    accounts: Sequence[Account] = ()

    @property
    def has_lake(self) -> bool:
        """Whether its settings name a lake: without, nothing of it runs."""
        return any(name.partition("__")[0] == "Lake" for app in self.apps for name in app.settings)

    def at(self, app: App) -> str:
        """How findings name one of its apps."""
        return f"{self.name}/{app.name}"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that the rules look at.

    `needs` are the calls that capabilities declare, `packaged` the files that would be deployed, `referenced` the
    environment variables that the sources read by name, `constants` numbers of the code, `lines` finds where a text
    stands in a file.
    """

    triggers: Sequence[Trigger]
    settings: Mapping[str, Setting]
    constants: Mapping[str, float]
    deployments: Sequence[Deployment]
    host: Mapping[str, Any]
    packaged: Sequence[str]
    pinned: frozenset[str]
    required: frozenset[str]
    pythons: tuple[str, ...]
    azure_yaml: str | None
    needs: Sequence[Need]
    sources: Mapping[str, str]
    unreadable: Sequence[Unreadable] = ()

    def place(self, file: str, text: str) -> Place:
        """Where a text stands first in a file, or the file alone."""
        for number, line in enumerate(self.sources.get(file, "").splitlines(), 1):
            if text in line:
                return Place(file, number)
        return Place(file)

    def number(self, app: App, attribute: str) -> float:
        """What a number of the settings model is in an app: what the app sets, else the default.

        A value that is no number counts as the default; the rule on values tells of it.
        """
        setting = self.by_attribute[attribute]
        text = app.settings.get(setting.name, "")
        try:
            return float(text if text else str(setting.default))
        except ValueError:
            return float(str(setting.default))

    def text(self, app: App, attribute: str) -> str:
        """What a text of the settings model is in an app."""
        setting = self.by_attribute[attribute]
        return app.settings.get(setting.name) or str(setting.default)

    @cached_property
    def by_attribute(self) -> Mapping[str, Setting]:
        """The settings by the names that the code gives them."""
        return {one.attribute: one for one in self.settings.values()}

    @cached_property
    def lanes(self) -> Mapping[str, str]:
        """Settings that name a lane's queue, and the attribute of each."""
        return {one.name: one.attribute for one in self.settings.values() if one.attribute.startswith("lane_")}

    @cached_property
    def queue_triggers(self) -> Sequence[Trigger]:
        """The functions that read a queue."""
        return [one for one in self.triggers if one.type == "serviceBusTrigger"]

    @cached_property
    def stream_triggers(self) -> Sequence[Trigger]:
        """The functions that read an event hub."""
        return [one for one in self.triggers if one.type == "eventHubTrigger"]

    @property
    def everywhere(self) -> Iterator[tuple[Deployment, App]]:
        """Every app of every deployment."""
        return ((deployment, app) for deployment in self.deployments for app in deployment.apps)

    @property
    def in_azure(self) -> Iterator[tuple[Deployment, App]]:
        """Every app that runs in Azure."""
        return (pair for pair in self.everywhere if pair[0].azure)

    def lane_queues(self, deployment: Deployment, app: App) -> Iterator[tuple[Trigger, Queue]]:
        """The lanes' batch functions that an app runs, each with its queue where there is one."""
        for trigger in self.queue_triggers:
            names = {name for _, name in trigger.references}
            if not names & set(self.lanes) or not app.runs(trigger.function):
                continue
            queue = deployment.queues.get(app.resolve(trigger.queue))
            if queue is not None:
                yield trigger, queue
