"""What would end a deployment half-way is said before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.delivery.azure import AzureFailed
from infra.delivery.names import unique_string
from infra.hooks.preflight import PROVIDERS, Place, main, preflight
from local.bicep import Deployment, read

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
DEV = Place("dev", "westeurope", SUBSCRIPTION, "dev")
PROD = Place("prod", "westeurope", SUBSCRIPTION, "prod")


class Subscription:
    """A subscription behind `az` in which everything is well, but for what a test changes."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "account show": SUBSCRIPTION,
            "role assignment list": ["Owner"],
            "provider list": sorted(PROVIDERS),
            "functionapp list-flexconsumption-locations": ["westeurope", "North Europe"],
            "keyvault list-deleted": [],
            "apim deletedservice list": [],
        } | {name.replace("_", " "): answer for name, answer in answers.items()}
        self.changes: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> Any:
        """Answer as `az` does; what isn't a question is kept as a change."""
        for command, answer in self.answers.items():
            if list(arguments[: len(command.split())]) == command.split():
                if isinstance(answer, Exception):
                    raise answer
                return answer
        self.changes.append(list(arguments))
        return None


def problems(place: Place, subscription: Subscription) -> dict[str, str]:
    """What was found, by check."""
    return {found.check: found.problem for found in preflight(place, subscription) if found.problem}


def test_names_are_those_of_the_template() -> None:
    """Vault and gateway are known before anything is deployed; the values are the compiler's own for each stage."""
    assert DEV.vault == "kv-sluice-nr4hwsskzwqm2"
    assert Place("test", "westeurope", SUBSCRIPTION, "test").vault == "kv-sluice-imqrhqcbg5dla"
    assert DEV.gateway == "apim-sluice-dev-nr4hws"
    assert len({unique_string("a" * n) for n in range(40)}) == 40


def test_the_names_are_still_made_alike(infra: Path, production: Deployment) -> None:
    """A renamed vault in the template would be looked for under its old name."""
    source = (infra / "main.bicep").read_text()
    assert "var token = uniqueString(subscription().subscriptionId, environmentName, location)" in source
    assert "vault: 'kv-sluice-${token}'" in source
    assert "gateway: 'apim-sluice-${environmentName}-${short}'" in source
    assert "group: 'rg-sluice-${environmentName}'" in source


def test_nothing_is_in_the_way_of_a_ready_subscription() -> None:
    """And nothing is changed by looking."""
    subscription = Subscription()
    assert problems(DEV, subscription) == problems(PROD, subscription) == {}
    assert subscription.changes == []


@pytest.mark.parametrize("name", ["a", "a_", "A1", "-ab", "ab-", "a--b", "a.b", "ä1", "a b", "thirteen-char", ""])
def test_a_name_that_azure_refuses_is_named(name: str) -> None:
    """Before a namespace or an app is half made."""
    assert (
        "can't be part of the names"
        in problems(Place(name, "westeurope", SUBSCRIPTION, "dev"), Subscription())["environment's name"]
    )


@pytest.mark.parametrize(
    ("place", "answers", "check", "told"),
    [
        (DEV, {"account_show": AzureFailed("Please run 'az login'")}, "signed in", "azd's own sign-in doesn't"),
        (DEV, {"role_assignment_list": ["Contributor"]}, "roles", "to grant roles to the apps"),
        (DEV, {"role_assignment_list": []}, "roles", "to deploy"),
        (
            PROD,
            {"role_assignment_list": ["Contributor", "Role Based Access Control Administrator"]},
            "roles",
            "to lock what holds data .* needs one of Owner, User Access Administrator",
        ),
        (
            DEV,
            {"provider_list": sorted(PROVIDERS - {"Microsoft.App"})},
            "resource providers",
            "--namespace Microsoft.App ",
        ),
        (DEV, {"functionapp_list-flexconsumption-locations": ["eastus"]}, "region", "westeurope has no Flex.* eastus"),
        (PROD, {"functionapp_list-flexconsumption-locations": []}, "region", "with zones"),
        (DEV, {"keyvault_list-deleted": AzureFailed("(Forbidden)")}, "vault's name", "Forbidden"),
    ],
)
def test_what_is_missing_is_told_with_what_to_do(place: Place, answers: dict[str, Any], check: str, told: str) -> None:
    """One line each, all of them in one run."""
    found = problems(place, Subscription(**answers))
    assert list(found) == [check]
    assert re.search(told, found[check])


def test_what_a_down_has_left_is_put_right() -> None:
    """The vault is brought back with its keys, into a group that is there; the gateway's name is freed."""
    subscription = Subscription(
        **{"keyvault_list-deleted": ["kv-other", DEV.vault], "apim_deletedservice_list": [DEV.gateway, "other"]},
    )
    assert problems(DEV, subscription) == {}
    assert [change[:2] for change in subscription.changes] == [
        ["group", "create"],
        ["keyvault", "recover"],
        ["apim", "deletedservice"],
    ]
    assert DEV.vault in subscription.changes[1]
    assert subscription.changes[2][2:5] == ["purge", "--service-name", DEV.gateway]


def test_every_provider_of_the_templates_is_looked_at(infra: Path) -> None:
    """One that isn't registered ends the deployment at its first resource; those of every subscription need none."""
    used = {
        one.kind_of.partition("/")[0]
        for file in infra.rglob("*.bicep")
        for one in read(file).declarations.values()
        if one.kind == "resource"
    }
    assert used - {"Microsoft.Resources", "Microsoft.Authorization"} | {"Microsoft.App"} == PROVIDERS


def test_azd_runs_it_first_and_says_what_is_not_set(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before provisioning; without azd's variables it says so."""
    hooks = (project / "azure.yaml").read_text()
    assert hooks.index("preprovision") < hooks.index("infra.hooks.preflight") < hooks.index("postprovision")
    assert main({"AZURE_ENV_NAME": "dev"}, Subscription()) == 1
    assert "AZURE_LOCATION, AZURE_SUBSCRIPTION_ID not set" in capsys.readouterr().err
    whole = {"AZURE_ENV_NAME": "dev", "AZURE_LOCATION": "westeurope", "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION}
    assert main(whole, Subscription()) == 0
    assert main(whole, Subscription(role_assignment_list=[])) == 1
    assert "FAILED roles" in capsys.readouterr().out
