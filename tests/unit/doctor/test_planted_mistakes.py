"""Each planted mistake is caught by the rule that is meant, and by no other; the real tree has none."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from local.app import AppDescription
from local.doctor import RULES, examine, read_facts
from tests.unit.doctor.conftest import Edit, Examine

HOST, MAIN, PROD = "host.json", "infra/main.bicep", "infra/params/prod.bicepparam"
BUS, DECLARED = "infra/modules/servicebus.bicep", "infra/declarations.json"
QUEUES, HUBS, SAMPLE = "local/config/servicebus.json", "local/config/eventhubs.json", "local.settings.sample.json"
_PROPERTIES = {
    "DeadLetteringOnMessageExpiration": True,
    "DefaultMessageTimeToLive": "P14D",
    "DuplicateDetectionHistoryTimeWindow": "PT10M",
    "LockDuration": "PT30S",
    "MaxDeliveryCount": 10,
    "RequiresDuplicateDetection": False,
    "RequiresSession": False,
}
ORPHAN = '"Queues": [' + json.dumps({"Name": "forgotten", "Properties": _PROPERTIES}) + ","
DECLARED_ORPHAN = {
    "name": "forgotten", "lock": "PT30S", "timeToLive": "P14D", "deliveries": 10, "sessions": False,
    "duplicateDetection": False, "deadLettersExpired": True,
}  # fmt: skip
SETTINGS = "var settings = union(declared.entitySettings, {"
QUEUE_GRANTS = '"grants": {\n  "queues": ['
NAMESPACE_WIDE = """
resource wide 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(serviceBus.id, principals.api)
  scope: serviceBus
  properties: {
    principalId: principals.api
    principalType: 'ServicePrincipal'
    roleDefinitionId: roles['Azure Service Bus Data Sender']
  }
}
"""

EXPIRED = "DeadLetteringOnMessageExpiration"
TOO_MUCH = json.dumps({"app": "api", "queue": "lane-low", "role": "Azure Service Bus Data Receiver", "why": "x"})
DRAINER = """\
   {"app": "streams", "queue": "lane-high", "role": "Azure Service Bus Data Receiver", \
"why": "Looks how long its messages wait. Takes what the broker gave up."},
"""
READER = '"table": "state", "role": "Storage Table Data Reader"'
WRITER = '"table": "state", "role": "Storage Table Data Contributor"'

TRIGGERS, DRAINS = "functions/triggers.py", "functions/composition/dead_letters.py"
SENDING = "functions/composition/sending.py"


def everywhere(emulated: str, declared: str, old: str, new: str, file: str = QUEUES) -> tuple[Edit, Edit]:
    """The same mistake on the laptop and in the infrastructure, by the name of the property in each."""
    on_laptop = (file, f'"{emulated}": {old}', f'"{emulated}": {new}')
    return on_laptop, (DECLARED, f'"{declared}": {old}', f'"{declared}": {new}')


PLANTED: list[tuple[str, *tuple[Edit, ...]]] = [
    # host.json
    ("batch-size-bounded", (HOST, '"maxMessageBatchSize": 64', '"maxMessageBatchSize": 256')),
    ("prefetch-within-lock", (HOST, '"prefetchCount": 0', '"prefetchCount": 256')),
    ("host-completes", (HOST, '"autoCompleteMessages": true', '"autoCompleteMessages": false')),
    ("function-timeout-covers-batch", (HOST, '"functionTimeout": "00:05:00"', '"functionTimeout": "00:00:20"')),
    ("function-timeout-covers-batch", (HOST, '"functionTimeout": "00:05:00"', '"functionTimeout": "-1"')),
    ("batch-does-not-wait", (HOST, '"minMessageBatchSize": 1', '"minMessageBatchSize": 16')),
    ("session-let-go", (HOST, '"sessionIdleTimeout": "00:00:02"', '"sessionIdleTimeout": "00:01:00"')),
    ("event-prefetch-covers-batch", (HOST, '"prefetchCount": 600', '"prefetchCount": 50')),
    ("extension-bundle-is-known", (HOST, "[4.*, 5.0.0)", "[3.*, 5.0.0)")),
    ("route-prefix-is-api", (HOST, '"routePrefix": "api"', '"routePrefix": ""')),
    ("host-options-are-known", (HOST, '"batchCheckpointFrequency"', '"batchCheckPointEvery"')),
    # queues and hubs
    ("lock-covers-batch", *everywhere("LockDuration", "lock", '"PT30S"', '"PT20S"')),
    ("lock-within-limit", *everywhere("LockDuration", "lock", '"PT30S"', '"PT10M"')),
    ("deliveries-cover-crashes", *everywhere("MaxDeliveryCount", "deliveries", '10', '3')),
    ("deliveries-cover-crashes", *everywhere("MaxDeliveryCount", "deliveries", '60', '10')),
    ("duplicate-detection-off", *everywhere("RequiresDuplicateDetection", "duplicateDetection", 'false', 'true')),
    ("nothing-is-forwarded", (QUEUES, '"ForwardDeadLetteredMessagesTo": ""', '"ForwardDeadLetteredMessagesTo": "x"')),
    ("expired-become-dead-letters", *everywhere(EXPIRED, "deadLettersExpired", "true", "false")),
    ("sessions-agree", *everywhere("RequiresSession", "sessions", 'true', 'false')),
    ("ttl-is-stated", *everywhere("DefaultMessageTimeToLive", "timeToLive", '"P14D"', '"P20D"')),
    ("queue-is-read", (QUEUES, '"Queues": [', ORPHAN),
     (DECLARED, '"queues": [', f'"queues": [{json.dumps(DECLARED_ORPHAN)},')),
    ("group-is-read", (HUBS, '"ConsumerGroups": [', '"ConsumerGroups": [{"Name": "forgotten"},'),
     (DECLARED, '"groups": [', '"groups": ["forgotten", ')),
    ("buckets-cover-partitions", *everywhere("PartitionCount", "partitions", "4", "32", HUBS)),
    ("deployments-agree", (BUS, "one.lock", "'PT45S'")),
    # retention
    ("claims-outlive-messages", (PROD, "claimDays: 60", "claimDays: 40")),
    ("inbox-outlives-messages", (PROD, "inboxDays: 60", "inboxDays: 40")),
    ("lifecycle-keeps-what-is-needed", (MAIN, "retention.claimDays + retention.deadLetterDays", "30")),
    # bindings
    ("messages-are-binary", (TRIGGERS, 'data_type="binary"', 'data_type="string"')),
    ("messages-come-in-batches", (TRIGGERS, 'cardinality="many"', 'cardinality="one"')),
    ("streams-retry-with-an-end", (TRIGGERS, 'max_retry_count="5"', 'max_retry_count="-1"')),
    ("streams-retry-with-an-end", (TRIGGERS, 'max_retry_count="5"', 'max_retry_count="0"')),
    ("names-come-from-settings", (SENDING, 'name="%SLUICE_EVENT_HUB%"', 'name="events"')),
    ("dead-letters-are-drained", (DRAINS, "in LANES.values()", "in tuple(LANES.values())[1:]"),
     (DECLARED, DRAINER, DRAINER.replace(" Takes what the broker gave up.", ""))),
    # settings
    ("bindings-settings-are-set", ("functions/jobs.py", "schedule=schedule", 'schedule="%SLUICE_TICKS%"')),
    ("required-settings-are-set", (MAIN, "SLUICE_OPERATION_KEY: 'secret:operation-key'", "")),
    ("callers-are-checked", (MAIN, "SLUICE_API_KEYS: 'secret:api-keys'", "")),
    ("callers-are-checked", (MAIN, SETTINGS, f"{SETTINGS}\n  SLUICE_AUTH: 'none'")),
    ("settings-are-read", (MAIN, "SLUICE_STATE_BUCKETS:", "SLUICE_STATE_BUKETS:")),
    ("settings-are-read", (SAMPLE, '"SLUICE_LOG_FORMAT"', '"SLUICE_LOGFORMAT"')),
    ("values-are-in-bounds", (MAIN, SETTINGS, f"{SETTINGS}\n  SLUICE_CLAIM_THRESHOLD_BYTES: '1'")),
    ("values-are-in-bounds", (SAMPLE, '"SLUICE_STATE_BUCKETS": "16"', '"SLUICE_STATE_BUCKETS": "many"')),
    ("handler-within-batch", (MAIN, SETTINGS, f"{SETTINGS}\n  SLUICE_BATCH_BUDGET_SECONDS: '10'")),
    ("retries-outlast-an-hour", (MAIN, SETTINGS, f"{SETTINGS}\n  SLUICE_RETRY_MAX_ATTEMPTS: '5'")),
    ("lock-covers-batch", (MAIN, SETTINGS, f"{SETTINGS}\n  SLUICE_BATCH_BUDGET_SECONDS: '60'")),
    (
        "telemetry-goes-one-way",
        (
            SAMPLE,
            '"PYTHON_ENABLE_INIT_INDEXING": "1",',
            '"PYTHON_ENABLE_INIT_INDEXING": "1", "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true",',
        ),
    ),
    ("streams-are-indexed-early", (MAIN, "PYTHON_ENABLE_INIT_INDEXING: '1'", "PYTHON_ENABLE_INIT_INDEXING: '0'")),
    ("bodies-have-one-limit", (MAIN, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: string(bodyLimit)", "")),
    ("bodies-have-one-limit", (SAMPLE, '"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "8388608"',
                               '"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1073741824"')),
    ("bodies-fit-the-memory", (PROD, "httpConcurrency: 16", "httpConcurrency: 17")),
    ("bodies-fit-the-memory", (HOST, '"maxConcurrentRequests": 16', '"maxConcurrentRequests": 17')),
    ("bodies-fit-the-memory", (HOST, '"maxConcurrentRequests": 16,', "")),
    ("bodies-fit-the-memory", (MAIN, "var bodyLimit = 8388608", "var bodyLimit = 8388609")),
    ("connections-are-complete", (MAIN, "  'EventHubs'\n", "")),
    ("connections-are-complete", (MAIN, "  'KeyVault'\n", "")),
    ("no-keys-in-azure", (MAIN, SETTINGS, f"{SETTINGS}\n  State: 'DefaultEndpointsProtocol=https;AccountKey=x'")),
    ("no-keys-in-azure", (BUS, "disableLocalAuth: true", "disableLocalAuth: false")),
    ("no-keys-in-azure", ("infra/modules/storage.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true")),
    # apps
    ("functions-run-once",
     (DECLARED, '"name": "jobs_streams", "app": "streams"', '"name": "jobs_streams", "app": "none"')),
    ("switches-name-functions",
     (DECLARED, '"functions": [', '"functions": [{"name": "old", "app": "api", "trigger": "queue"},')),
    ("python-agrees", (MAIN, "pythonVersion: '3.12'", "pythonVersion: '3.15'")),
    ("sources-are-readable", (MAIN, "module roles '", "module roles = '")),
    ("azd-knows-the-app", ("azure.yaml", "host: function", "host: appservice")),
    ("azd-builds-nothing-in-azure", ("azure.yaml", "    remoteBuild: false\n", "")),
    ("azd-builds-nothing-in-azure", ("azure.yaml", "dist: .sluice/azd", "dist: dist")),
    # package
    ("package-is-the-app-alone", (".funcignore", "tests/\n", "")),
    ("package-is-the-app-alone", (".funcignore", "tests/\n", "tests/\nintegrations/\n")),
    ("requirements-are-pinned", ("requirements.txt", "aiohttp==", "aiohttp2==")),
    # roles
    ("calls-have-roles", (DECLARED, '"app": "bulk", "hub": "events"', '"app": "streams", "hub": "events"')),
    ("roles-have-calls", (DECLARED, QUEUE_GRANTS, f"{QUEUE_GRANTS}{TOO_MUCH},")),
    ("roles-have-calls", (DECLARED, READER, WRITER)),
    ("calls-have-roles", (MAIN, "SLUICE_UPLOAD_LINKS: isolated ? 'false' : 'true'", "SLUICE_UPLOAD_LINKS: 'true'")),
    ("roles-have-calls", (MAIN, "isolated ? [] : linkGrants", "linkGrants")),
    ("roles-are-narrow", ("infra/modules/rbac.bicep", "", NAMESPACE_WIDE)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "edits"),
    [pytest.param(rule, edits, id=f"{number}-{rule}") for number, (rule, *edits) in enumerate(PLANTED)],
)
def test_a_planted_mistake_is_caught_by_its_rule_alone(examined: Examine, rule: str, edits: list[Edit]) -> None:
    findings = examined(*edits)
    assert {one.rule for one in findings} == {rule}, [one.message for one in findings]
    assert all(one.message and one.consequence and one.remedy for one in findings)


def test_the_copy_has_no_mistakes_of_its_own_before(
    examined: Examine, usual: list[tuple[str, str]], project: Path, app: AppDescription
) -> None:
    """What a user's functions bring is found in the project itself, where its own test says so."""
    assert examined() == []
    assert set(usual) <= {(one.rule, one.message) for one in examine(read_facts(project, app))}


def changed(app: AppDescription, function: str, **binding: str) -> AppDescription:
    """The app with another binding of one function."""
    return _with(app, function, lambda one: {"bindings": [{**one["bindings"][0], **binding}]})


def _with(app: AppDescription, function: str, change: Any) -> AppDescription:
    functions: Sequence[Mapping[str, Any]] = [
        {**one, **change(one)} if one["name"] == function else one for one in app.functions
    ]
    return dataclasses.replace(app, functions=functions)


def test_a_retry_policy_without_effect_is_told(examined: Examine, app: AppDescription) -> None:
    retry = {"strategy": "fixed_delay", "max_retry_count": "3", "delay_interval": "00:00:05"}
    findings = examined(changed=_with(app, "lane_low", lambda _: {"retry": retry}))
    assert [one.rule for one in findings] == ["queues-have-no-retry-policy"]


def test_a_queue_and_a_group_that_are_not_there_are_told(examined: Examine) -> None:
    findings = examined((SAMPLE, '"lane-low"', '"lane-slow"'), (SAMPLE, '"read-models"', '"models"'))
    assert {one.rule for one in findings} == {"queue-exists", "queue-is-read", "hub-and-group-exist", "group-is-read"}
    assert {one.where for one in findings} == {("local",)}


def test_two_functions_of_one_group_are_told(examined: Examine, app: AppDescription) -> None:
    other = next(dict(one) for one in app.functions if one["name"] == "read_models")
    twice = dataclasses.replace(app, functions=[*app.functions, {**other, "name": "more_models"}])
    findings = examined(
        (DECLARED, '"functions": [', '"functions": [{"name": "more_models", "app": "streams", "trigger": "hub"},'),
        changed=twice,
    )
    assert {one.rule for one in findings} == {"group-has-one-reader"}


def test_every_rule_has_a_mistake_that_it_catches() -> None:
    others = {
        "queues-have-no-retry-policy", "queue-exists", "hub-and-group-exist", "group-has-one-reader",
    }  # fmt: skip
    assert {one.id for one in RULES} == {rule for rule, *_ in PLANTED} | others


def test_what_can_not_be_read_is_a_finding(examined: Examine) -> None:
    findings = examined((HOST, '"version"', "version"), (QUEUES, '"UserConfig"', '"Config"'))
    unread = [(one.file, one.message) for one in findings if one.rule == "sources-are-readable"]
    assert [file for file, _ in unread] == [HOST, QUEUES, MAIN] or [file for file, _ in unread][:2] == [HOST, QUEUES]


def test_a_finding_tells_where_it_is(examined: Examine) -> None:
    (finding,) = examined((HOST, '"maxMessageBatchSize": 64', '"maxMessageBatchSize": 256'))
    line = finding.line
    assert finding.file == HOST
    assert line is not None
    assert "maxMessageBatchSize" in (Path(HOST).read_text().splitlines())[line - 1]
    assert "local/app" in finding.where
    assert "prod/bulk" in finding.where
    assert "prod/high" not in finding.where  # it has a smaller batch of its own


def test_the_real_tree_has_no_finding(project: Path) -> None:
    """The command line, as a pipeline calls it."""
    done = subprocess.run(
        [sys.executable, "-m", "local.doctor", "--json", "-"], cwd=project, capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout) == []
    assert done.returncode == 0
