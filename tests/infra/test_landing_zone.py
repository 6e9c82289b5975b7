"""What a landing zone brings is used, and nothing of its kind is made beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.bicep import BicepError, Deployment, deploy, read_parameters

HUB = "/subscriptions/hub/resourceGroups/rg-network"
NETWORK = f"{HUB}/providers/Microsoft.Network/virtualNetworks/vnet-spoke"
WORKSPACE = f"{HUB}/providers/Microsoft.OperationalInsights/workspaces/log-central"
BROUGHT = {
    "workspaceId": WORKSPACE,
    "functionsSubnetId": f"{NETWORK}/subnets/apps",
    "endpointsSubnetId": f"{NETWORK}/subnets/endpoints",
    "gatewaySubnetId": f"{NETWORK}/subnets/gateway",
    "dnsZonesGroupId": "/subscriptions/hub/resourceGroups/rg-dns",
}
MADE = (
    "Microsoft.Network/virtualNetworks",
    "Microsoft.Network/networkSecurityGroups",
    "Microsoft.Network/privateDnsZones",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
    "Microsoft.OperationalInsights/workspaces",
)


@pytest.fixture(scope="module")
def landed(infra: Path) -> Deployment:
    """Production in a landing zone that has everything."""
    parameters = {**read_parameters(infra / "params/prod.bicepparam", {}), "landingZone": BROUGHT}
    return deploy(infra / "main.bicep", parameters)


def test_nothing_that_is_there_is_made(landed: Deployment, production: Deployment) -> None:
    """And everything else is."""
    assert all(production.of_type(kind) for kind in MADE)
    assert [kind for kind in MADE if landed.of_type(kind)] == []
    kept = {one.type for one in production.resources} - set(MADE)
    assert kept <= {one.type for one in landed.resources}


def test_what_is_brought_is_used(landed: Deployment) -> None:
    """Subnets by the apps, the endpoints and the gateway, zones by the endpoints, the workspace by everything."""
    sites = landed.of_type("Microsoft.Web/sites")
    assert {str(one.properties["virtualNetworkSubnetId"]) for one in sites} == {BROUGHT["functionsSubnetId"]}
    endpoints = landed.of_type("Microsoft.Network/privateEndpoints")
    assert len(endpoints) >= 16
    assert {str(one.get("properties.subnet.id")) for one in endpoints} == {BROUGHT["endpointsSubnetId"]}
    groups = landed.of_type("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
    zones = {
        str(each["properties"]["privateDnsZoneId"])
        for one in groups
        for each in one.properties["privateDnsZoneConfigs"]
    }
    assert zones
    inside = f"{BROUGHT['dnsZonesGroupId']}/providers/Microsoft.Network/privateDnsZones/privatelink."
    assert all(zone.startswith(inside) for zone in zones)
    (service,) = landed.of_type("Microsoft.ApiManagement/service")
    assert service.get("properties.virtualNetworkConfiguration.subnetResourceId") == BROUGHT["gatewaySubnetId"]
    settings = landed.of_type("Microsoft.Insights/diagnosticSettings")
    assert {str(one.properties["workspaceId"]) for one in settings} == {WORKSPACE}
    rules = landed.of_type("Microsoft.Insights/scheduledQueryRules")
    assert {str(each) for one in rules for each in one.properties["scopes"]} == {WORKSPACE}
    (component,) = landed.of_type("Microsoft.Insights/components")
    assert component.properties["WorkspaceResourceId"] == WORKSPACE
    assert landed.outputs["SLUICE_WORKSPACE_NAME"] == "log-central"


def test_a_brought_network_may_have_zones_of_our_own(infra: Path) -> None:
    """They are linked to the network that its subnets are in."""
    parameters = read_parameters(infra / "params/prod.bicepparam", {})
    own_zones = {**BROUGHT, "dnsZonesGroupId": ""}
    made = deploy(infra / "main.bicep", {**parameters, "landingZone": own_zones})
    links = made.of_type("Microsoft.Network/privateDnsZones/virtualNetworkLinks")
    assert links
    assert {str(one.get("properties.virtualNetwork.id")) for one in links} == {NETWORK}
    assert not made.of_type("Microsoft.Network/virtualNetworks")


KEY = {"keyUri": "https://kv-bank.vault.azure.net/keys/sluice", "identityId": f"{HUB}/providers/x/identities/id-keys"}
PREMIUM_HUBS = {
    "sku": "Premium", "capacity": 1, "maximumCapacity": 0, "partitions": 32, "retentionHours": 168, "capture": True,
}  # fmt: skip


def test_a_customers_key_encrypts_everything_at_rest(infra: Path, production: Deployment) -> None:
    """Every account and both namespaces, by the identity that may use the key; without one they are as they were."""
    parameters = read_parameters(infra / "params/prod.bicepparam", {})
    keyed = deploy(infra / "main.bicep", {**parameters, "customerKey": KEY, "eventHubs": PREMIUM_HUBS})
    accounts = keyed.of_type("Microsoft.Storage/storageAccounts")
    assert len(accounts) == len(production.of_type("Microsoft.Storage/storageAccounts")) == 8
    for one in accounts:
        encryption = one.properties["encryption"]
        assert encryption["keySource"] == "Microsoft.Keyvault"
        assert encryption["keyvaultproperties"] == {
            "keyname": "sluice",
            "keyvaulturi": "https://kv-bank.vault.azure.net",
        }
        assert encryption["identity"] == {"userAssignedIdentity": KEY["identityId"]}
        assert encryption["services"]["table"]["keyType"] == "Account"  # else tables keep the platform's key
    for kind in ("Microsoft.ServiceBus/namespaces", "Microsoft.EventHub/namespaces"):
        (namespace,) = keyed.of_type(kind)
        (key,) = namespace.get("properties.encryption.keyVaultProperties")
        assert (key["keyName"], key["keyVaultUri"]) == ("sluice", "https://kv-bank.vault.azure.net")
        assert key["identity"] == {"userAssignedIdentity": KEY["identityId"]}
    for one in (*accounts, *keyed.of_type("Microsoft.ServiceBus/namespaces")):
        assert list(one.get("identity.userAssignedIdentities")) == [KEY["identityId"]]
    (hubs,) = keyed.of_type("Microsoft.EventHub/namespaces")
    assert hubs.get("identity.type") == "SystemAssigned, UserAssigned"  # Capture writes as the first of them
    for one in production.of_type("Microsoft.Storage/storageAccounts"):
        assert one.get("properties.encryption.keySource") == "Microsoft.Storage"
        assert one.body["identity"] is None


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ({**KEY, "identityId": ""}, "keyUri and identityId together"),
        ({**KEY, "keyUri": f"{KEY['keyUri']}/0123"}, "without a version"),
        (KEY, "customerKey needs Premium"),
    ],
)
def test_a_key_that_can_not_be_used_is_refused(infra: Path, key: dict[str, str], told: str) -> None:
    """With its sentence, before anything is made."""
    parameters = {**read_parameters(infra / "params/prod.bicepparam", {}), "customerKey": key}
    with pytest.raises(BicepError, match=told):
        _ = deploy(infra / "main.bicep", parameters).own_resources
