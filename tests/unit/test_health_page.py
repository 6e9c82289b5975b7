"""The page about health says what the checks are."""

from __future__ import annotations

import re
from pathlib import Path

from functions.composition import CAPABILITIES, SETTINGS, Composition
from functions.triggers import AppName
from shared.health import Check
from shared.messages import Registry

ENVIRONMENT = {
    "ServiceBus": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "EventHubs": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "State": "UseDevelopmentStorage=true",
    "Claims": "UseDevelopmentStorage=true",
    "SLUICE_OPERATION_KEY": "secret:operation-key",
    "SLUICE_AUTH_ISSUER": "https://issuer.example",
    "SLUICE_AUTH_AUDIENCE": "api",
    "KeyVault__vaultUri": "https://vault.example",
    "SLUICE_SYNTHETIC": "true",
    "Lake": "AccountName=none;AccountKey=none;BlobEndpoint=http://127.0.0.1:1/none",
}
_ROW = re.compile(r"^\| `([a-z-]+)` \| .* \| (.*) \| (\S+) s \| (\S+) s \| (\S+) s \| (\S+) \|$", re.MULTILINE)


def test_the_table_of_components_is_true(project: Path) -> None:
    """Every component with its app, times and weight."""
    composition = Composition(SETTINGS.load(ENVIRONMENT), Registry([]))
    offered = [make(composition) for make in CAPABILITIES]
    checks = {name: Check.of(probe) for one in offered for name, probe in one.probes.items()}
    said = {name: told for name, *told in _ROW.findall((project / "docs/health.md").read_text())}
    assert said == {
        name: [
            "each API instance" if check.app == AppName.API else f"the {check.app} app",
            *(f"{figure:g}" for figure in (check.interval, check.threshold, check.timeout, check.weight)),
        ]
        for name, check in checks.items()
    }
