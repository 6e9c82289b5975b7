"""A stand-in of the Azure CLI for the hooks: it answers out of a subscription's state, and keeps what is changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from infra.delivery.azure import AzureFailed
from infra.hooks.preflight import PROVIDERS

from .plan import Plan, Subject
from .state import Kept, State, plain

__all__ = ["PRINCIPAL", "SUBSCRIPTION", "Cloud"]

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
PRINCIPAL = "33333333-3333-3333-3333-333333333333"
"""Object id of who deploys."""

_SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
_REGIONS = ("northeurope", "westeurope")
_VAULT, _GATEWAY = "Microsoft.KeyVault/vaults", "Microsoft.ApiManagement/service"


class Cloud:
    """A subscription that commands of `az` ask and change; time passes when somebody sleeps."""

    def __init__(self, state: State, region: str) -> None:
        self.state = state
        self._regions = dict.fromkeys((plain(region), *_REGIONS, *state.regions))
        self.plan: Plan | None = None
        self.seconds = 0.0
        self.secrets: dict[str, str] = {}
        self.expiries: dict[str, str] = {}
        self.done: list[str] = []
        self._granted_at = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds

    def provisioned(self, plan: Plan) -> None:
        """Have what a deployment made; roles hold from `role_delay_seconds` later on."""
        first = self.plan is None
        self.plan = plan
        if first:
            self._granted_at = self.seconds

    def run(self, arguments: Sequence[str]) -> Any:
        """Answer a command; raises AzureFailed as `az` would refuse it."""
        line = " ".join(arguments)
        for start, answer in self._answers.items():
            if line.startswith(start):
                return answer(self, _options(arguments))
        raise AzureFailed(f"the rehearsal knows no `az {line}`: teach it in local/rehearsal/cloud.py")

    def _account(self, _: dict[str, str]) -> Any:
        if not self.state.signed_in:
            raise AzureFailed("az account show: Please run 'az login' to setup account.")
        return self.state.caller

    def _providers(self, _: dict[str, str]) -> Any:
        return sorted(PROVIDERS - set(self.state.unregistered))

    def _flex(self, options: dict[str, str]) -> Any:
        zones = options.get("--zone-redundant") == "true"
        abilities = {name: self.state.region(name) for name in self._regions}
        return [name for name, one in abilities.items() if one.flex and (one.flex_zones or not zones)]

    def _deleted(self, kind: str) -> list[str]:
        return [one.name for one in self.state.deleted if one.type.lower() == kind.lower()]

    def _free(self, kind: str, name: str) -> None:
        left = tuple(one for one in self.state.deleted if (one.type.lower(), one.name) != (kind.lower(), name))
        self.state = self.state.with_(deleted=left)

    def _recover(self, options: dict[str, str]) -> Any:
        name = options["--name"]
        self._free(_VAULT, name)
        self.state = self.state.with_(resources=(*self.state.resources, Kept(_VAULT, name)))
        self.done.append(f"vault {name} brought back")

    def _purge(self, options: dict[str, str]) -> Any:
        self._free(_GATEWAY, options["--service-name"])
        self.done.append(f"gateway {options['--service-name']} purged")

    def _vault(self, options: dict[str, str]) -> Subject:
        name = options["--vault-name"]
        vault = self.plan.find(_VAULT, name) if self.plan else None
        if self.plan is None or vault is None:
            raise AzureFailed(f"az keyvault secret: the vault {name} can't be found: failed to resolve its name")
        if not self.state.inside_network and vault.resource.properties.get("publicNetworkAccess") == "Disabled":
            raise AzureFailed("(Forbidden) Public network access is disabled and request is not from a trusted service")
        granted = any(
            one.resource.scope is not None
            and self.plan.seen(one.resource.scope) is vault
            and one.resource.properties.get("principalId") == PRINCIPAL
            and str(one.resource.properties.get("roleDefinitionId")).endswith(_SECRETS_OFFICER)
            for one in self.plan.resources("Microsoft.Authorization/roleAssignments")
        )
        if not granted or self.seconds < self._granted_at + self.state.role_delay_seconds:
            raise AzureFailed("(Forbidden) Caller is not authorized to perform action on resource.")
        return vault

    def _list(self, options: dict[str, str]) -> Any:
        self._vault(options)
        return [{"name": name, "expires": self.expiries.get(name)} for name in self.secrets]

    def _show(self, options: dict[str, str]) -> Any:
        self._vault(options)
        name = options["--name"]
        if name not in self.secrets:
            raise AzureFailed(f"(SecretNotFound) A secret with (name/id) {name} was not found in this key vault.")
        return self.secrets[name]

    def _set(self, options: dict[str, str]) -> Any:
        self._vault(options)
        self.secrets[options["--name"]] = Path(options["--file"]).read_text(encoding="utf-8")
        self.done.append(f"secret {options['--name']} set")

    def _set_attributes(self, options: dict[str, str]) -> Any:
        self._vault(options)
        self.expiries[options["--name"]] = options["--expires"]

    _answers: ClassVar[dict[str, Callable[[Cloud, dict[str, str]], Any]]] = {
        "account get-access-token": lambda _, __: "a-token",
        "account show": _account,
        "role assignment list": lambda self, _: list(self.state.roles),
        "provider list": _providers,
        "functionapp list-flexconsumption-locations": _flex,
        "keyvault list-deleted": lambda self, _: self._deleted(_VAULT),
        "group create": lambda _, __: "id",
        "keyvault recover": _recover,
        "apim deletedservice list": lambda self, _: self._deleted(_GATEWAY),
        "apim deletedservice purge": _purge,
        "keyvault secret list": _list,
        "keyvault secret show": _show,
        "keyvault secret set-attributes": _set_attributes,
        "keyvault secret set ": _set,
    }


def _options(arguments: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if re.match(r"--\w", name):
            found[name] = "" if value.startswith("--") else value
    return found
