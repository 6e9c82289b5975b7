"""What the planner prints to paste is what the templates take, and deploys what was planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.bicep import deploy, read_parameters
from ops.planning import main


@pytest.mark.parametrize(
    ("load", "units", "hubs", "accounts"),
    [
        (["--rate", "100/s", "--lanes", "high=10%,normal=90%"], ("Standard", 1), ("Standard", 1), 1),
        (["--rate", "5000/s", "--peak", "3x", "--cores", "2"], ("Premium", 16), ("Premium", 3), 12),
        (["--rate", "1000/s", "--retention", "400d", "--lanes", "ordered=100%"], ("Premium", 2), ("Standard", 1), 1),
    ],
)
def test_the_printed_parameters_deploy_what_was_planned(
    load: list[str],
    units: tuple[str, int],
    hubs: tuple[str, int],
    accounts: int,
    infra: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*load, "--json"]) == 0
    file = tmp_path / "plan.bicepparam"
    file.write_text("using '../main.bicep'\n\n" + json.loads(capsys.readouterr().out)["parameters"] + "\n")
    stage = "prod" if units[0] == "Premium" else "dev"  # isolated, which Standard can't be
    parameters = read_parameters(infra / "params" / f"{stage}.bicepparam", {}) | read_parameters(file, {})
    deployment = deploy(infra / "main.bicep", parameters)
    (bus,) = deployment.of_type("Microsoft.ServiceBus/namespaces")
    (hub,) = deployment.of_type("Microsoft.EventHub/namespaces")
    assert bus.get("sku.name") == units[0]
    assert (hub.get("sku.name"), int(hub.get("sku.capacity"))) == hubs
    assert parameters["serviceBus"]["capacity"] == units[1]
    assert parameters["stateAccounts"] == accounts
