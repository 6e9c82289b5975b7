"""Parameters that compile and can't be deployed together are refused with a sentence, before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local.bicep import BicepError, Deployment, deploy, read_parameters

SUBNET = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/hub/subnets/apps"
NOTHING = dict.fromkeys(
    ("workspaceId", "functionsSubnetId", "endpointsSubnetId", "gatewaySubnetId", "dnsZonesGroupId"), ""
)
EDGE = {"enabled": False, "mode": "Prevention", "allowedNetworks": [], "requestsPerMinute": 6000}
WITHOUT_ZONES = {
    app: {"memoryMb": 2048, "maximumInstances": 10, "alwaysReady": [], "httpConcurrency": 16, "zones": False}
    for app in ("api", "high", "bulk", "ordered", "streams", "lake")
}


def brought(*subnets: str) -> dict[str, Any]:
    """A landing zone with these subnets."""
    return {"landingZone": {f"{name}SubnetId": SUBNET for name in subnets}}


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Parameters with some of them, or some of their members, exchanged."""
    whole = {"landingZone": NOTHING, "edge": EDGE, **base}
    for name, value in changes.items():
        whole[name] = {**whole[name], **value} if isinstance(value, dict) else value
    return whole


def test_the_real_stages_have_no_mistake(environment: Deployment) -> None:
    """And their resource group has its own name."""
    assert environment.value("mistakes") == []
    (group,) = environment.of_type("Microsoft.Resources/resourceGroups")
    assert group.name == f"rg-sluice-{environment.value('environmentName')}"


@pytest.mark.parametrize(
    ("stage", "changes", "told"),
    [
        ("dev", {"twoColours": True}, "twoColours needs the gateway"),
        ("dev", {"twoColours": True, "gateway": {"enabled": True}}, "twoColours needs the gateway"),
        ("dev", {"isolated": True}, "isolated needs Service Bus Premium"),
        ("test", {"gateway": {"sku": "Consumption", "capacity": 0}}, "isolated needs the gateway tier StandardV2"),
        ("test", {"gateway": {"sku": "BasicV2"}}, "isolated needs the gateway tier StandardV2"),
        ("prod", {"gateway": {"sku": "Premium"}}, "isolated needs the gateway tier StandardV2"),
        ("prod", {"gateway": {"capacity": 0}}, "gateway.capacity is 0 for Consumption"),
        ("dev", {"gateway": {"capacity": 1}}, "gateway.capacity is 0 for Consumption"),
        ("dev", {"serviceBus": {"capacity": 2}}, "serviceBus.capacity is 1 for Standard"),
        ("dev", {"serviceBus": {"queueSizeMb": 81920}}, "serviceBus.queueSizeMb is at most 5120"),
        ("prod", {"eventHubs": {"maximumCapacity": 4}}, "eventHubs.maximumCapacity is less"),
        ("prod", {"eventHubs": {"partitions": 64}}, "eventHubs.partitions is at most 32"),
        ("prod", {"eventHubs": {"retentionHours": 169}}, "eventHubs.retentionHours is at most 168"),
        ("dev", {"eventHubs": {"partitions": 32}}, "stateBuckets is less than eventHubs.partitions"),
        ("prod", {"storageSku": "Standard_GRS"}, "sizes with zones need a storageSku over zones"),
        (
            "dev",
            {"landingZone": {"functionsSubnetId": SUBNET, "endpointsSubnetId": SUBNET}},
            "which isolated alone uses",
        ),
        (
            "prod",
            {"landingZone": {"gatewaySubnetId": SUBNET, "functionsSubnetId": SUBNET}},
            "endpointsSubnetId together",
        ),
        (
            "prod",
            {"landingZone": {"endpointsSubnetId": SUBNET, "functionsSubnetId": SUBNET}},
            "has gatewaySubnetId where",
        ),
        ("prod", {"landingZone": {"dnsZonesGroupId": "rg-dns"}}, "landingZone has whole ids"),
        ("dev", {"landingZone": {"workspaceId": "log-central"}}, "landingZone has whole ids"),
        ("dev", {"ownership": {"costCenter": " "}}, "ownership says application, businessUnit and costCenter"),
        ("prod", {"ownership": {"businessUnit": ""}}, "ownership.businessUnit is '': minLength is 1"),
        ("prod", {"thresholds": {"otherAgeSeconds": 1}}, "thresholds.otherAgeSeconds is less"),
        ("dev", {"appSettings": {"SLUICE_SYNTHETIC": True}}, "appSettings.SLUICE_SYNTHETIC is True, no string"),
        ("dev", {"edge": {"enabled": True}}, "edge needs the gateway behind it"),
        (
            "prod",
            {
                "edge": {"enabled": True},
                "gateway": {"allowedRanges": [{"first": "203.0.113.1", "last": "203.0.113.9"}]},
            },
            "edge goes with allowedNetworks of its own",
        ),
        ("prod", {"edge": {"enabled": True, "requestsPerMinute": 9}}, "edge.requestsPerMinute is 9"),
        ("dev", {"appSettings": {"SLUICE_CLOUD": "china"}}, "appSettings has a name that the template sets itself"),
        *(
            ("dev", {"environmentName": name}, "environmentName is small letters")
            for name in ("a_", "A1", "a.b", "-a", "a-")
        ),
    ],
)
def test_a_combination_that_can_not_be_deployed_is_refused(
    infra: Path, stage: str, changes: dict[str, Any], told: str
) -> None:
    """With its sentence, and with no other one."""
    parameters = changed(read_parameters(infra / f"params/{stage}.bicepparam", {}), changes)
    with pytest.raises(BicepError, match=told) as refused:
        _ = deploy(infra / "main.bicep", parameters).own_resources
    assert ";" not in str(refused.value)


def test_several_mistakes_are_told_together(infra: Path) -> None:
    """One run is enough to know them all."""
    parameters = changed(
        read_parameters(infra / "params/dev.bicepparam", {}), {"twoColours": True, "serviceBus": {"capacity": 2}}
    )
    with pytest.raises(BicepError, match=r"twoColours needs .*; serviceBus\.capacity is 1"):
        _ = deploy(infra / "main.bicep", parameters).own_resources


@pytest.mark.parametrize(
    "changes",
    [
        {"twoColours": True},
        {"notifications": True},
        {"lakehouse": True},
        {"lakehouse": True, "twoColours": True},
        {"edge": {"enabled": True, "allowedNetworks": ["203.0.113.0/24"]}},
        {"sizes": WITHOUT_ZONES, "storageSku": "Standard_LRS"},
        {"isolated": False, "gateway": {"sku": "BasicV2"}},
        {"isolated": False, "gateway": {"sku": "Consumption", "capacity": 0}},
        {"isolated": False, "gateway": {"enabled": False, "sku": "Consumption", "capacity": 0}},
        {"eventHubs": {"sku": "Premium", "partitions": 100, "maximumCapacity": 0, "retentionHours": 2160}},
    ],
)
def test_what_goes_together_is_deployed(infra: Path, changes: dict[str, Any]) -> None:
    """A guard that refuses too much would be an outage of its own."""
    parameters = changed(read_parameters(infra / "params/prod.bicepparam", {}), changes)
    assert len(deploy(infra / "main.bicep", parameters).resources) > 150


def test_the_lake_has_an_app_where_it_is_asked_for(infra: Path) -> None:
    """Every app knows its account, as itself; Capture and the app never both write the events of one hub."""
    for asked in (False, True):
        parameters = changed(read_parameters(infra / "params/prod.bicepparam", {}), {"lakehouse": asked})
        sites = deploy(infra / "main.bicep", parameters).of_type("Microsoft.Web/sites")
        assert len(sites) == (6 if asked else 5)
        for site in sites:
            settings = {one["name"]: str(one["value"]) for one in site.get("properties.siteConfig.appSettings")}
            assert ("Lake__blobServiceUri" in settings) is asked
            assert ("Lake__clientId" in settings) is asked
            assert settings.get("SLUICE_BRONZE_CAPTURE", "none") == ("True" if asked else "none")


def test_the_api_reads_the_lake_where_something_is_shared(infra: Path) -> None:
    """It signs links to the files as itself; without shares it has no role there at all."""
    for shares in ({}, {"appSettings": {"SLUICE_SHARES": '{"sales": {"gold": ["daily_sales"]}}'}}):
        parameters = changed(read_parameters(infra / "params/prod.bicepparam", {}), {"lakehouse": True, **shares})
        deployment = deploy(infra / "main.bicep", parameters)
        reasons = {
            str(one.properties["description"]) for one in deployment.of_type("Microsoft.Authorization/roleAssignments")
        }
        assert any("Reads the logs of shared tables." in one for one in reasons) is bool(shares)
        assert ("Signs links with which recipients read the files of shared tables." in reasons) is bool(shares)


def test_behind_front_door_its_host_is_the_address(infra: Path) -> None:
    """In `Location`, for the smoke test, and at the gateway, which lets nothing else through."""
    parameters = changed(read_parameters(infra / "params/prod.bicepparam", {}), {"edge": {"enabled": True}})
    deployment = deploy(infra / "main.bicep", parameters)
    (endpoint,) = deployment.of_type("Microsoft.Cdn/profiles/afdEndpoints")
    for site in deployment.of_type("Microsoft.Web/sites"):
        settings = {one["name"]: str(one["value"]) for one in site.get("properties.siteConfig.appSettings")}
        assert str(endpoint.name) in settings["SLUICE_PUBLIC_URL"]
    (fragment,) = [
        one
        for one in deployment.of_type("Microsoft.ApiManagement/service/policyFragments")
        if one.name.endswith("sluice-addresses")
    ]
    assert 'check-header name="X-Azure-FDID"' in str(fragment.properties["value"])
    (firewall,) = deployment.of_type("Microsoft.Network/FrontDoorWebApplicationFirewallPolicies")
    assert firewall.get("properties.policySettings.mode") == "Prevention"


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_further_settings_are_those_of_every_app(infra: Path, stage: str) -> None:
    """From azd's environment, as one line of JSON; the next deployment doesn't take them away."""
    given = {"SLUICE_APP_SETTINGS": '{"SLUICE_SYNTHETIC": "true", "SLUICE_PARTNER_URLS": "carrier=https://c.example"}'}
    deployment = deploy(infra / "main.bicep", read_parameters(infra / f"params/{stage}.bicepparam", given))
    sites = deployment.of_type("Microsoft.Web/sites")
    assert sites
    for site in sites:
        settings = {one["name"]: one["value"] for one in site.get("properties.siteConfig.appSettings")}
        assert settings["SLUICE_SYNTHETIC"] == "true"
        assert settings["SLUICE_PARTNER_URLS"] == "carrier=https://c.example"


def test_hubs_have_the_partitions_of_their_stage(environments: dict[str, Deployment]) -> None:
    """32 in production: they can't be added later on Standard."""
    for stage, expected in (("dev", 4), ("test", 4), ("prod", 32)):
        hubs = environments[stage].of_type("Microsoft.EventHub/namespaces/eventhubs")
        assert {hub.properties["partitionCount"] for hub in hubs} == {expected}


@pytest.mark.parametrize("stage", ["dev", "test", "staging", "prod"])
def test_units_that_have_grown_are_not_taken_away(infra: Path, stage: str) -> None:
    """A deployment is told what auto-inflate has made of them; less than the stage begins with is never set."""
    file = infra / f"params/{stage}.bicepparam"

    def units(told: str | None) -> int:
        environment = {} if told is None else {"SLUICE_EVENT_HUB_UNITS": told}
        (namespace,) = deploy(infra / "main.bicep", read_parameters(file, environment)).of_type(
            "Microsoft.EventHub/namespaces"
        )
        return int(namespace.get("sku.capacity"))

    first = units(None)
    assert units("0") == first
    assert units("2") == max(2, first)
