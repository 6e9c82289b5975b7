"""Plays `azd up` and a delivery, step by step, as far as each goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.delivery.azure import AzureFailed
from infra.hooks.first_secrets import ROTATED, first_secrets
from infra.hooks.preflight import Place, preflight
from infra.hooks.smoke import smoke_test
from local.bicep import Deployment, Resource, deploy, read_parameters

from .cloud import PRINCIPAL, SUBSCRIPTION, Cloud
from .facts import facts_of
from .judging import judge
from .losing import losses
from .order import order_of
from .plan import Plan, Subject
from .releasing import roll_back
from .rows import Finding, Row
from .rules import Rules
from .state import Kept, State

__all__ = ["play"]

_NOW = datetime(2026, 11, 30, tzinfo=UTC)
_VAULT, _GATEWAY, _HUBS = (
    "Microsoft.KeyVault/vaults",
    "Microsoft.ApiManagement/service",
    "Microsoft.EventHub/namespaces",
)
_UNITS = "SLUICE_EVENT_HUB_UNITS"
_BLOB_ROLES = ("b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "ba92f5b4-2d11-453d-a403-e96b0029c9fe")


def play(
    project: Path, stage: str, rules: Rules, state: State, environment: Mapping[str, str] | None = None
) -> Iterator[Row]:
    """Everything from an empty subscription (or the given one) to an environment that was removed and made again.

    `environment` are azd's variables, as far as they aren't those of a first deployment.

    Raises
    ------
    BadCondition
        A rule whose condition doesn't fit what it meets.
    """
    variables = {
        "AZURE_ENV_NAME": stage,
        "AZURE_LOCATION": "westeurope",
        **(environment or {}),
        "SLUICE_STAGE": stage,
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        "AZURE_PRINCIPAL_ID": PRINCIPAL,
    }
    place = Place(variables["AZURE_ENV_NAME"], variables["AZURE_LOCATION"], SUBSCRIPTION, stage)
    cloud, said = Cloud(state, place.region), set[tuple[str, str]]()
    yield from _preflight("preflight", place, cloud)
    try:
        template, given = _worked_out(project / "infra" / "main.bicepparam", variables)
        first = _plan(project, template, given, rules, cloud.state, stage)
    except (ValueError, OSError) as error:
        yield _failed("provision", "main.bicep", f"InvalidTemplate: {error}", "Mend the template or its parameters.")
        return
    yield from losses(first, state, rules)
    yield from _provision("provision", first, rules, said, whole=True)
    cloud.provisioned(first)
    yield from _secrets(first, cloud)
    yield from _packages(first)
    yield from _smoke(first, cloud)
    left = _after(first, cloud.state)
    try:
        delivered, given = _worked_out(
            project / "infra" / "params" / f"{stage}.bicepparam", variables | _asked_by_pipelines(first, left)
        )
    except (ValueError, OSError) as error:
        yield _failed("second deployment", f"{stage}.bicepparam", f"InvalidTemplate: {error}", "Mend the parameters.")
        return
    again = _plan(project, delivered, given, rules, left, stage)
    yield from _provision("second deployment", again, rules, said)
    yield from roll_back(first)
    yield from _down(first, cloud)
    yield from _preflight("up again", place, cloud)
    yield from _provision("up again", _plan(project, template, given, rules, cloud.state, stage), rules, said)


def _worked_out(file: Path, environment: Mapping[str, str]) -> tuple[Deployment, Mapping[str, Any]]:
    given = read_parameters(file, environment)
    infra = file.parent if file.name == "main.bicepparam" else file.parent.parent
    deployment = deploy(infra / "main.bicep", given)
    _ = (deployment.resources, dict(deployment.outputs))
    return deployment, given


def _plan(
    project: Path, template: Deployment, given: Mapping[str, Any], rules: Rules, state: State, stage: str
) -> Plan:
    return Plan(order_of(template, facts_of(project, template, given)), state, rules.tables, stage=stage)


def _preflight(step: str, place: Place, cloud: Cloud) -> Iterator[Row]:
    for found in preflight(place, cloud.run):
        findings: tuple[Finding, ...] = ()
        if found.problem:
            findings = (Finding("preflight", "refused", found.problem, "Do what it says, then again."),)
        yield Row(step, found.check, "refused" if findings else found.done or "ok", findings=findings)


def _provision(
    step: str, plan: Plan, rules: Rules, said: set[tuple[str, str]], *, whole: bool = False
) -> Iterator[Row]:
    findings: dict[int, list[Finding]] = {}
    known = rules.tables.get("known", {}).get("rules", [])
    for refusal in judge(plan, rules.rules).refusals:
        if (key := (refusal.rule.id, str(refusal.resource))) not in said:
            findings.setdefault(refusal.resource.number, []).append(Finding.by(refusal, known))
            said.add(key)
    stopped = sum(1 << number for number, some in findings.items() if any(one.severity == "refused" for one in some))
    rows = [_row(step, one, tuple(findings.get(one.number, ())), stopped) for one in plan.subjects]
    if whole:
        yield from (row for row in rows if row.wave or row.findings)
        return
    yield from (row for row in rows if row.findings)
    if not any(row.findings for row in rows):
        yield Row(step, f"{sum(row.wave > 0 for row in rows)} resources", "all as they are")


def _row(step: str, one: Subject, findings: tuple[Finding, ...], stopped: int) -> Row:
    happens = "created" if one.plan.order.waves[one.number] else "read"
    if stopped >> one.number & 1:
        happens = "refused"
    elif one.plan.order.before[one.number] & stopped:
        happens = "not reached"
    elif any(each.severity == "broken" for each in findings):
        happens = "doesn't work"
    resource = one.resource
    place = f"{resource.file.name}:{resource.line}"
    wave = one.plan.order.waves[one.number]
    order = one.number + 1 - one.plan.order.waves.count(0) if wave else 0
    return Row(step, resource.name, happens, order, wave, resource.type, place, findings)


def _failed(step: str, what: str, failure: object, remedy: str) -> Row:
    return Row(step, what, "refused", findings=(Finding(step, "refused", str(failure), remedy),))


def _secrets(plan: Plan, cloud: Cloud) -> Iterator[Row]:
    step, before = "first secrets", cloud.seconds
    for vault in plan.resources(_VAULT):
        try:
            made = first_secrets(vault.resource.name, cloud.run, now=_NOW, sleep=cloud.sleep)
        except AzureFailed as failure:
            yield _failed(
                step, vault.resource.name, failure, "Grant who deploys the role on the vault, from inside its network."
            )
            return
        waited = cloud.seconds - before
        yield Row(step, ", ".join(made) or "none", f"set after {waited:.0f} s" if made else "there already")
        if lacking := sorted(name for name in ROTATED if name not in cloud.expiries):
            yield _failed(step, ", ".join(lacking), "has no expiry: no rotation ever begins", "Set one.")


def _packages(plan: Plan) -> Iterator[Row]:
    step = "deploy"
    for service in plan.resources("Azd/services"):
        name = service.resource.name
        sites = [
            one for one in plan.resources("Microsoft.Web/sites") if one.resource.get("tags.azd-service-name") == name
        ]
        if not sites and service.resource.get("condition"):
            continue  # azd leaves it out by the same variable by which the template does
        if len(sites) != 1:
            problem = f"unable to find a resource tagged with 'azd-service-name: {name}'"
            yield _failed(step, name, problem, "Give the app of this service that tag.")
            continue
        problem = _not_delivered(plan, sites[0])
        if problem:
            yield _failed(
                step, name, problem, "Give the app a package container that is there, and its identity a role on it."
            )
        else:
            yield Row(step, f"{name} → {sites[0].resource.name}", "package is there")


def _not_delivered(plan: Plan, site: Subject) -> str:
    storage = site.resource.get("properties.functionAppConfig.deployment.storage") or {}
    container = str(storage.get("value", "")).rpartition("/")[2].rpartition(".blob")[2]
    containers = plan.resources("Microsoft.Storage/storageAccounts/blobServices/containers")
    there = [one for one in containers if one.resource.name.rpartition("/")[2] == container]
    if not there:
        return f"ContainerNotFound: the package's container {storage.get('value')} does not exist"
    identity = str((storage.get("authentication") or {}).get("userAssignedIdentityResourceId", ""))
    for one in plan.resources("Microsoft.Authorization/roleAssignments"):
        role = str(one.resource.properties.get("roleDefinitionId")).rpartition("/")[2].rstrip("')")
        who = str(one.resource.properties.get("principalId"))
        here = plan.seen(one.resource.scope) in (*there, *(each.parent for each in there))
        if role in _BLOB_ROLES and here and _same_identity(identity, who):
            return ""
    return f"AuthorizationPermissionMismatch: the app's identity may not read {container}"


def _same_identity(resource_id: str, principal_id: str) -> bool:
    return bool(resource_id) and resource_id.removesuffix(".id") == principal_id.removesuffix(".properties.principalId")


def _smoke(plan: Plan, cloud: Cloud) -> Iterator[Row]:
    step = "smoke test"
    sites = plan.resources("Microsoft.Web/sites")
    vaults = plan.resources(_VAULT)
    if not sites or not vaults:
        yield _failed(step, "app and vault", "there is none", "Deploy them.")
        return
    settings = {
        str(one["name"]): one["value"] for one in sites[0].resource.get("properties.siteConfig.appSettings", [])
    }
    audience = str(settings.get("SLUICE_AUTH_AUDIENCE") or "")
    environment = {
        "SLUICE_API_URI": "https://api",
        "SLUICE_KEY_VAULT_NAME": vaults[0].resource.name,
        "SLUICE_AUTH_AUDIENCE": audience,
    }
    try:
        smoke_test(environment, cloud.run, lambda _: 1)
    except AzureFailed as failure:
        yield _failed(step, "credentials", failure, "Make the first secrets before.")
        return
    problem = _not_let_in(settings, environment, cloud)
    if problem:
        yield _failed(step, "POST /api/orders", problem, "Set an issuer, or let SLUICE_API_KEYS name the first secret.")
    else:
        yield Row(step, "POST /api/orders", f"taken with {'a token' if audience else 'the first API key'}")


def _not_let_in(settings: Mapping[str, Any], environment: Mapping[str, str], cloud: Cloud) -> str:
    if environment.get("SLUICE_TOKEN"):
        return "" if settings.get("SLUICE_AUTH_ISSUER") else "401: the app has an audience and no issuer of tokens"
    named = str(settings.get("SLUICE_API_KEYS") or "").removeprefix("secret:")
    known = json.loads(cloud.secrets.get(named) or "[]")
    digest = hashlib.sha256(environment.get("SLUICE_API_KEY", "").encode()).hexdigest()
    taken = any(one.get("sha256") == digest and {"producer", "reader"} <= set(one["roles"]) for one in known)
    return "" if taken else "401: the app has no issuer of tokens, and no list of keys with the one that is brought"


def _after(plan: Plan, state: State) -> State:
    """The subscription after a deployment and some days of load: event hubs have grown as far as they may."""
    return state.with_(resources=tuple(_kept(one.resource) for one in plan.subjects if plan.order.waves[one.number]))


def _asked_by_pipelines(plan: Plan, left: State) -> dict[str, str]:
    """What pipelines ask Azure before they deploy: how many units the hubs have grown to, where all of them ask."""
    texts = [str(one.resource.body["text"]) for one in plan.resources("Delivery/pipelines")]
    deploying = [text for text in texts if "az deployment sub create" in text]
    if not deploying or not all(_UNITS in text for text in deploying):
        return {}
    units = [one.body["sku"]["capacity"] for one in left.resources if one.type == _HUBS]
    return {_UNITS: str(max(units))} if units else {}


def _kept(one: Resource) -> Kept:
    body = dict(one.body)
    if one.type == _HUBS and one.properties.get("isAutoInflateEnabled") is True:
        body["sku"] = {**body["sku"], "capacity": one.properties.get("maximumThroughputUnits")}
    return Kept(one.type, one.name, body)


def _down(plan: Plan, cloud: Cloud) -> Iterator[Row]:
    if locks := plan.resources("Microsoft.Authorization/locks"):
        yield Row("down", f"{len(locks)} locks", "refused until somebody takes them off, as meant")
    left = [one.resource for one in plan.resources(_VAULT, _GATEWAY)]
    cloud.state = cloud.state.with_(deleted=tuple(map(_kept, left)), resources=())
    cloud.secrets.clear()
    cloud.expiries.clear()
    yield Row(
        "down",
        ", ".join(one.name for one in left) or "everything",
        "deleted; the names stay taken" if left else "deleted",
    )
