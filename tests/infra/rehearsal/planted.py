"""Faults that were found in the infrastructure once, each as the change that brings it back.

`docs/rehearsal.md` lists them; a test holds both together.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["PLANTED", "Edit", "Planted", "copy_of", "plant"]

COPIED = ("infra", ".github", ".azure-pipelines", "azure.yaml", "azure-pipelines.yml", "host.json", ".gitignore")


class Edit(NamedTuple):
    """What is exchanged in a file: a pattern that is found there, and what takes its place."""

    file: str
    pattern: str
    instead: str


class Planted(NamedTuple):
    """One fault: its number in the list of those that were found, what it is, and the rule that tells of it.

    0 is for kinds that came later.
    """

    number: int
    what: str
    rule: str
    stage: str
    edits: tuple[Edit, ...] = ()
    state: Mapping[str, Any] = {}
    with_it: tuple[str, ...] = ()
    """Other rules that the same fault breaks."""
    environment: Mapping[str, str] = {}
    """azd's variables, where a fault shows with some of them alone."""


def copy_of(project: Path, target: Path) -> Path:
    """A copy of what a deployment reads."""
    for name in COPIED:
        source = project / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)
    return target


def plant(fault: Planted, folder: Path) -> None:
    """Make the changes; each pattern has to be found."""
    for edit in fault.edits:
        file = folder / edit.file
        before = file.read_text(encoding="utf-8")
        after = re.compile(edit.pattern, re.MULTILINE).sub(edit.instead.replace("\\", r"\\"), before)
        assert after != before, f"{fault.what}: {edit.pattern} is not in {edit.file}"
        file.write_text(after, encoding="utf-8")


MAIN, APP, APIM, ALERTS = (
    "infra/" + name
    for name in ("main.bicep", "modules/functionapp.bicep", "modules/apim.bicep", "modules/alerts.bicep")
)
BUS, HUBS, ACCOUNT = ("infra/modules/" + name for name in ("servicebus.bicep", "eventhubs.bicep", "storage.bicep"))
SECRETS, MONITORING, NETWORK = (
    "infra/modules/" + name for name in ("secret-events.bicep", "monitoring.bicep", "network.bicep")
)
LIMITS = "infra/policies/limits-v2.xml"
NO_GUARDS = Edit(MAIN, r"empty\(mistakes\) \? names\.group : fail\(join\(mistakes, '; '\)\)", "names.group")


def prod(pattern: str, instead: str) -> tuple[Edit, ...]:
    """The same change in a stage's parameters and in azd's."""
    return tuple(Edit(file, pattern, instead) for file in ("infra/params/prod.bicepparam", "infra/main.bicepparam"))


EDGE = prod(
    r"^param location =",
    "param edge = { enabled: true, mode: 'Prevention', allowedNetworks: [], requestsPerMinute: 6000 }\n"
    "param location =",
)
DOOR = "infra/modules/frontdoor.bicep"

PLANTED = (
    Planted(1, "a parameter without a value, which azd asks for", "azd-asks-for-nothing", "dev",
        (Edit(MAIN, r"^param location string$", "param location string\n\nparam ownerName string"),)),
    Planted(2, "ftpsState on Flex Consumption", "flex-site-config", "dev",
        (Edit(APP, r"^( +)http20Enabled: true", "      ftpsState: 'Disabled'\n      http20Enabled: true"),)),
    Planted(2, "a setting of another plan", "flex-settings", "dev",
        (Edit(MAIN, r"PYTHON_ENABLE_INIT_INDEXING: '1'", "FUNCTIONS_WORKER_RUNTIME: 'python'"),)),
    Planted(0, "an instance size that Flex Consumption doesn't have", "flex-sizes", "dev",
        (Edit(APP, r"instanceMemoryMB: memoryMb", "instanceMemoryMB: 1024"),)),
    Planted(0, "a function that is kept ready where it doesn't run", "always-ready-names-groups", "test",
        tuple(Edit(file, "'function:lane_high'", "'function:lane-high'")
              for file in ("infra/params/test.bicepparam", "infra/main.bicepparam"))),
    Planted(0, "an API that leaves its concurrency to the platform", "http-concurrency-is-stated", "dev",
        (Edit(APP, r"perInstanceConcurrency: httpConcurrency", ""),)),
    Planted(0, "a subnet too small for the apps", "subnet-has-room-for-the-apps", "test",
        (Edit(MAIN, r"functions: '10\.60\.0\.0/26'", "functions: '10.60.0.0/27'"),)),
    Planted(0, "instances beyond the region's quota", "cores-fit-the-quota", "prod",
        prod(r"maximumInstances: 80", "maximumInstances: 300")),
    Planted(0, "a parameter outside its limits", "provision", "dev",
        (Edit("infra/params/dev.bicepparam", r"stateAccounts = 1\b", "stateAccounts = 17"),
         Edit("infra/main.bicepparam", r"stateAccounts: 1\b", "stateAccounts: 17"))),
    Planted(3, "a query that names a value `long`", "query-names-are-no-words", "dev",
        (Edit("infra/queries/burn-rate.kql", r"\bhour\b(?= =|,)", "long"),)),
    Planted(4, "one metric alert over two accounts", "metric-alert-watches-one-resource", "dev",
        (Edit(ALERTS, r"scopes: \[accounts\[i / .*\]\.id\]", "scopes: [accounts[0].id, accounts[1].id]"),),
        with_it=("metric-alert-criteria-fit-their-scopes",)),
    Planted(5, "nobody is signed in", "preflight", "dev", state={"signed_in": False},
        with_it=("name-is-not-kept-by-what-was-deleted",)),
    Planted(6, "neither an issuer nor API keys", "somebody-is-let-in", "dev",
        (Edit(MAIN, r"SLUICE_API_KEYS: 'secret:api-keys'", "SLUICE_API_KEYS: ''"),), with_it=("smoke test",)),
    Planted(7, "a package that azd builds remotely", "package-is-not-built-remotely", "dev",
        (Edit("azure.yaml", r"^    host: function$", "    remoteBuild: true\n    host: function"),)),
    Planted(8, "private stages from a hosted runner", "runner-reaches-what-is-private", "test",
        (Edit(".github/workflows/deploy.yml", r"^    runs-on: .*", "    runs-on: ubuntu-24.04\n    # planted"),)),
    Planted(9, "a path of the smoke test that the gateway doesn't serve", "gateway-serves-what-is-tried", "dev",
        (Edit("infra/delivery/smoke.py", r'"api/health/ready"', '"api/everything"'),)),
    Planted(10, "quota-by-key in a V2 tier", "policy-is-in-the-tier", "test",
        (Edit(LIMITS, "</fragment>", '<quota-by-key calls="1" counter-key="x" /></fragment>'),)),
    Planted(10, "a quota at the API", "policy-may-stand-there", "test",
        (Edit(LIMITS, "</fragment>", '<quota calls="1" renewal-period="60" /></fragment>'),)),
    Planted(11, "a caller that may not lock", "caller-may-lock", "prod",
        state={"roles": ("Contributor", "Role Based Access Control Administrator")},
        with_it=("preflight", "caller-may-assign-policies")),
    Planted(12, "the release in a tag of the app", "release-is-kept-where-deployments-do-not-write", "dev",
        (Edit(APP, r"'azd-service-name': serviceName", "'azd-service-name': serviceName, 'sluice-release': 'none'"),)),
    Planted(12, "no container of releases", "rollback", "dev",
        (Edit(MAIN, r"concat\(packageContainers, \['releases'\]\)", "packageContainers"),)),
    Planted(13, "a vault whose deleted name the preflight doesn't know", "name-is-not-kept-by-what-was-deleted", "dev",
        (Edit(MAIN, r"vault: 'kv-sluice-\$\{token\}'", "vault: 'kv-other-${token}'"),)),
    Planted(14, "two scoped resources side by side", "monitor-scope-takes-one-resource-at-a-time", "test",
        (Edit(MONITORING, r"  dependsOn: \[\n    scopedWorkspace\n  \]\n", ""),)),
    Planted(15, "a provider of a delegation that isn't registered", "delegation-needs-its-provider", "test",
        state={"unregistered": ("Microsoft.App",)}, with_it=("preflight",)),
    Planted(15, "a provider that isn't registered", "provider-is-registered", "dev",
        state={"unregistered": ("Microsoft.EventGrid",)}, with_it=("preflight",)),
    Planted(16, "logs on two ways", "telemetry-goes-one-way", "dev",
        (Edit("host.json", r'"telemetryMode": "OpenTelemetry"', '"telemetryMode": "Default"'),)),
    Planted(17, "4 partitions for 40 throughput units", "event-hub-partitions-take-the-units", "prod",
        prod(r"partitions: 32", "partitions: 4")),
    Planted(17, "units that a delivery deflates", "event-hub-units-are-not-deflated", "prod",
        (Edit(".github/workflows/deploy.yml", "SLUICE_EVENT_HUB_UNITS", "SLUICE_OTHER_UNITS"),)),
    Planted(18, "a region without rolling updates", "region-has-rolling-updates", "dev",
        state={"regions": {"westeurope": {"rolling_updates": False}}}),
    Planted(19, "storage by an account's name", "storage-has-whole-addresses", "dev",
        (Edit(MAIN, r"AzureWebJobsStorage__blobServiceUri: .*", "AzureWebJobsStorage__accountName: accounts.host"),)),
    Planted(20, "classic Premium in a subnet of V2", "gateway-subnet", "prod",
        (*prod(r"sku: 'StandardV2'", "sku: 'Premium'"), NO_GUARDS)),
    Planted(23, "a token of everybody, API keys or not", "gateway-lets-api-keys-through", "test",
        (Edit("infra/policies/callers.xml", r"x-api-key", "x-other"),),
        environment={"SLUICE_AUTH_ISSUER": "https://issuer", "SLUICE_AUTH_AUDIENCE": "api://sluice"}),
    Planted(24, "a forward to a queue that isn't there", "forward-names-what-is-deployed", "dev",
        (Edit(BUS, r"requiresSession: one\.sessions", "requiresSession: one.sessions\n    forwardTo: 'nowhere'"),)),
    Planted(25, "two evaluation periods without TimeGenerated", "log-alert-periods-need-a-time", "dev",
        (Edit(ALERTS, r"threshold: 20\n    periods: 1", "threshold: 20\n    periods: 2"),)),
    Planted(25, "a query checked against a new workspace", "log-alert-on-a-new-workspace", "dev",
        (Edit(ALERTS, r"skipQueryValidation: true", "skipQueryValidation: false"),)),
    Planted(26, "apps that join their subnet together", "apps-join-a-subnet-one-by-one", "test",
        (Edit(MAIN, r"@batchSize\(1\)\nmodule app ", "module app "),)),
    Planted(26, "private endpoints made together", "private-endpoints-one-by-one", "test",
        (Edit("infra/modules/private-endpoints.bicep", r"@batchSize\(1\)\n", ""),)),
    Planted(26, "named values of the gateway changed together", "gateway-takes-one-change-at-a-time", "test",
        (Edit(APIM, r"@batchSize\(1\)\nresource value ", "resource value "),)),
    Planted(26, "a chain of the gateway that ends at what isn't deployed", "gateway-takes-one-change-at-a-time", "test",
        (Edit(APIM, r"  dependsOn: \[\n    blue\n    green\n    pool\n  \]", "  dependsOn: [\n    pool\n  ]"),)),
    Planted(26, "endpoints that wait for apps by what isn't deployed", "endpoint-leads-to-what-is-there", "test",
        (Edit(MAIN, r"    topic\n    app\n    green\n", "    topic\n    green\n"),)),
    Planted(27, "one always-ready instance over zones", "zones-need-two-always-ready", "prod",
        prod(r"\{ name: 'http', instanceCount: 2 \}", "{ name: 'http', instanceCount: 1 }")),
    Planted(29, "a private Service Bus of the tier Standard", "private-service-bus-is-premium", "test",
        (Edit("infra/params/test.bicepparam", r"sku: 'Premium'\n  capacity: 1", "sku: 'Standard'\n  capacity: 1"),
         Edit("infra/main.bicepparam", r"sku: 'Premium'\n      capacity: 1", "sku: 'Standard'\n      capacity: 1"),
         NO_GUARDS)),
    Planted(29, "a misspelt redundancy", "storage-redundancy", "prod",
        (Edit(ACCOUNT, r"^    name: sku$", "    name: 'Standart_ZRS'"),), with_it=("zones-need-storage-over-zones",)),
    Planted(29, "a misspelt redundancy in the parameters", "provision", "prod",
        prod(r"'Standard_ZRS'", "'Standart_ZRS'")),
    Planted(29, "two colours without a pool", "gateway-pools", "dev",
        (Edit("infra/main.bicepparam", r"^param location =", "param twoColours = true\nparam location ="),
         Edit("infra/params/dev.bicepparam", r"^param location =", "param twoColours = true\nparam location ="),
         Edit("infra/main.bicepparam", r"enabled: false$", "enabled: true"),
         Edit("infra/params/dev.bicepparam", r"enabled: false", "enabled: true"),
         Edit(APIM, r"sku != 'Consumption'$", "true"), NO_GUARDS), with_it=("cores-fit-the-quota", "gateway-logs")),
    Planted(29, "a combination that the template itself refuses", "provision", "dev",
        (Edit("infra/main.bicepparam", r"^param location =", "param twoColours = true\nparam location ="),
         Edit("infra/params/dev.bicepparam", r"^param location =", "param twoColours = true\nparam location ="))),
    Planted(30, "a gateway whose deleted name the hook doesn't know", "name-is-not-kept-by-what-was-deleted", "test",
        (Edit(MAIN, r"gateway: 'apim-sluice-", "gateway: 'apim-other-"),)),
    Planted(32, "bodies of any length through the gateway", "body-is-limited-before-it-is-forwarded", "test",
        (Edit("infra/policies/api.xml", r"Content-Length", "X-Length"),)),
    Planted(32, "callers that name an invocation", "invocation-id-is-taken-away", "test",
        (Edit("infra/policies/api.xml", r'<set-header name="x-ms-invocation-id".*', ""),)),
    Planted(32, "a time-out that the network doesn't wait for", "forward-timeout", "test",
        (Edit("infra/policies/api.xml", r'timeout="60"', 'timeout="600"'),)),
    Planted(32, "streams that are held back", "streams-go-through", "test",
        (Edit(APIM, r' buffer-response="false"', ""),)),
    Planted(22, "a route of Front Door before its origin", "route-needs-an-origin", "prod",
        (*EDGE, Edit(DOOR, r"  dependsOn: \[\n    origin\n  \]\n", ""))),
    Planted(22, "a firewall that sees nothing", "firewall-protects-every-endpoint", "prod",
        (*EDGE, Edit(DOOR, r"id: endpoint\.id", "id: profile.id"))),
    Planted(22, "managed rules in Standard", "managed-rules-need-premium", "prod",
        (*EDGE, Edit(DOOR, "Premium_AzureFrontDoor", "Standard_AzureFrontDoor"))),
    Planted(22, "a gateway that answers past its Front Door", "gateway-answers-its-front-door-alone", "prod",
        (*EDGE, Edit(APIM, r"behindFrontDoor \? doorFragment : ", ""))),
    Planted(0, "changes that nobody looked at", "pipelines-look-before-they-change", "dev",
        (Edit(".github/workflows/deploy.yml", r"--what-if dist/what-if\.json", ""),)),
    Planted(0, "a delivery without a rehearsal", "pipelines-rehearse-first", "dev",
        (Edit(".azure-pipelines/deploy.yml", r"python3 dev\.py rehearse", "echo"),),
        with_it=("pipelines-look-before-they-change",)),
    Planted(0, "a text where a number has to be", "queue-deliveries", "dev",
        (Edit(BUS, r"maxDeliveryCount: one\.deliveries", "maxDeliveryCount: 'ten'"),)),
    Planted(32, "events that nobody keeps", "event-subscription-keeps-what-it-can-not-deliver", "dev",
        (Edit(SECRETS, r"deadLetterWithResourceIdentity:", "deadLetterNowhere:"),)),
    Planted(0, "an event subscription with more tries than there are", "event-subscription-is-within-limits", "dev",
        (Edit(SECRETS, r"maxDeliveryAttempts: 30", "maxDeliveryAttempts: 31"),)),
    Planted(32, "alerts that nobody gets", "action-group-tells-somebody", "test",
        (Edit(ALERTS, r"emailReceivers: \[for \(one, i\) in emails: \{", "emailReceivers: [for (one, i) in []: {"),)),
    Planted(33, "Capture before its role", "capture-may-write", "prod",
        (Edit(HUBS, r"  dependsOn: \[\n    captureRole\n  \]\n", ""),)),
    Planted(33, "an event subscription before its role", "event-subscription-may-deliver", "dev",
        (Edit(SECRETS, r"^    sender$", ""),)),
    Planted(33, "events kept before the role for it", "event-subscription-may-keep", "dev",
        (Edit(SECRETS, r"^    writer$", ""),)),
    Planted(0, "a resource without an owner's tags", "tags-are-there", "dev",
        (Edit(MAIN, r"CostCenter: ownership\.costCenter", "CostCentre: ownership.costCenter"),)),
    Planted(0, "an app that azd leaves without code", "every-app-has-a-service", "dev",
        (Edit("azure.yaml", r"^  bulk:$", "  bulky:"),), with_it=("deploy",)),
    Planted(0, "an app in another region than its plan", "app-is-where-its-plan-is", "dev",
        (Edit(APP, r"^  name: planName\n  location: location$", "  name: planName\n  location: 'northeurope'"),)),
    Planted(0, "a metric alert in a region", "global-resources-are-global", "dev",
        (Edit(ALERTS, r"(?<=  name: '\$\{prefix\}-\$\{one\.key\}'\n)  location: 'global'$", "  location: location"),)),
    Planted(0, "names answered by a zone of another service", "endpoint-names-are-in-their-zone", "test",
        (Edit(MAIN, r"^  zones: \[one\.part\]$", "  zones: ['vault']"),)),
    Planted(0, "a role that there isn't", "role-is-there", "dev",
        (Edit(SECRETS, "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "ba92f5b4-2d11-453d-a403-000000000000"),)),
    Planted(0, "modules that are deployed under one name", "deployments-are-one-each", "test",
        (Edit("infra/modules/private-endpoints.bicep", r"name: 'endpoint-\$\{one\.name\}'", "name: 'endpoint'"),)),
    Planted(0, "a key in an output", "outputs-hold-no-secret", "dev",
        (Edit(MAIN, r"^output AZURE_LOCATION", "output LEAK string = listKeys(claims.outputs.id, '2025-01-01')\n"
              "output AZURE_LOCATION"),)),
    Planted(0, "resources that wait for each other", "provision", "dev",
        (Edit("infra/modules/monitoring.bicep", r"name: workspaceName", "name: component.name"),)),
)  # fmt: skip
"""Those that a template, or what a deployment reads beside it, can carry."""
