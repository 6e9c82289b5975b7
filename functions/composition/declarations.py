"""What the whole app says of itself, as one JSON document: infrastructure, emulator, gateway and doctor read it.

It is worked out from the capabilities and the integrations alone, with every setting at its default: no environment and
no stage is in it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from functions.triggers import AppName, Function, HubTrigger, QueueTrigger, TimerTrigger
from shared.environment import SettingsSlice
from shared.health import Check
from shared.http import RECIPIENTS, Route
from shared.messages import Declared, Lane, Registry
from shared.partners import Partner
from shared.settings import Settings

from .capability import Capability
from .declaring import (
    ROUTES,
    Access,
    ClaimAccount,
    Container,
    GridTopic,
    Hub,
    Key,
    LakeAccount,
    LakeContainer,
    Need,
    Queue,
    Resource,
    Table,
    Topic,
    Vault,
)

__all__ = ["declarations"]

_ROLES: Mapping[tuple[type[Resource], frozenset[Access]], tuple[str, ...]] = {
    # Data Owner and not Receiver where a triggered function's app sends too: with Listen alone the scale controller
    # can't read the queue's length and adds one instance at a time; with Manage on this one queue it jumps to backlog /
    # batch size.
    (Queue, frozenset({Access.SEND, Access.TRIGGER})): ("Azure Service Bus Data Owner",),
    (Queue, frozenset({Access.TRIGGER})): ("Azure Service Bus Data Receiver",),
    (Queue, frozenset({Access.SEND})): ("Azure Service Bus Data Sender",),
    (Queue, frozenset({Access.RECEIVE})): ("Azure Service Bus Data Receiver",),
    (Topic, frozenset({Access.SEND})): ("Azure Service Bus Data Sender",),
    (Hub, frozenset({Access.SEND})): ("Azure Event Hubs Data Sender",),
    (Hub, frozenset({Access.RECEIVE})): ("Azure Event Hubs Data Receiver",),
    (Table, frozenset({Access.READ})): ("Storage Table Data Reader",),
    (Table, frozenset({Access.WRITE})): ("Storage Table Data Contributor",),
    (Container, frozenset({Access.READ})): ("Storage Blob Data Reader",),
    (Container, frozenset({Access.WRITE})): ("Storage Blob Data Contributor",),
    (LakeContainer, frozenset({Access.READ})): ("Storage Blob Data Reader",),
    (LakeContainer, frozenset({Access.WRITE})): ("Storage Blob Data Contributor",),
    (ClaimAccount, frozenset({Access.DELEGATE})): ("Storage Blob Delegator",),
    (LakeAccount, frozenset({Access.DELEGATE})): ("Storage Blob Delegator",),
    (Vault, frozenset({Access.SECRETS})): ("Key Vault Secrets User",),
    (Vault, frozenset({Access.SET_SECRETS})): ("Key Vault Secrets Officer",),
    (Key, frozenset({Access.WRAP})): ("Key Vault Crypto Service Encryption User",),
    (GridTopic, frozenset({Access.SEND})): ("EventGrid Data Sender",),
}
_INCLUDES = {Access.WRITE: Access.READ, Access.SET_SECRETS: Access.SECRETS, Access.TRIGGER: Access.RECEIVE}
"""Who may do the one with these roles may do the other too."""
_KINDS: Mapping[type[Resource], str] = {
    Queue: "queue",
    Topic: "topic",
    Hub: "hub",
    Table: "table",
    Container: "container",
    LakeContainer: "container",
    ClaimAccount: "account",
    LakeAccount: "account",
    Vault: "vault",
    Key: "key",
    GridTopic: "gridtopic",
}


def declarations(
    capabilities: Sequence[Capability], registry: Registry, settings: type[SettingsSlice] = Settings
) -> dict[str, Any]:
    """The document. Lists are in the order in which the capabilities say things, so that a new one changes little.

    Parameters
    ----------
    settings:
        All of the app's, with the slices that capabilities bring: their defaults name entities.
    """
    names = _Names(settings)
    tables = [one for _, one in _resources(capabilities, Table)]
    document = {
        "about": "Written from the code by `python3 dev.py declare`: change the code, not this.",
        "apps": [app.value for app in AppName],
        "functions": [
            {
                "name": function.name,
                "app": function.app.value,
                "trigger": _kind_of(function.trigger),
                **({"schedule": function.trigger.schedule} if isinstance(function.trigger, TimerTrigger) else {}),
                "of": capability.name,
            }
            for capability in capabilities
            for function in capability.functions
        ],
        "queues": [
            {
                "name": names.of(queue.name),
                "lock": queue.lock,
                "timeToLive": queue.time_to_live,
                "deliveries": queue.deliveries,
                "sessions": queue.sessions,
                "duplicateDetection": False,
                "deadLettersExpired": True,
                "of": capability.name,
            }
            for capability, queue in _resources(capabilities, Queue)
        ],
        "topics": [
            {"name": names.of(topic.name), "timeToLive": topic.time_to_live, "of": capability.name}
            for capability, topic in _resources(capabilities, Topic)
        ],
        "subscriptions": [
            {
                "topic": names.of(topic.name),
                "name": one.name,
                "where": one.where,
                "forwardTo": names.of(one.forward_to),
                "lock": one.lock,
                "timeToLive": one.time_to_live,
                "deliveries": one.deliveries,
                "deadLettersExpired": True,
            }
            for _, topic in _resources(capabilities, Topic)
            for one in topic.subscriptions
        ],
        "hubs": [
            {
                "name": names.of(hub.name),
                "partitions": hub.partitions,
                "groups": [names.of(group) for group in _groups(hub, capabilities)],
                "of": capability.name,
            }
            for capability, hub in _resources(capabilities, Hub)
        ],
        "tables": {
            "everyAccount": [one.name for one in tables if one.every_account],
            "firstAccount": [one.name for one in tables if not one.every_account],
        },
        "containers": [names.of(one.name) for _, one in _resources(capabilities, Container)],
        "lakeContainers": [names.of(one.name) for _, one in _resources(capabilities, LakeContainer)],
        "grants": _grants(capabilities, names),
        "needs": [
            {
                "access": need.access.value,
                "kind": _KINDS[type(need.to)],
                "name": names.of(need.to.name),
                "apps": [app.value for app in AppName if app in _apps(capability, need)],
                "why": need.why,
                **({"when": need.when} if need.when else {}),
                "of": capability.name,
            }
            for capability in capabilities
            for need in capability.needs
        ],
        "jobs": [
            {"name": job.name, "app": str(job.app), "schedule": job.schedule.text, "of": capability.name}
            for capability in capabilities
            for job in capability.jobs
        ],
        "routes": [
            {
                "method": route.method,
                "path": route.full_path,
                "callers": route.scheme or ("anyone" if route.access is None else sorted(route.access)),
                **({} if route.described else {"described": False}),
                **({"streams": True} if route.streams else {}),
                "of": capability.name,
            }
            for capability in capabilities
            for route in capability.routes
        ],
        "probes": [
            {"component": name, "of": capability.name} for capability in capabilities for name in capability.probes
        ],
        "metrics": [
            {"name": metric.name, "kind": type(metric).__name__.lower(), "unit": metric.unit, "of": capability.name}
            for capability in capabilities
            for metric in capability.metrics
        ],
        "commands": [
            {"name": command.name, "of": capability.name}
            for capability in capabilities
            for command in capability.commands
        ],
        "settings": [
            {"name": name, **_setting(settings, name), "of": capability.name}
            for capability in capabilities
            for name in capability.settings
        ],
        "partners": [
            {
                "name": one.name,
                "agreedSeconds": one.timeouts.total,
                **({"targets": [target.name for target in one.targets]} if one.targets else {}),
            }
            for one in registry.declared(Partner)
        ],
        "integrations": [_integration(one) for one in registry.integrations],
    }
    routes = [route for capability in capabilities for route in capability.routes]
    document["openRoutes"] = _pattern(one for one in [*routes, *_headed(routes)] if one.access in (None, RECIPIENTS))
    document["streamingRoutes"] = _pattern(route for route in routes if route.streams)
    document["operations"] = [
        {"name": _operation(route), "method": route.method, "path": route.full_path, "parameters": _template(route)}
        for route in [*(one for one in routes if not one.described), *_headed(routes)]
    ]
    document["entitySettings"] = dict(sorted(names.used.items()))
    return document


def _kind_of(trigger: object) -> str:
    return type(trigger).__name__.removesuffix("Trigger").lower()


def _setting(settings: type[SettingsSlice], name: str) -> dict[str, Any]:
    """Whether it must be set, or its default where that is something to read."""
    field = next((one for one in settings.model_fields.values() if one.alias == name), None)
    if field is None or field.is_required():
        return {"required": True}
    known = isinstance(field.default, str | int | float) and field.default != ""
    return {"default": field.default} if known else {}


def _pattern(routes: Iterable[Route]) -> str:
    """A regular expression of `METHOD path` for these routes, as the gateway's policies read it."""
    found = (
        f"{route.method} {'[^/]+'.join(map(re.escape, re.split(r'{[^}]+}', route.full_path)))}" for route in routes
    )
    return f"^(?:{'|'.join(found)})$"


def _headed(routes: Iterable[Route]) -> Iterator[Route]:
    """HEAD of every route that is read: the app answers it, and no description has it."""
    return (replace(route, method="HEAD") for route in routes if route.method == "GET" and route.described)


def _template(route: Route) -> list[dict[str, Any]]:
    return [{"name": name, "type": "string", "required": True} for name in route.parameters]


def _operation(route: Route) -> str:
    """A name as API Management has them: small letters and digits with single dashes between them."""
    return re.sub(r"[^a-z0-9]+", "-", f"{route.method} {route.full_path}".lower()).strip("-")


class _Names:
    """Names of entities, with `%SETTING%` replaced by the setting's default."""

    def __init__(self, settings: type[SettingsSlice]) -> None:
        self._defaults = {field.alias: field.default for field in settings.model_fields.values()}
        self.used: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The name; one whose setting has no default stays as it is, since only a stage knows it."""
        if not name.startswith("%"):
            return name
        setting = name.strip("%")
        default = self._defaults.get(setting)
        if not isinstance(default, str):
            return name
        self.used[setting] = default
        return default


def _resources(capabilities: Iterable[Capability], kind: type[Any]) -> Iterator[tuple[Capability, Any]]:
    for capability in capabilities:
        yield from ((capability, one) for one in capability.resources if isinstance(one, kind))


def _groups(hub: Hub, capabilities: Iterable[Capability]) -> list[str]:
    """The groups that the hub has, and those that any function reads it as."""
    read = (
        function.trigger.group
        for capability in capabilities
        for function in capability.functions
        if isinstance(function.trigger, HubTrigger) and function.trigger.hub == hub.name
    )
    return list(dict.fromkeys((*hub.groups, *read)))


def _apps(capability: Capability, need: Need) -> set[AppName]:
    """The apps that make a call: those of the functions and jobs that are named; without any, of all that enters."""
    entered = {one.name: one.app for one in capability.functions}
    entered |= {one.name: AppName(one.app) for one in capability.jobs}
    entered |= {ROUTES: AppName.API} if capability.routes else {}
    asked = {name: AppName(Check.of(probe).app) for name, probe in capability.probes.items()}
    if need.by:
        return {app for name, app in {**asked, **entered}.items() if name in need.by}
    return set(entered.values())


def _grants(capabilities: Sequence[Capability], names: _Names) -> dict[str, list[dict[str, str]]]:
    """For each app and resource the narrowest role that covers all its calls, and what for."""
    every_account = {one.name for _, one in _resources(capabilities, Table) if one.every_account}
    calls: dict[tuple[type[Resource], str, AppName], dict[Access, list[str]]] = defaultdict(lambda: defaultdict(list))
    for app, access, resource, why in _calls(capabilities):
        reasons = calls[type(resource), names.of(resource.name), app][access]
        if why not in reasons:
            reasons.append(why)
    grants: dict[str, list[dict[str, str]]] = {
        name: []
        for name in (
            "queues",
            "topics",
            "hubs",
            "containers",
            "lakeContainers",
            "lakeContainersOfApi",
            "claimAccount",
            "lakeAccount",
            "tablesOfEveryAccount",
            "tablesOfFirstAccount",
            "vault",
            "keys",
            "gridTopic",
        )
    }
    for (kind, name, app), accesses in sorted(calls.items(), key=lambda call: _order(*call[0])):
        where = {
            Queue: "queues",
            Topic: "topics",
            Hub: "hubs",
            Container: "containers",
            LakeContainer: "lakeContainersOfApi" if app is AppName.API else "lakeContainers",
            ClaimAccount: "claimAccount",
            LakeAccount: "lakeAccount",
            Table: "tablesOfEveryAccount" if name in every_account else "tablesOfFirstAccount",
            Vault: "vault",
            Key: "keys",
            GridTopic: "gridTopic",
        }[kind]
        subject = {} if kind in (Vault, ClaimAccount, LakeAccount, GridTopic) else {_KINDS[kind]: name}
        for role, covered in _roles(kind, accesses):
            why = " ".join(dict.fromkeys(reason for access in covered for reason in accesses[access]))
            grants[where].append({"app": app.value, **subject, "role": role, "why": why})
    return grants


def _calls(capabilities: Sequence[Capability]) -> Iterator[tuple[AppName, Access, Resource, str]]:
    """Every call of every app, the triggers' own first."""
    for capability in capabilities:
        for function in capability.functions:
            yield from _of_trigger(function)
    for capability in capabilities:
        for need in capability.needs:
            yield from ((app, need.access, need.to, need.why) for app in _apps(capability, need))


def _of_trigger(function: Function) -> Iterator[tuple[AppName, Access, Resource, str]]:
    match function.trigger:
        case QueueTrigger(queue=queue):
            yield function.app, Access.TRIGGER, Queue(name=queue), "Takes the messages of this queue."
        case HubTrigger(hub=hub):
            yield function.app, Access.RECEIVE, Hub(name=hub), "Reads the events of this hub."


def _roles(kind: type[Resource], accesses: Iterable[Access]) -> Iterator[tuple[str, list[Access]]]:
    """Roles that cover all accesses, with those that each covers: one for them all where there is one."""
    wanted = list(accesses)
    needed = frozenset(wanted) - {_INCLUDES[one] for one in wanted if one in _INCLUDES}
    together = _ROLES.get((kind, needed))
    if together is not None:
        yield from ((role, wanted) for role in together)
        return
    for one in sorted(needed):
        for role in _ROLES[kind, frozenset({one})]:
            yield role, [access for access in wanted if access in (one, _INCLUDES.get(one))]


def _order(kind: type[Resource], name: str, app: AppName) -> tuple[Any, ...]:
    return list(_KINDS).index(kind), name, list(AppName).index(app)


def _integration(integration: Declared) -> dict[str, Any]:
    return {
        "name": integration.name,
        "handles": [
            {
                "eventType": one.event_type,
                "version": one.version,
                "model": one.model.__name__,
                "key": one.key,
                "lane": one.priority.value if isinstance(one.priority, Lane) else "by the model",
                **({"route": f"/api/{one.route}"} if one.route else {}),
                **({"webhook": one.webhook} if one.webhook else {}),
            }
            for one in integration.handlers
        ],
        "projects": [{"eventType": one.event_type, "into": one.view} for one in integration.projections],
        "rotates": [one.secret for one in integration.rotations],
    }
