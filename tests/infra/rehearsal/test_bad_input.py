"""What a subscription lacks, and what a change would take away, is named before anything is changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.rehearsal.__main__ import main

MET = {
    "quota": (
        "dev",
        "[regions.westeurope]\nflex_cores = 50",
        "cores-fit-the-quota",
        "the quota of westeurope is 50",
    ),
    "region": (
        "dev",
        "[regions.westeurope]\nflex = false",
        "region-has-flex",
        "Flex Consumption is not available in westeurope",
    ),
    "zones": (
        "prod",
        '[regions."West Europe"]\nflex_zones = false',
        "region-has-zones-for-flex",
        "westeurope has no availability zones for Flex Consumption",
    ),
    "name": ("dev", 'taken = ["kv-sluice-nr4hwsskzwqm2"]', "name-is-free", "kv-sluice-nr4hwsskzwqm2"),
    "role": ("dev", 'roles = ["Contributor"]', "caller-may-grant", "roleAssignments/write"),
    "no role": ("dev", "roles = []", "caller-may-deploy", "deployments/write"),
    "provider": ("dev", 'unregistered = ["Microsoft.EventHub"]', "provider-is-registered", "Microsoft.EventHub"),
    "network": ("test", "inside_network = false", "first secrets", "Public network access is disabled"),
    "delay": ("dev", "role_delay_seconds = 3600", "first secrets", "Caller is not authorized"),
    "leftover": (
        "dev",
        '[[deleted]]\ntype = "Microsoft.Storage/storageAccounts"\nname = "stclaimsnr4hwsskzwqm2"',
        "name-is-not-kept-by-what-was-deleted",
        "stclaimsnr4hwsskzwqm2 exists in a deleted",
    ),
    "partitions": (
        "dev",
        '[[resources]]\ntype = "Microsoft.EventHub/namespaces/eventhubs"\nname = "evhns-sluice-dev-nr4hws/events"\n'
        "properties = { partitionCount = 8 }",
        "event-hub-partitions-stay",
        "can't go from 8 to 4",
    ),
    "data": (
        "dev",
        '[[resources]]\ntype = "Microsoft.Storage/storageAccounts"\nname = "ststate9nr4hwsskzwqm2"',
        "data-is-kept",
        "ststate9nr4hwsskzwqm2 holds data and is not in the template",
    ),
}


@pytest.mark.parametrize("what", MET)
def test_what_a_subscription_lacks_is_named(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the rule and its sentence, and the exit code of a failed deployment."""
    stage, described, rule, told = MET[what]
    file = tmp_path / "subscription.toml"
    file.write_text(described)
    assert main(["--stage", stage, "--state", str(file), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)[stage]["rows"]
    found = [each["text"] for row in rows for each in row["findings"] if each["rule"] == rule]
    assert any(told in text for text in found)


def answer(change: str, kind: str, name: str, *paths: str) -> dict[str, object]:
    """One change as Azure's what-if prints it."""
    resource_id = f"/subscriptions/0/resourceGroups/rg/providers/{kind}/{name}"
    delta = [{"path": path, "propertyChangeType": "Modify", "before": 1, "after": 2} for path in paths]
    return {"changeType": change, "resourceId": resource_id, "delta": delta}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (answer("Delete", "Microsoft.KeyVault/vaults", "kv"), "kv holds data and would be deleted"),
        (
            answer("Delete", "Microsoft.ServiceBus/namespaces/sb/queues", "lane-high"),
            "sb/lane-high holds data and would be deleted",
        ),
        (
            answer("Modify", "Microsoft.EventHub/namespaces/eh/eventhubs", "events", "properties.partitionCount"),
            "eh/events holds data and can't change properties.partitionCount",
        ),
        (
            {
                **answer("Modify", "Microsoft.Storage/storageAccounts", "st"),
                "delta": [
                    {
                        "path": "properties",
                        "propertyChangeType": "NoEffect",
                        "children": [{"path": "isHnsEnabled", "propertyChangeType": "Modify"}],
                    }
                ],
            },
            "st holds data and can't change properties.isHnsEnabled",
        ),
        (answer("Modify", "Microsoft.KeyVault/vaults", "kv", "tags.stage"), None),
        (answer("Delete", "Microsoft.Insights/metricAlerts", "alert"), None),
        (answer("Create", "Microsoft.KeyVault/vaults", "kv"), None),
    ],
)
def test_a_what_if_that_takes_data_away_is_named(
    change: dict[str, object], told: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Out of Azure's own answer, whole or as the command prints it."""
    file = tmp_path / "what-if.json"
    for whole in ({"changes": [change]}, {"properties": {"changes": [change]}, "status": "Succeeded"}):
        file.write_text(json.dumps(whole))
        assert main(["--stage", "dev", "--what-if", str(file), "--brief"]) == (1 if told else 0)
        shown = capsys.readouterr().out
        assert (told or "0 refused") in shown


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("--what-if", "[]", "is not what `az deployment sub what-if"),
        ("--what-if", '{"changes": [{}]}', "is not what"),
        ("--what-if", "no JSON", "is not what"),
        ("--state", "roles = 'Owner'", "roles is a list"),
        ("--state", "quota = 3", "there is no field quota"),
        ("--state", "regions = {x = {flex = 3}}", "regions.x.flex is 3"),
        ("--state", "signed_in = 'yes'", "signed_in is 'yes'"),
        ("--state", "deleted = [{name = 'x'}]", "has a type and a name"),
        ("--state", "not toml", "can't be read"),
        ("--rules", "[[rule]]\nid = 'x'", "x has no type, text, do, source, date"),
        ("--rules", "rules = 3", "rules is neither"),
    ],
)
def test_a_file_that_is_none_is_told(
    option: str, text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, with the file."""
    file = tmp_path / "given"
    file.write_text(text)
    assert main(["--stage", "dev", option, str(file)]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert str(file) in said
