"""What is deployed has the properties, types and ranges that Azure defines, values of the declarations file too."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from local.bicep import Deployment, Resource
from tests.infra.rehearsal.resource_types import ResourceTypes

UNDEFINED = {"properties.functionAppConfig.siteUpdateStrategy is unknown"}
"""Documented, and not in the definitions."""


@pytest.fixture(scope="session")
def types(project: Path) -> ResourceTypes:
    """The packed definitions that bicepcheck brings."""
    for folder in (project.parent, project.parent.parent):
        if (file := folder / "shared" / "tools" / "bicepcheck" / "types.json.gz").exists():
            return ResourceTypes(file)
    pytest.skip("bicepcheck's type definitions are not beside this repository (../shared/tools/bicepcheck)")


def test_every_resource_fits_its_definition(types: ResourceTypes, environment: Deployment) -> None:
    """All of them, each with a definition."""
    assert [str(one) for one in environment.resources if not types.knows(one)] == []
    found = [(str(one), problem) for one in environment.resources for problem in types.problems(one)]
    assert [(one, problem) for one, problem in found if problem not in UNDEFINED] == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "problem"),
    [
        ("Microsoft.ServiceBus/namespaces/queues", "properties.maxDeliveryCount", "10", "is '10', no whole number"),
        ("Microsoft.ServiceBus/namespaces/queues", "properties.requiresSession", "false", "is 'false', no boolean"),
        ("Microsoft.ServiceBus/namespaces/queues", "properties.maxDeliverCount", 10, "is unknown"),
        ("Microsoft.ServiceBus/namespaces/queues", "properties.countDetails", {}, "is read-only"),
        ("Microsoft.EventHub/namespaces/eventhubs", "properties.partitionCount", 0, "is 0, out of range"),
        ("Microsoft.KeyVault/vaults", "properties.sku", {"family": "A"}, "sku.name is missing"),
        ("Microsoft.Storage/storageAccounts", "tags", ["a"], "is ['a'], no object"),
        ("Microsoft.Insights/actionGroups", "properties.groupShortName", "x" * 13, "has 13 characters"),
        ("Microsoft.Insights/metricAlerts", "properties.criteria", {"odata.type": "Mine"}, "is 'Mine', not one of"),
    ],
)
def test_a_value_of_another_type_is_found(
    types: ResourceTypes, production: Deployment, kind: str, path: str, value: Any, problem: str
) -> None:
    """Wherever it comes from."""
    resource = production.of_type(kind)[0]
    assert any(problem in one for one in types.problems(changed(resource, path, value)))


def changed(resource: Resource, path: str, value: Any) -> Resource:
    """The resource with another value at a path."""

    def inside(body: Any, parts: list[str]) -> Any:
        first, *rest = parts
        return {**body, first: inside(body.get(first, {}), rest) if rest else value}

    return dataclasses.replace(resource, body=inside(resource.body, path.split(".")))
