"""The security posture, asserted on what each environment would deploy."""

from __future__ import annotations

from local.bicep import Deployment, Resource, Symbolic

ACCOUNTS = "Microsoft.Storage/storageAccounts"
BUSES = ("Microsoft.ServiceBus/namespaces", "Microsoft.EventHub/namespaces")
REACHED = (ACCOUNTS, *BUSES, "Microsoft.KeyVault/vaults", "Microsoft.Web/sites")
LOGGED = (
    *REACHED,
    f"{ACCOUNTS}/blobServices",
    f"{ACCOUNTS}/tableServices",
    "Microsoft.Web/serverfarms",
    "Microsoft.OperationalInsights/workspaces",
)
HOLDING = (ACCOUNTS, *BUSES, "Microsoft.KeyVault/vaults")
WIDE_ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
}


def of(deployment: Deployment, *types: str) -> list[Resource]:
    """The resources of these types; there is at least one of each."""
    found = [(kind, deployment.of_type(kind)) for kind in types]
    assert all(resources for _, resources in found), f"none of {[kind for kind, some in found if not some]}"
    return [resource for _, resources in found for resource in resources]


DELEGATOR = "db58b8e5-c6ad-4a2a-8342-4190687cbf4a"


def test_storage_knows_no_keys_and_no_strangers(environment: Deployment) -> None:
    """Identity alone opens an account, over TLS 1.2, and no blob is public."""
    for account in of(environment, ACCOUNTS):
        properties = account.properties
        assert properties["allowSharedKeyAccess"] is False, account
        assert properties["allowBlobPublicAccess"] is False, account
        assert properties["allowCrossTenantReplication"] is False, account
        assert properties["minimumTlsVersion"] == "TLS1_2", account
        assert properties["supportsHttpsTrafficOnly"] is True, account
    for container in of(environment, f"{ACCOUNTS}/blobServices/containers"):
        assert container.get("properties.publicAccess") == "None", container


def test_namespaces_know_no_connection_strings(environment: Deployment) -> None:
    """Neither here nor in a rule of their own."""
    for namespace in of(environment, *BUSES):
        assert namespace.properties["disableLocalAuth"] is True, namespace
        assert namespace.properties["minimumTlsVersion"] == "1.2", namespace
    assert not [one for one in environment.resources if "authorizationRules" in one.type]


def test_telemetry_is_taken_from_identities_only(environment: Deployment) -> None:
    """The connection string names the component; it doesn't open it."""
    for component in of(environment, "Microsoft.Insights/components"):
        assert component.properties["DisableLocalAuth"] is True
    for workspace in of(environment, "Microsoft.OperationalInsights/workspaces"):
        assert workspace.get("properties.features.disableLocalAuth") is True


def test_the_vault_obeys_roles_and_forgets_nothing(environment: Deployment) -> None:
    """No access policies, no purge."""
    for vault in of(environment, "Microsoft.KeyVault/vaults"):
        assert vault.properties["enableRbacAuthorization"] is True
        assert vault.properties["enablePurgeProtection"] is True
        assert vault.properties["enableSoftDelete"] is True
        assert vault.properties["softDeleteRetentionInDays"] == 90
        assert "accessPolicies" not in vault.properties
    for key in of(environment, "Microsoft.KeyVault/vaults/keys"):
        assert set(key.properties["keyOps"]) == {"wrapKey", "unwrapKey"}


def test_apps_speak_tls_and_take_no_passwords(environment: Deployment) -> None:
    """No FTP, no basic authentication for deployments, an identity of its own for each."""
    sites = of(environment, "Microsoft.Web/sites")
    for site in sites:
        assert site.properties["httpsOnly"] is True
        assert site.get("properties.siteConfig.minTlsVersion") == "1.2"
        assert site.get("properties.siteConfig.scmMinTlsVersion") == "1.2"
        assert site.get("identity.type") == "UserAssigned"
        storage = site.properties["functionAppConfig"]["deployment"]["storage"]
        assert storage["authentication"]["type"] == "UserAssignedIdentity"
    closed = of(environment, "Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert {one.name for one in closed} == {f"{site.name}/{kind}" for site in sites for kind in ("ftp", "scm")}
    assert all(one.properties["allow"] is False for one in closed)
    assert len({next(iter(site.get("identity.userAssignedIdentities"))) for site in sites}) == len(sites)
    assert len({site.properties["serverFarmId"] for site in sites}) == len(sites)


def test_what_is_private_when_asked(environments: dict[str, Deployment]) -> None:
    """Closed to the public network where `isolated` says so; the other environments show that it is a switch."""
    states = {}
    for stage, environment in environments.items():
        access = {one.properties["publicNetworkAccess"] for one in of(environment, *REACHED)}
        states[stage] = (environment.value("isolated"), access)
        for one in of(environment, ACCOUNTS, "Microsoft.KeyVault/vaults"):
            wanted = "Deny" if environment.value("isolated") else "Allow"
            assert one.get("properties.networkAcls.defaultAction") == wanted, one
    closed = dict.fromkeys(("test", "staging", "prod"), (True, {"Disabled"}))
    assert states == {"dev": (False, {"Enabled"}), **closed}


def test_private_service_bus_is_premium(environment: Deployment) -> None:
    """Standard has no private endpoints."""
    for namespace in of(environment, "Microsoft.ServiceBus/namespaces"):
        if environment.value("isolated"):
            assert namespace.get("sku.name") == "Premium"


def test_roles_are_narrow_and_reasoned(environment: Deployment) -> None:
    """At a queue, hub, container, table, key, vault or the hosts' account; none opens everything; each says why."""
    grants = of(environment, "Microsoft.Authorization/roleAssignments")
    assert len({grant.name for grant in grants}) == len(grants)
    for grant in grants:
        role = grant.properties["roleDefinitionId"].rsplit("/", 1)[-1]
        assert role not in WIDE_ROLES, f"{grant.scope}: {WIDE_ROLES.get(role)}"
        assert isinstance(grant.scope, Resource), grant
        assert grant.scope.type not in (*BUSES, "Microsoft.Resources/resourceGroups"), grant.scope
        if grant.scope.type == ACCOUNTS:
            # The key that signs links is lent by an account alone, and the role lets nothing else.
            assert grant.scope.name.startswith("stclaims" if role == DELEGATOR else "sthost"), grant.scope
        assert len(grant.properties["description"]) >= 20, grant
        assert grant.properties["principalType"] == "ServicePrincipal"
    assert not environment.of_type("Microsoft.Authorization/roleDefinitions")


def test_a_grant_is_on_something_that_is_deployed(environment: Deployment) -> None:
    """A role on a queue or container of another name would be granted to nothing."""
    deployed = {(one.type, one.name) for one in environment.resources}
    for grant in of(environment, "Microsoft.Authorization/roleAssignments"):
        assert isinstance(grant.scope, Resource)
        assert (grant.scope.type, grant.scope.name) in deployed, grant.scope


def test_everything_is_logged(environment: Deployment) -> None:
    """Each resource that has diagnostics sends them to the workspace."""
    logged = {str(one.scope) for one in of(environment, "Microsoft.Insights/diagnosticSettings")}
    missing = [str(one) for one in of(environment, *LOGGED) if str(one) not in logged]
    assert not missing
    for setting in of(environment, "Microsoft.Insights/diagnosticSettings"):
        kinds = [*setting.properties.get("logs", []), *setting.properties.get("metrics", [])]
        assert kinds, setting.scope
        assert all(kind["enabled"] for kind in kinds), setting.scope
        assert "workspaces" in setting.properties["workspaceId"]


def test_what_holds_data_is_kept_from_deletion_in_production(environments: dict[str, Deployment]) -> None:
    """Every store has a lock there, but for the packages, which can be built again."""
    production = environments["prod"]
    locked = {str(lock.scope) for lock in of(production, "Microsoft.Authorization/locks")}
    unlocked = [one.name for one in of(production, *HOLDING) if str(one) not in locked]
    assert [name for name in unlocked if not name.startswith("stdeploy")] == []
    assert not environments["dev"].of_type("Microsoft.Authorization/locks")


def test_no_secret_is_in_a_setting_or_an_output(environment: Deployment) -> None:
    """A setting that is secret is a reference; outputs name things."""
    for site in of(environment, "Microsoft.Web/sites"):
        for setting in site.get("properties.siteConfig.appSettings"):
            name, value = setting["name"], str(setting["value"])
            assert "AccountKey" not in value, name
            assert "SharedAccessKey" not in value, name
            if name.endswith("_KEY") or name == "SLUICE_API_KEYS":
                assert value.startswith(("secret:", "key:")), name
    for name, value in environment.outputs.items():
        assert "listKeys" not in str(value), name


def test_every_resource_is_tagged(environment: Deployment) -> None:
    """What can have tags says whose it is and of which stage."""
    tagged = (*HOLDING, "Microsoft.Web/sites", "Microsoft.Web/serverfarms", "Microsoft.Resources/resourceGroups")
    for one in of(environment, *tagged, "Microsoft.ManagedIdentity/userAssignedIdentities"):
        tags = one.body["tags"]
        assert tags["workload"] == "sluice"
        assert tags["stage"] == tags["Environment"] == environment.value("stage")
        assert all(str(tags[name]).strip() for name in ("Application", "BusinessUnit", "CostCenter", "DataClass"))
        assert not isinstance(tags["azd-env-name"], Symbolic)


POLICIES = {
    "404c3081-a854-4457-ae30-26a93ef643f9", "fe83a0eb-a853-422d-aac2-1bffd182c5d0",
    "8c6a50c6-9ffd-4ae7-986f-5fa6111f9a54", "4fa4b6c0-31ca-4c0d-b10d-24b96f62a751",
    "12d4fa5e-1f9f-4c21-97a9-b99b3c6611b5", "cfb11c26-f069-4c14-8e36-56c394dae5af",
    "5d4e3c65-4873-47be-94f3-6f8b953a3598", "6d555dd1-86f2-4f1c-8ed7-5abae7c6cbab",
}  # fmt: skip
"""Built-in definitions for TLS, keys and roles that know the effect Deny (Azure/azure-policy, August 2026)."""
PRIVATE = {
    "b2982f36-99f2-4db5-8eff-283140c09693", "405c5871-3e91-4644-8a63-58e19d68ff5b",
    "cbd11fd3-3002-4907-b6c8-579f0e700e13", "0602787f-9896-402a-a6e1-39ee63ee435e",
}  # fmt: skip
"""Those against public access."""


def test_azure_refuses_what_must_never_change(environments: dict[str, Deployment]) -> None:
    """Whoever asks, and only where nobody tries things out; each says in a sentence why."""
    wanted = {stage: POLICIES | PRIVATE if stage != "dev" else set[str]() for stage in environments}
    for stage, environment in environments.items():
        found = environment.of_type("Microsoft.Authorization/policyAssignments")
        assert {str(one.properties["policyDefinitionId"]).rstrip(")]")[-36:] for one in found} == wanted[stage]
        for one in found:
            assert one.get("properties.parameters.effect.value") == "Deny"
            assert one.get("properties.nonComplianceMessages")[0]["message"].endswith(".")


def test_what_event_grid_can_not_deliver_is_kept(environment: Deployment) -> None:
    """In a container that is there: Event Grid may write there, and the app that empties it."""
    (subscription,) = of(environment, "Microsoft.EventGrid/systemTopics/eventSubscriptions")
    kept = subscription.get("properties.deadLetterWithResourceIdentity.deadLetterDestination.properties")
    (container,) = [
        one
        for one in of(environment, f"{ACCOUNTS}/blobServices/containers")
        if one.name.endswith(f"/{kept['blobContainerName']}")
    ]
    writers = [
        one
        for one in of(environment, "Microsoft.Authorization/roleAssignments")
        if isinstance(one.scope, Resource) and one.scope.name == container.name
    ]
    assert sorted(str(one.properties["description"]) for one in writers) == [
        "Keeps events of the vault that could not be brought to the queue for a day.",
        "Takes what Event Grid could not deliver.",
    ]
    assert container.name.split("/")[0] in str(kept["resourceId"])
