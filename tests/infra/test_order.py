"""What Azure refuses side by side is deployed one after the other."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from local.bicep import Declaration, Document, read
from local.bicep.syntax import text_of

SERVICE_CHILD = re.compile(r"resource Microsoft\.ApiManagement/service/\w+")
PRIVATE_SCOPE_CHILD = re.compile(r"resource Microsoft\.Insights/privateLinkScopes/\w+")


def source(one: Declaration) -> str:
    """A declaration's value as written, without comments."""
    return re.sub(r"//.*", "", text_of(one.value)) if one.value is not None else ""


def waits_for(document: Document) -> dict[str, set[str]]:
    """Each resource or module of a file → all that are there before it is begun."""
    ours = {name: one for name, one in document.declarations.items() if one.kind in ("resource", "module")}
    near = {name: {other for other in ours if re.search(rf"\b{other}\b", source(one))} for name, one in ours.items()}
    far: dict[str, set[str]] = {}

    def before(name: str) -> set[str]:
        if name not in far:
            far[name] = set()
            far[name] = near[name].union(*(before(other) for other in near[name])) - {name}
        return far[name]

    return {name: before(name) for name in ours}


def one_by_one(one: Declaration) -> bool:
    """Whether the rounds of a loop wait for each other; what is no loop has one round."""
    batch = one.decorators.get("batchSize")
    return not source(one).startswith("[for") or (batch is not None and text_of(batch) == "1")


@pytest.mark.parametrize(
    ("file", "kind"),
    [("modules/apim.bicep", SERVICE_CHILD), ("modules/monitoring.bicep", PRIVATE_SCOPE_CHILD)],
)
def test_children_that_take_one_change_at_a_time_are_a_chain(infra: Path, file: str, kind: re.Pattern[str]) -> None:
    """PessimisticConcurrencyConflict of API Management; the private link's scope refuses two scoped resources at once.

    Sources: azure-api-management-devops-resource-kit#340, terraform-provider-azurerm#22236.
    """
    document = read(infra / file)
    children = [one for one in document.declarations.values() if kind.match(f"{one.kind} {one.kind_of}")]
    assert len(children) >= 2
    before = waits_for(document)
    for first, second in combinations(children, 2):
        assert first.name in before[second.name] or second.name in before[first.name], (first.name, second.name)
    assert [one.name for one in children if not one_by_one(one)] == []


def test_apps_join_their_subnet_one_by_one(infra: Path) -> None:
    """Two at once: 409, ServiceAssociationLinkLease (terraform-provider-azurerm#32089)."""
    document = read(infra / "main.bicep")
    apps = [one for one in document.declarations.values() if one.kind_of == "modules/functionapp.bicep"]
    assert {one.name for one in apps} == {"app", "green"}
    assert all(map(one_by_one, apps))
    assert "app" in waits_for(document)["green"]


def test_private_endpoints_are_made_one_by_one(infra: Path) -> None:
    """About ten at once in one subnet fail one time in three (bicep-ptn-aiml-landing-zone#41)."""
    users = [
        (file.name, one)
        for file in sorted(infra.rglob("*.bicep"))
        for one in read(file).declarations.values()
        if "private-endpoint.bicep" in one.kind_of or "Microsoft.Network/privateEndpoints@" in one.kind_of
    ]
    assert [(file, one.name) for file, one in users] == [
        ("private-endpoint.bicep", "endpoint"),
        ("private-endpoints.bicep", "endpoint"),
    ]
    assert one_by_one(users[1][1])
    whole = read(infra / "main.bicep")
    (all_of_them,) = (one.name for one in whole.declarations.values() if "private-endpoints" in one.kind_of)
    modules = {name for name, one in whole.declarations.items() if one.kind == "module"}
    reached = {
        "bus",
        "hubs",
        "state",
        "claims",
        "lake",
        "host",
        "packages",
        "vault",
        "monitoring",
        "app",
        "green",
        "topic",
    }
    assert reached <= modules
    assert reached <= waits_for(whole)[all_of_them]
