"""The stages of the infrastructure: its templates, worked out with each stage's parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from local.bicep import BicepError, Resource, Symbolic, deploy, read_parameters
from local.bicep import Deployment as Template
from local.doctor.facts import Account, App, Deployment, Grant, Hub, Place, Queue, Size, Unreadable
from local_azure.broker.durations import parse_duration
from local_azure.host.host_json import HostOptions

__all__ = ["MAIN", "deployments_of"]

MAIN = "infra/main.bicep"
_STAGES = "infra/params/*.bicepparam"
_IDENTITY = re.compile(r"userAssignedIdentities:([^\]]+)\]", re.IGNORECASE)
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KINDS = {
    "microsoft.servicebus/namespaces": "service-bus",
    "microsoft.servicebus/namespaces/queues": "queue",
    "microsoft.servicebus/namespaces/topics": "topic",
    "microsoft.eventhub/namespaces": "event-hubs",
    "microsoft.eventhub/namespaces/eventhubs": "hub",
    "microsoft.storage/storageaccounts": "account",
    "microsoft.storage/storageaccounts/blobservices/containers": "container",
    "microsoft.storage/storageaccounts/tableservices/tables": "table",
    "microsoft.keyvault/vaults": "vault",
    "microsoft.keyvault/vaults/keys": "key",
    "microsoft.keyvault/vaults/secrets": "secret",
    "microsoft.insights/components": "component",
    "microsoft.eventgrid/topics": "gridtopic",
}

HostOf = Callable[[dict[str, str]], HostOptions]


def deployments_of(project: Path, host_of: HostOf, note: Callable[[Unreadable], None]) -> list[Deployment]:
    """One deployment for each parameters file; what can't be worked out is noted instead."""
    found = []
    for parameters in sorted(project.glob(_STAGES)):
        try:
            template = deploy(project / MAIN, read_parameters(parameters, {}))
            found.append(_Stage(project, parameters.stem, template, host_of).deployment())
        except BicepError as error:
            reason = str(error).replace(f"{project}/", "")
            note(Unreadable(Place(_relative(project, error.file), error.line), f"{parameters.stem}: {reason}"))
        except (OSError, ValueError, KeyError, TypeError, LookupError) as error:
            where = parameters.relative_to(project).as_posix()
            note(Unreadable(Place(where), f"{type(error).__name__}: {error}"))
    return found


def _relative(project: Path, file: Path) -> str:
    path = file.resolve()
    return path.relative_to(project.resolve()).as_posix() if path.is_relative_to(project.resolve()) else file.name


class _Stage:
    """Turns one template's resources into facts."""

    def __init__(self, project: Path, name: str, template: Template, host_of: HostOf) -> None:
        self._project = project
        self._name = name
        self._template = template
        self._host_of = host_of
        self._resources = template.resources

    def deployment(self) -> Deployment:
        return Deployment(
            name=self._name,
            azure=True,
            queues={queue.name: queue for queue in self._queues()},
            hubs={hub.name: hub for hub in self._hubs()},
            apps=list(self._apps()),
            grants=list(self._grants()),
            accounts=list(self._accounts()),
        )

    def _of_type(self, kind: str) -> Iterator[Resource]:
        return (one for one in self._resources if one.type.lower() == kind.lower())

    def _place(self, one: Resource) -> Place:
        return Place(_relative(self._project, one.file), one.line)

    def _queues(self) -> Iterator[Queue]:
        for one in self._of_type("Microsoft.ServiceBus/namespaces/queues"):
            given = one.properties
            yield Queue(
                name=_last(one.name),
                place=self._place(one),
                lock=parse_duration(str(given.get("lockDuration", "PT1M"))),
                ttl=parse_duration(str(given.get("defaultMessageTimeToLive", "P14D"))),
                max_deliveries=int(given.get("maxDeliveryCount", 10)),
                sessions=bool(given.get("requiresSession", False)),
                duplicate_detection=bool(given.get("requiresDuplicateDetection", False)),
                forwards_to=str(given.get("forwardTo") or ""),
                forwards_dead_letters_to=str(given.get("forwardDeadLetteredMessagesTo") or ""),
                dead_letters_expired=bool(given.get("deadLetteringOnMessageExpiration", False)),
            )

    def _hubs(self) -> Iterator[Hub]:
        groups = [
            one.name.split("/") for one in self._of_type("Microsoft.EventHub/namespaces/eventhubs/consumergroups")
        ]
        for one in self._of_type("Microsoft.EventHub/namespaces/eventhubs"):
            name = _last(one.name)
            own = {parts[-1] for parts in groups if parts[-2] == name}
            yield Hub(
                name=name,
                place=self._place(one),
                partitions=int(one.properties.get("partitionCount", 1)),
                groups=frozenset(own - {"$Default"}),
            )

    def _apps(self) -> Iterator[App]:
        for site in self._of_type("Microsoft.Web/sites"):
            listed = site.get("properties.siteConfig.appSettings", [])
            settings = {str(one["name"]): str(one["value"]) for one in listed}
            yield App(
                name=str(site.get("tags", {}).get("azd-service-name") or site.name),
                place=self._declared(site),
                settings=settings,
                host=self._host_of(settings),
                identity=_identity(" ".join(site.get("identity.userAssignedIdentities", {}))),
                size=_size(site),
            )

    def _declared(self, one: Resource) -> Place:
        """Where the template itself asks for the module that makes it: that is where its values come from."""
        symbol = re.split(r"[\[/]", one.module)[0]
        found = self._template.document.declarations.get(symbol)
        return Place(MAIN, found.line) if found is not None else self._place(one)

    def _grants(self) -> Iterator[Grant]:
        for one in self._of_type("Microsoft.Authorization/roleAssignments"):
            role = _GUID.search(str(one.properties.get("roleDefinitionId", "")).rpartition("/")[2])
            scope = one.scope
            resource = scope if isinstance(scope, Resource) else None
            yield Grant(
                place=self._place(one),
                identity=_identity(str(one.properties.get("principalId", ""))),
                role=role[0].lower() if role else "",
                kind=_KINDS.get(resource.type.lower(), resource.type) if resource else "group",
                name=_last(resource.name) if resource else "",
            )

    def _accounts(self) -> Iterator[Account]:
        containers = [
            one.name.split("/") for one in self._of_type("Microsoft.Storage/storageAccounts/blobServices/containers")
        ]
        for one in self._of_type("Microsoft.Storage/storageAccounts"):
            own = [parts[-1] for parts in containers if parts[0] == one.name]
            keys = one.properties.get("allowSharedKeyAccess", True) is not False
            yield Account(
                place=self._place(one),
                kind="account",
                name=one.name,
                keys=keys,
                deletes_after=self._deletes_after(one.name, own),
            )
        for kind in ("Microsoft.ServiceBus/namespaces", "Microsoft.EventHub/namespaces"):
            for one in self._of_type(kind):
                keys = one.properties.get("disableLocalAuth", False) is not True
                yield Account(place=self._place(one), kind=_KINDS[kind.lower()], name=one.name, keys=keys)

    def _deletes_after(self, account: str, containers: list[str]) -> Mapping[str, float]:
        """Days until lifecycle rules delete current blobs, by prefix; a rule without prefix hits every container."""
        found: dict[str, float] = {}
        for policy in self._of_type("Microsoft.Storage/storageAccounts/managementPolicies"):
            if policy.name.split("/")[0] != account:
                continue
            for rule in policy.get("properties.policy.rules", []):
                definition = rule.get("definition", {})
                delete = definition.get("actions", {}).get("baseBlob", {}).get("delete", {})
                days = [float(value) for value in delete.values() if isinstance(value, int)]
                if not days or rule.get("enabled") is False:
                    continue
                for prefix in definition.get("filters", {}).get("prefixMatch") or [f"{name}/" for name in containers]:
                    found[prefix] = min(*days, found.get(prefix, float("inf")))
        return found


def _size(site: Resource) -> Size:
    config = "properties.functionAppConfig"
    scale = site.get(f"{config}.scaleAndConcurrency", {})
    version = site.get(f"{config}.runtime.version")
    return Size(
        memory_mb=_number(scale.get("instanceMemoryMB")),
        python=None if version is None or isinstance(version, Symbolic) else str(version),
        http_concurrency=_number(site.get(f"{config}.scaleAndConcurrency.triggers.http.perInstanceConcurrency")),
    )


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _identity(text: str) -> str:
    found = _IDENTITY.search(text)
    return found[1] if found else ""


def _last(name: str) -> str:
    return name.rpartition("/")[2]
