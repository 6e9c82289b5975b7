"""`azd up`: services for every app, hooks that wait, and outputs that a rollout reads."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.delivery.azure import AzureFailed
from infra.delivery.deployment import Deployment as Delivered
from infra.hooks.first_secrets import FIRST, TRIES, first_secrets
from infra.hooks.smoke import smoke_test
from local.bicep import BicepError, Deployment, Resource, deploy, read, read_parameters
from local.declaring.parameters import parameters_of_all_stages


def never(*_: object, **__: object) -> Any:
    """What must not be called."""
    raise AssertionError("this was not needed")


class Vault:
    """A vault behind `az` that lets nobody in at first."""

    def __init__(self, *names: str, refusals: int = 0, says: str = "(Forbidden) Caller is not authorized") -> None:
        self.values: dict[str, str] = dict.fromkeys(names, "as it was")
        self.refusals = refusals
        self.says = says
        self.modes: list[int] = []

    def __call__(self, arguments: Sequence[str]) -> Any:
        """Answer as `az keyvault secret list` and `set` do."""
        if self.refusals:
            self.refusals -= 1
            raise AzureFailed(self.says)
        if arguments[2] == "list":
            return list(self.values)
        given = dict(zip(arguments[3::2], arguments[4::2], strict=True))
        file = Path(given["--file"])
        self.modes.append(stat.S_IMODE(file.stat().st_mode))
        self.values[given["--name"]] = file.read_text()
        return "id"


def test_secrets_wait_for_roles_and_are_set_once() -> None:
    """A role that is on its way costs patience; what is there is left alone; no value is on a command line."""
    vault, pauses = Vault("operation-key", refusals=3), list[float]()
    assert first_secrets("kv", vault, sleep=pauses.append) == ["token-key", "api-keys"]
    assert len(pauses) == 3
    assert vault.values["operation-key"] == "as it was"
    assert len(vault.values["token-key"]) >= 48
    assert json.loads(vault.values["api-keys"]) == []
    assert set(vault.modes) == {0o600}
    assert first_secrets("kv", vault, sleep=pauses.append) == []


def test_waiting_ends() -> None:
    """A role that never comes, and an error that no waiting mends."""
    pauses: list[float] = []
    with pytest.raises(AzureFailed, match="Forbidden"):
        first_secrets("kv", Vault(refusals=10_000), sleep=pauses.append)
    assert len(pauses) == TRIES - 1
    assert sum(pauses) <= 300
    with pytest.raises(AzureFailed, match="no such vault"):
        first_secrets("kv", Vault(refusals=1, says="no such vault"), sleep=never)


def test_every_secret_of_the_settings_has_a_first_value(environment: Deployment) -> None:
    """An app whose secret is missing doesn't start."""
    named = {
        setting["value"].removeprefix("secret:")
        for site in environment.of_type("Microsoft.Web/sites")
        for setting in site.get("properties.siteConfig.appSettings")
        if setting["value"].startswith("secret:")
    }
    assert named
    assert named <= set(FIRST)


def test_the_smoke_test_brings_a_token_where_the_api_wants_one() -> None:
    """Asked for once, of the API's own audience, and never on a command line."""
    asked: list[Sequence[str]] = []
    tested: list[Sequence[str]] = []

    def run(arguments: Sequence[str]) -> str:
        asked.append(arguments)
        return "a-token"

    def test(arguments: Sequence[str]) -> int:
        tested.append(arguments)
        return 0

    environment = {"SLUICE_API_URI": "https://host", "SLUICE_AUTH_AUDIENCE": "api://sluice"}
    assert smoke_test(environment, run, test) == 0
    assert "api://sluice" in asked[0]
    assert environment["SLUICE_TOKEN"] == "a-token"
    assert "a-token" not in tested[0]
    assert smoke_test({"SLUICE_API_URI": "https://host"}, never, test) == 0
    with pytest.raises(AzureFailed, match="SLUICE_API_URI"):
        smoke_test({}, never, never)


@pytest.mark.parametrize("stage", ["dev", "test", "prod"])
def test_a_stage_is_chosen_by_name(infra: Path, stage: str) -> None:
    """azd reads the infrastructure before any hook runs, so the parameters of all stages are in one file."""
    environment = {"SLUICE_STAGE": stage, "AZURE_ENV_NAME": "mine", "AZURE_LOCATION": "northeurope"}
    chosen = read_parameters(infra / "main.bicepparam", environment)
    assert chosen == read_parameters(infra / f"params/{stage}.bicepparam", environment)
    assert (chosen["stage"], chosen["environmentName"], chosen["location"]) == (stage, "mine", "northeurope")
    assert "main.bicepparam" not in (infra.parent / ".gitignore").read_text()


def test_azd_asks_for_no_parameter_and_an_unknown_stage_ends_the_build(infra: Path) -> None:
    """Whatever has no default has a value, with nothing set at all; a misspelt stage is never another one."""
    given = read_parameters(infra / "main.bicepparam", {})
    asked = [one for one in read(infra / "main.bicep").declarations.values() if one.kind == "param"]
    assert [one.name for one in asked if not one.has_default and given.get(one.name) is None] == []
    assert given["stage"] == "dev"
    with pytest.raises(BicepError, match="stageName"):
        read_parameters(infra / "main.bicepparam", {"SLUICE_STAGE": "Prod"})


def test_a_parameter_that_one_stage_lacks_is_named(infra: Path, tmp_path: Path) -> None:
    """The file for all stages is not written from stages that differ in what they say."""
    (tmp_path / "params").mkdir()
    for file in (infra / "params").iterdir():
        text = file.read_text()
        (tmp_path / "params" / file.name).write_text(
            text.replace("param logCapGb = -1", "") if "prod" in file.name else text
        )
    with pytest.raises(BicepError, match="no value for logCapGb"):
        parameters_of_all_stages(tmp_path)


def test_azd_deploys_to_every_app(project: Path, environment: Deployment) -> None:
    """Each app's tag is the name of a service, and the other way round."""
    services = re.findall(r"^  (\w+):\n    project: \.", (project / "azure.yaml").read_text(), re.MULTILINE)
    tags = [site.get("tags.azd-service-name") for site in environment.of_type("Microsoft.Web/sites")]
    assert sorted(services) == sorted(tags)


def outputs_of(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Outputs as `az deployment sub show` prints them."""
    return {name: {"value": value} for name, value in deployment.outputs.items()}


def test_a_rollout_finds_what_it_needs(environment: Deployment) -> None:
    """All apps, workers first; no colours where there is one."""
    delivered = Delivered.from_outputs(outputs_of(environment))
    sites = {site.name for site in environment.of_type("Microsoft.Web/sites")}
    assert set(delivered.apps) == sites
    assert "-api-" in delivered.apps[-1]
    assert delivered.colours == ()
    assert delivered.pool is None
    containers = {one.name for one in environment.of_type("Microsoft.Storage/storageAccounts/blobServices/containers")}
    assert f"{delivered.releases}/default/releases" in containers


def test_two_colours_are_two_sets_of_apps(infra: Path) -> None:
    """Apart in plan, package and name, alike in identity, behind one pool whose weights a deployment leaves alone."""
    parameters = {**read_parameters(infra / "params/prod.bicepparam", {}), "twoColours": True}
    twice = deploy(infra / "main.bicep", parameters)
    delivered = Delivered.from_outputs(outputs_of(twice))
    sites = {site.name: site for site in twice.of_type("Microsoft.Web/sites")}
    blue, green = delivered.colours
    assert set(blue.apps) | set(green.apps) == sites.keys()
    assert len(sites) == 10
    packages = [site.properties["functionAppConfig"]["deployment"]["storage"]["value"] for site in sites.values()]
    assert len(set(packages)) == 10
    assert len({site.properties["serverFarmId"] for site in sites.values()}) == 10
    assert all(len(name) <= 32 for name in sites)
    for one, other in zip(blue.apps, green.apps, strict=True):
        assert sites[one].get("identity.userAssignedIdentities") == sites[other].get("identity.userAssignedIdentities")
    (pool,) = [one for one in twice.of_type("Microsoft.ApiManagement/service/backends") if "pool" in one.properties]
    weights = {one["id"]: one["weight"] for one in pool.get("properties.pool.services")}
    assert sorted(weights.values()) == [0, 100]
    assert delivered.pool is not None
    backends = {one.name.rsplit("/", 1)[-1] for one in twice.of_type("Microsoft.ApiManagement/service/backends")}
    assert {blue.backend, green.backend} <= backends
    source = (infra / "modules/apim.bicep").read_text()
    assert "@onlyIfNotExists()\nresource pool " in source
    granted = {
        one.scope.name.rsplit("/", 1)[-1]
        for one in twice.of_type("Microsoft.Authorization/roleAssignments")
        if isinstance(one.scope, Resource) and one.scope.type.endswith("/containers")
    }
    assert {package.rsplit("app-", 1)[-1] for package in packages} <= {name.removeprefix("app-") for name in granted}
