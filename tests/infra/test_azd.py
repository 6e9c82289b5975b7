"""`azd up`: services for every app, hooks that wait, and outputs that a rollout reads."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.delivery.azure import AzureFailed
from infra.delivery.deployment import Deployment as Delivered
from infra.hooks.first_secrets import FIRST, ROTATED, TRIES, first_secrets
from infra.hooks.package import FOLDER, package
from infra.hooks.smoke import smoke_test
from local.bicep import BicepError, Deployment, Resource, deploy, read, read_parameters
from local.declaring.parameters import parameters_of_all_stages
from local.packaging.contents import deployed_files
from shared.authentication import api_key_entry

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def never(*_: object, **__: object) -> Any:
    """What must not be called."""
    raise AssertionError("this was not needed")


class Vault:
    """A vault behind `az` that lets nobody in at first; a name that is there has no expiry."""

    def __init__(self, *names: str, refusals: int = 0, says: str = "(Forbidden) Caller is not authorized") -> None:
        self.values: dict[str, str] = dict.fromkeys(names, "as it was")
        self.expiries: dict[str, str] = {}
        self.refusals = refusals
        self.says = says
        self.modes: list[int] = []

    def __call__(self, arguments: Sequence[str]) -> Any:
        """Answer as `az keyvault secret list`, `show`, `set` and `set-attributes` do."""
        if self.refusals:
            self.refusals -= 1
            raise AzureFailed(self.says)
        given = dict(zip(arguments[3::2], arguments[4::2], strict=True))
        match arguments[2]:
            case "list":
                return [{"name": name, "expires": self.expiries.get(name)} for name in self.values]
            case "show":
                return self.values[given["--name"]]
            case "set-attributes":
                self.expiries[given["--name"]] = given["--expires"]
            case "set":
                file = Path(given["--file"])
                self.modes.append(stat.S_IMODE(file.stat().st_mode))
                self.values[given["--name"]] = file.read_text()
        return "id"


def test_secrets_wait_for_roles_and_are_set_once() -> None:
    """A role that is on its way costs patience; what is there is left alone; no value is on a command line."""
    vault, pauses = Vault("operation-key", refusals=3), list[float]()
    assert first_secrets("kv", vault, now=NOW, sleep=pauses.append) == ["token-key", "smoke-key", "api-keys"]
    assert len(pauses) == 3
    assert vault.values["operation-key"] == "as it was"
    assert len(vault.values["token-key"]) >= 48
    assert set(vault.modes) == {0o600}
    before = dict(vault.expiries)
    assert first_secrets("kv", vault, now=NOW + timedelta(days=9), sleep=pauses.append) == []
    assert vault.expiries == before


def test_a_first_deployment_has_one_client_that_the_smoke_test_is() -> None:
    """Without an issuer of tokens the API would refuse everybody, and the first `azd up` would end red."""
    vault = Vault()
    first_secrets("kv", vault, now=NOW, sleep=never)
    key = vault.values["smoke-key"]
    assert json.loads(vault.values["api-keys"]) == [json.loads(api_key_entry("smoke", key, ["producer", "reader"]))]


def test_a_crash_between_key_and_list_is_mended_by_the_next_run() -> None:
    """The list is made for the key that is there."""
    vault = Vault("smoke-key")
    first_secrets("kv", vault, now=NOW, sleep=never)
    (entry,) = json.loads(vault.values["api-keys"])
    assert vault.values["smoke-key"] == "as it was"
    assert entry["sha256"] == hashlib.sha256(b"as it was").hexdigest()


def test_what_the_app_renews_has_an_expiry(environment: Deployment) -> None:
    """Without one the vault never tells that it comes near, and no rotation begins; what nobody renews has none."""
    vault = Vault("operation-key")
    first_secrets("kv", vault, now=NOW, sleep=never)
    assert vault.expiries == {"operation-key": "2027-02-28T12:00:00Z"}
    site, *_ = environment.of_type("Microsoft.Web/sites")
    settings = {one["name"]: one["value"] for one in site.get("properties.siteConfig.appSettings")}
    assert settings["SLUICE_OPERATION_KEY"] == "secret:operation-key"
    assert settings["SLUICE_OPERATION_KEY"].removeprefix("secret:") in ROTATED


def test_waiting_ends() -> None:
    """A role that never comes, and an error that no waiting mends."""
    pauses: list[float] = []
    with pytest.raises(AzureFailed, match="Forbidden"):
        first_secrets("kv", Vault(refusals=10_000), now=NOW, sleep=pauses.append)
    assert len(pauses) == TRIES - 1
    assert sum(pauses) <= 300
    with pytest.raises(AzureFailed, match="no such vault"):
        first_secrets("kv", Vault(refusals=1, says="no such vault"), now=NOW, sleep=never)


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


def test_the_smoke_test_brings_what_the_api_wants(capsys: pytest.CaptureFixture[str]) -> None:
    """A token where there is an audience, else the first key: asked for once, and never on a command line."""
    asked: list[Sequence[str]] = []
    tested: list[Sequence[str]] = []

    def run(arguments: Sequence[str]) -> str:
        asked.append(arguments)
        return "a-credential"

    def test(arguments: Sequence[str]) -> int:
        tested.append(arguments)
        return 0

    known = {"SLUICE_API_URI": "https://host", "SLUICE_KEY_VAULT_NAME": "kv-mine"}
    with_tokens = {**known, "SLUICE_AUTH_AUDIENCE": "api://sluice"}
    assert smoke_test(with_tokens, run, test) == 0
    assert "api://sluice" in asked[0]
    assert with_tokens["SLUICE_TOKEN"] == "a-credential"
    with_keys = dict(known)
    assert smoke_test(with_keys, run, test) == 0
    assert {"kv-mine", "smoke-key"} <= set(asked[1])
    assert with_keys["SLUICE_API_KEY"] == "a-credential"
    assert not any("a-credential" in part for arguments in tested for part in arguments)
    said = capsys.readouterr().out
    assert "https://host/api/docs" in said
    assert "a-credential" not in said
    assert smoke_test({**known, "SLUICE_TOKEN": "given"}, never, test) == 0
    with pytest.raises(AzureFailed, match="SLUICE_API_URI"):
        smoke_test({}, never, never)


@pytest.mark.parametrize("stage", ["dev", "test", "staging", "prod"])
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


@pytest.mark.parametrize("stage", ["dev", "test", "staging", "prod"])
def test_azd_deploys_to_every_app(project: Path, environments: dict[str, Deployment], stage: str) -> None:
    """Each app's tag is the name of a service, and the other way round; what may be left out is so in both."""
    _, *services = re.split(r"^  (?=\w+:\n    project: \.)", (project / "azure.yaml").read_text(), flags=re.MULTILINE)
    names = {one.partition(":")[0]: "condition: ${SLUICE_LAKE}" in one for one in services}
    tags = [site.get("tags.azd-service-name") for site in environments[stage].of_type("Microsoft.Web/sites")]
    assert sorted(name for name, conditional in names.items() if not conditional) == sorted(tags)
    parameters = read_parameters(project / "infra" / "params" / f"{stage}.bicepparam", {})
    whole = deploy(project / "infra" / "main.bicep", {**parameters, "lakehouse": True})
    assert sorted(names) == sorted(site.get("tags.azd-service-name") for site in whole.of_type("Microsoft.Web/sites"))


def test_azd_deploys_what_was_built_here(project: Path, tmp_path: Path) -> None:
    """The folder that every service names holds the package, and nothing of the one before; a failed build ends it."""
    (tmp_path / ".sluice").mkdir()

    def building(*names: str) -> Callable[[Path], int]:
        def build(archive: Path) -> int:
            with zipfile.ZipFile(archive, "w") as made:
                for name in names:
                    made.writestr(name, name)
            return 0

        return build

    folder = tmp_path / FOLDER
    assert package(tmp_path, building("function_app.py", "gone.py")) == 0
    vendored = ".python_packages/lib/site-packages/aiohttp/__init__.py"
    assert package(tmp_path, building("function_app.py", vendored)) == 0
    assert {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()} == {
        "function_app.py",
        vendored,
    }
    assert package(tmp_path, lambda _: 2) == 2
    assert (folder / vendored).exists()
    text = (project / "azure.yaml").read_text()
    services = len(re.findall(r"^    host: function$", text, re.MULTILINE))
    assert text.count(f"    dist: {FOLDER}\n    remoteBuild: false\n") == services
    hooks = re.findall(r"^  (\w+):\n    posix:\n.*\n      run: python3 -m infra\.hooks\.package$", text, re.MULTILINE)
    assert hooks == ["prepackage", "predeploy"]  # `azd up` and `azd package` run the first, `azd deploy` the second


def test_azd_leaves_nothing_out_of_the_package(project: Path) -> None:
    """azd zips the folder but for these names (createDeployableZip, August 2026): none of them may be deployed."""
    left_out = {".azure", ".funcignore", "local.settings.json", "__pycache__", "pyvenv.cfg"}
    deployed = {part for name in deployed_files(project, allow_dirty=True) for part in name.split("/")}
    assert not left_out & deployed


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
