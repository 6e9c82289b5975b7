"""Queues, hubs, retention and functions: what runs on a laptop is what is deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local.bicep import Deployment, Resource

CONFIG = Path("local/config")


def queues(project: Path) -> dict[str, dict[str, Any]]:
    """Queues of the emulator's file."""
    config = json.loads((project / CONFIG / "servicebus.json").read_text())
    return {one["Name"]: one["Properties"] for one in config["UserConfig"]["Namespaces"][0]["Queues"]}


def settings_of(site: Resource) -> dict[str, str]:
    """A site's app settings."""
    return {one["name"]: one["value"] for one in site.get("properties.siteConfig.appSettings")}


def test_the_emulators_queues_are_deployed(project: Path, environment: Deployment) -> None:
    """All of them, with their own lock, time-to-live and delivery count."""
    deployed = {
        one.name.split("/")[1]: one.properties for one in environment.of_type("Microsoft.ServiceBus/namespaces/queues")
    }
    wanted = queues(project)
    assert deployed.keys() == wanted.keys()
    for name, properties in wanted.items():
        assert deployed[name]["lockDuration"] == properties["LockDuration"]
        assert deployed[name]["defaultMessageTimeToLive"] == properties["DefaultMessageTimeToLive"]
        assert deployed[name]["maxDeliveryCount"] == properties["MaxDeliveryCount"]
        assert deployed[name]["requiresSession"] is properties["RequiresSession"]
        assert deployed[name]["requiresDuplicateDetection"] is False
        assert "forwardDeadLetteredMessagesTo" not in deployed[name]


def test_the_emulators_hubs_are_deployed(project: Path, environment: Deployment) -> None:
    """With their partitions and consumer groups."""
    config = json.loads((project / CONFIG / "eventhubs.json").read_text())
    for hub in config["UserConfig"]["NamespaceConfig"][0]["Entities"]:
        (found,) = [
            one
            for one in environment.of_type("Microsoft.EventHub/namespaces/eventhubs")
            if one.name.endswith(f"/{hub['Name']}")
        ]
        assert found.properties["partitionCount"] >= hub["PartitionCount"]
        groups = {
            one.name.rsplit("/", 1)[-1]
            for one in environment.of_type("Microsoft.EventHub/namespaces/eventhubs/consumergroups")
            if one.name.startswith(f"{found.name}/")
        }
        assert groups == {group["Name"] for group in hub["ConsumerGroups"]}


def test_every_function_runs_in_exactly_one_app(environment: Deployment) -> None:
    """Each app has a switch for each function; one of them is on, but for what Event Grid would call.

    Where there is no lake its app isn't there either.
    """
    sites = [settings_of(site) for site in environment.of_type("Microsoft.Web/sites")]
    for one in environment.value("declared")["functions"]:
        name = one["name"]
        runs = one["trigger"] != "eventgrid" and (one["app"] != "lake" or environment.value("lakehouse"))
        off = [site[f"AzureWebJobs.{name}.Disabled"] == "true" for site in sites]
        assert sum(off) == len(sites) - bool(runs), name


def test_a_claim_outlives_its_message(environment: Deployment) -> None:
    """Guarantee 4: no rule of storage deletes a claim before its retention, nor anything else but old versions."""
    retention = environment.value("retention")
    assert retention["claimDays"] >= retention["queueTtlDays"] + retention["deadLetterDays"]
    for policy in environment.of_type("Microsoft.Storage/storageAccounts/managementPolicies"):
        for rule in policy.get("properties.policy.rules"):
            actions = rule["definition"]["actions"]
            if "delete" in actions.get("baseBlob", {}):
                assert rule["definition"]["filters"]["prefixMatch"] == ["claims/"]
                after = actions["baseBlob"]["delete"]["daysAfterModificationGreaterThan"]
                assert after >= retention["claimDays"] + retention["deadLetterDays"]


def test_deleted_payloads_can_be_brought_back(environment: Deployment) -> None:
    """Versions and soft delete for claims, soft delete for every account."""
    for service in environment.of_type("Microsoft.Storage/storageAccounts/blobServices"):
        assert service.get("properties.deleteRetentionPolicy.enabled") is True
        assert service.get("properties.deleteRetentionPolicy.days") >= 7
        assert service.get("properties.containerDeleteRetentionPolicy.enabled") is True
        if service.name.startswith("stclaims"):
            assert service.get("properties.isVersioningEnabled") is True


@pytest.mark.parametrize("stage", ["test", "prod"])
def test_who_waits_finds_an_instance(environments: dict[str, Deployment], stage: str) -> None:
    """The API and the high lane are always ready; across zones there are two of each."""
    for key in ("api", "high"):
        size = environments[stage].value("sizes")[key]
        (ready,) = size["alwaysReady"]
        assert ready["instanceCount"] >= (2 if size["zones"] else 1)


def test_always_ready_names_a_function_that_runs_there(environment: Deployment) -> None:
    """`http`, or a function that the app runs: anything else would be refused at deployment."""
    runs = {(one["app"], one["name"]) for one in environment.value("declared")["functions"]}
    for app, size in environment.value("sizes").items():
        for ready in size["alwaysReady"]:
            kind, _, name = ready["name"].partition(":")
            assert (kind == "http" and app == "api") or (kind == "function" and (app, name) in runs), ready


def test_names_fit(environment: Deployment) -> None:
    """Azure's limits: storage 24, vault 24, and a host id is the first 32 letters of an app's name."""
    for account in environment.of_type("Microsoft.Storage/storageAccounts"):
        assert 3 <= len(account.name) <= 24
        assert account.name.isalnum()
        assert account.name == account.name.lower()
    for vault in environment.of_type("Microsoft.KeyVault/vaults"):
        assert len(vault.name) <= 24
    sites = [site.name for site in environment.of_type("Microsoft.Web/sites")]
    assert all(len(name) <= 32 for name in sites)
    assert len(set(sites)) == len(sites)
