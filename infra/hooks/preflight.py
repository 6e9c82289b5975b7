"""Before provisioning: everything that would end a deployment half-way, looked at before anything is changed.

    python3 -m infra.hooks.preflight

What it can mend without a decision, it mends: a vault that was deleted with the environment is brought back, since its
name is taken for 90 days and its keys open what was encrypted; a deleted gateway, which holds nothing of its own, is
purged, since its name is taken for 48 hours. Everything else is said together, each with what to do.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.delivery.azure import AzureFailed, az
from infra.delivery.names import unique_string

__all__ = ["PROVIDERS", "Finding", "Place", "preflight"]

_CALL_SECONDS = 60.0
_NAME = re.compile(r"(?=.{2,12}\Z)[a-z0-9](?:-?[a-z0-9])+")
"""Part of names that take letters, digits and single hyphens, of at most 32 characters in all."""

PROVIDERS = frozenset(
    {
        "Microsoft.ApiManagement",
        "Microsoft.App",
        "Microsoft.Cdn",
        "Microsoft.EventGrid",
        "Microsoft.EventHub",
        "Microsoft.Insights",
        "Microsoft.KeyVault",
        "Microsoft.ManagedIdentity",
        "Microsoft.Network",
        "Microsoft.OperationalInsights",
        "Microsoft.ServiceBus",
        "Microsoft.Storage",
        "Microsoft.Web",
    }
)
"""Resource providers of what is deployed; `Microsoft.App` is the subnet's delegation."""

_MAY_DEPLOY = {"Owner", "Contributor"}
_MAY_GRANT = {"Owner", "User Access Administrator", "Role Based Access Control Administrator"}
_MAY_LOCK = {"Owner", "User Access Administrator"}
_MAY_ASSIGN_POLICIES = {"Owner", "Resource Policy Contributor"}

Run = Callable[[Sequence[str]], Any]
"""Runs `az` with these arguments and returns its answer; raises AzureFailed."""


@dataclass(frozen=True)
class Place:
    """Where is deployed: what azd calls the environment, the region, the subscription, and the stage."""

    name: str
    region: str
    subscription: str
    stage: str

    @property
    def group(self) -> str:
        """The resource group."""
        return f"rg-sluice-{self.name}"

    @property
    def token(self) -> str:
        """What makes names unique in the world: `token` of main.bicep."""
        return unique_string(self.subscription, self.name, self.region)

    @property
    def vault(self) -> str:
        """The vault's name."""
        return f"kv-sluice-{self.token}"

    @property
    def gateway(self) -> str:
        """The gateway's name."""
        return f"apim-sluice-{self.name}-{self.token[:6]}"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `problem` says what to do, and is empty where all is well."""

    check: str
    problem: str = ""
    done: str = ""


def preflight(place: Place, run: Run) -> Iterator[Finding]:
    """Look at one thing after the other; without a sign-in nothing else can be looked at."""
    yield Finding("environment's name", "" if _NAME.fullmatch(place.name) else _BAD_NAME.format(place.name))
    signed_in = _looked("signed in", lambda: _signed_in(place, run))
    yield signed_in
    if signed_in.problem:
        return
    yield _looked("roles", lambda: _roles(place, run))
    yield _looked("resource providers", lambda: _providers(run))
    yield _looked("region", lambda: _region(place, run))
    yield _looked("vault's name", lambda: _vault(place, run))
    yield _looked("gateway's name", lambda: _gateway(place, run))


_BAD_NAME = (
    "{!r} can't be part of the names: use 2 to 12 small letters and digits, with single hyphens between them: "
    "`azd env new NAME`"
)


def _looked(check: str, look: Callable[[], Finding | str]) -> Finding:
    try:
        found = look()
    except AzureFailed as failure:
        return Finding(check, str(failure))
    return found if isinstance(found, Finding) else Finding(check, found)


def _signed_in(place: Place, run: Run) -> str:
    try:
        run(["account", "show", "--subscription", place.subscription, "--query", "id"])
    except AzureFailed as failure:
        return f"{failure}: the hooks use the Azure CLI, which azd's own sign-in doesn't sign in: `az login`"
    return ""


def _roles(place: Place, run: Run) -> str:
    scope = f"/subscriptions/{place.subscription}"
    who = str(run(["account", "show", "--query", "user.name"]))
    query = ["--scope", scope, "--include-inherited", "--include-groups", "--query", "[].roleDefinitionName"]
    held = set(run(["role", "assignment", "list", "--assignee", who, *query]) or [])
    wanted = [("deploy", _MAY_DEPLOY), ("grant roles to the apps", _MAY_GRANT)]
    if place.stage != "dev":
        wanted.append(("assign policies", _MAY_ASSIGN_POLICIES))
    if place.stage == "prod":
        wanted.append(("lock what holds data", _MAY_LOCK))
    lacking = [f"to {what} {who} needs one of {', '.join(sorted(roles))}" for what, roles in wanted if not held & roles]
    return f"{'; '.join(lacking)} on {scope}" if lacking else ""


def _providers(run: Run) -> str:
    registered = set(run(["provider", "list", "--query", "[?registrationState=='Registered'].namespace"]) or [])
    missing = sorted(PROVIDERS - registered)
    commands = "; ".join(f"`az provider register --namespace {name} --wait`" for name in missing)
    return f"not registered in the subscription: {commands}" if missing else ""


def _region(place: Place, run: Run) -> str:
    zones = ["--zone-redundant", "true"] if place.stage in ("staging", "prod") else []
    known = run(["functionapp", "list-flexconsumption-locations", *zones, "--query", "[].name"]) or []
    if _plain(place.region) in {_plain(str(name)) for name in known}:
        return ""
    what = "Flex Consumption with zones" if zones else "Flex Consumption"
    return f"{place.region} has no {what}: `azd env set AZURE_LOCATION` to one of {', '.join(sorted(map(str, known)))}"


def _plain(region: str) -> str:
    return region.replace(" ", "").lower()


def _vault(place: Place, run: Run) -> Finding:
    deleted = run(["keyvault", "list-deleted", "--resource-type", "vault", "--query", "[].name"]) or []
    if place.vault not in deleted:
        return Finding("vault's name")
    run(["group", "create", "--name", place.group, "--location", place.region, "--query", "id"])
    run(["keyvault", "recover", "--name", place.vault, "--resource-group", place.group, "--location", place.region])
    return Finding("vault's name", done=f"{place.vault} was deleted with an earlier environment: brought back")


def _gateway(place: Place, run: Run) -> Finding:
    deleted = run(["apim", "deletedservice", "list", "--query", "[].name"]) or []
    if place.gateway not in deleted:
        return Finding("gateway's name")
    run(["apim", "deletedservice", "purge", "--service-name", place.gateway, "--location", place.region])
    return Finding("gateway's name", done=f"{place.gateway} was deleted with an earlier environment: purged")


def main(environment: Mapping[str, str], run: Run) -> int:
    """0 where nothing is in the way, 1 otherwise; one line for each thing that was looked at."""
    names = ("AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID")
    if missing := [name for name in names if not environment.get(name)]:
        sys.stderr.write(f"preflight: {', '.join(missing)} not set: `azd env new NAME` asks for them\n")
        return 1
    name, region, subscription = (environment[name] for name in names)
    place = Place(name, region, subscription, environment.get("SLUICE_STAGE") or "dev")
    problems = 0
    for found in preflight(place, run):
        problems += bool(found.problem)
        mark = "FAILED" if found.problem else "ok    "
        sys.stdout.write(f"{mark} {found.check:<20} {found.problem or found.done}".rstrip() + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(os.environ, lambda arguments: az(arguments, timeout=_CALL_SECONDS)))
