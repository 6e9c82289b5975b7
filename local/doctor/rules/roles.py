"""Every call that the app makes has a role, at the narrowest scope, and no role is without a call."""

from __future__ import annotations

from collections.abc import Iterator

from local.doctor.facts import App, Deployment, Facts, Grant, Need
from local.doctor.rules.rule import Problem, Rule, rule

__all__ = ["RULES"]


_PLATFORM = (
    Need("account", "%AzureWebJobsStorage__blobServiceUri%", "own", "the host's locks, keys, timers, checkpoints"),
    Need("container", "the app's package", "write", "the platform keeps the package there"),
    Need("component", "", "publish", "telemetry", when="APPLICATIONINSIGHTS_CONNECTION_STRING"),
)
"""What the platform itself calls as the app, whatever the app does."""
_COLOUR = "-green"

# Microsoft's built-in roles, by their id: what each lets do.
_ROLES: dict[str, tuple[str, frozenset[str]]] = {
    "090c5cfd-751d-490a-894a-3ce6f1109419": ("Service Bus Data Owner", frozenset({"send", "receive", "scale"})),
    "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": ("Service Bus Data Sender", frozenset({"send"})),
    "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": ("Service Bus Data Receiver", frozenset({"receive"})),
    "f526a384-b230-433a-b45c-95f59c4a2dec": ("Event Hubs Data Owner", frozenset({"send", "receive", "scale"})),
    "2b629674-e913-4c01-ae53-ef4638d8f975": ("Event Hubs Data Sender", frozenset({"send"})),
    "a638d3c7-ab3a-418d-83e6-5f17a39d4fde": ("Event Hubs Data Receiver", frozenset({"receive"})),
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": ("Storage Blob Data Owner", frozenset({"read", "write", "own"})),
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": ("Storage Blob Data Contributor", frozenset({"read", "write"})),
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": ("Storage Blob Data Reader", frozenset({"read"})),
    "db58b8e5-c6ad-4a2a-8342-4190687cbf4a": ("Storage Blob Delegator", frozenset({"delegate"})),
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": ("Storage Queue Data Contributor", frozenset({"read", "write"})),
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": ("Storage Table Data Contributor", frozenset({"read", "write"})),
    "76199698-9eea-4c19-bc75-cec21354c6b6": ("Storage Table Data Reader", frozenset({"read"})),
    "4633458b-17de-408a-b874-0445c86b69e6": ("Key Vault Secrets User", frozenset({"secrets"})),
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": ("Key Vault Secrets Officer", frozenset({"secrets", "set-secrets"})),
    "e147488a-f6f5-4113-8e2d-b22465e65bf6": ("Key Vault Crypto Service Encryption User", frozenset({"wrap"})),
    "3913510d-42f4-4e42-8a64-420c390055eb": ("Monitoring Metrics Publisher", frozenset({"publish"})),
    "d5a91429-5739-47e2-a06b-3470a27159e7": ("EventGrid Data Sender", frozenset({"send"})),
}
_WIDE = ("group", "service-bus", "event-hubs")


def _is_set(app: App, when: str) -> bool:
    name, _, start = when.partition("=")
    return not when or app.settings.get(name, "").startswith(start or app.settings.get(name, "\0"))


def _name(facts: Facts, app: App, name: str) -> str:
    """The entity's name in an app: a setting's value, its default, or the name itself; of an address, the account."""
    if not name.startswith("%"):
        return name
    setting = name.strip("%")
    value = app.settings.get(setting)
    if value is None and setting in facts.settings:
        value = str(facts.settings[setting].default)
    value = (value or name).removeprefix("key:")
    return value.removeprefix("https://").partition(".")[0] if value.startswith("https://") else value


def _needs(facts: Facts, app: App) -> Iterator[Need]:
    """What an app calls: what triggers its functions, what its capabilities declare, and the platform."""
    for trigger in facts.triggers:
        if not app.runs(trigger.function):
            continue
        if trigger.type == "serviceBusTrigger":
            yield Need("queue", app.resolve(trigger.queue), "receive", f"messages of {trigger.function}")
        if trigger.type == "eventHubTrigger":
            hub = app.resolve(trigger.text("eventHubName"))
            yield Need("hub", hub, "receive", f"events of {trigger.function}")
    for need in (*_PLATFORM, *(one for one in facts.needs if app.name.removesuffix(_COLOUR) in one.apps)):
        if _is_set(app, need.when):
            yield need._replace(name=_name(facts, app, need.name))


def _fits(grant: Grant, need: Need) -> bool:
    if grant.kind != need.kind:
        return False
    if need.name == "the app's package":
        return grant.name.startswith("app-")
    return need.name in ("", grant.name)


def _allowed(grant: Grant) -> frozenset[str]:
    return _ROLES.get(grant.role, ("", frozenset[str]()))[1]


def _granted(deployment: Deployment, app: App) -> list[Grant]:
    return [one for one in deployment.grants if one.identity and one.identity == app.identity]


@rule(
    "calls-have-roles",
    checks="every call that an app's functions make has a role on exactly that queue, hub, container, table or vault",
    consequence="the call is answered 403: messages are refused, retried without end, or never read",
    remedy="say in the capability that needs it what for (`needs`), and run dev.py declare",
)
def calls_have_roles(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.in_azure:
        grants = _granted(deployment, app)
        told = set()
        for need in _needs(facts, app):
            key = (need.kind, need.name, need.access)
            if key in told or any(_fits(one, need) and need.access in _allowed(one) for one in grants):
                continue
            told.add(key)
            what = f"{need.access} on {need.kind} {need.name}".strip()
            yield Problem(deployment.at(app), app.place, f"has no role to {what}, and needs it: {need.why}")


@rule(
    "roles-have-calls",
    checks="no app has a role that its functions don't use, or one that lets it write what it only reads",
    consequence="whoever breaks into the app can do with the role what the app never does",
    remedy="take the need out of its capability and run dev.py declare, or grant a lesser role",
)
def roles_have_calls(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.in_azure:
        needs = list(_needs(facts, app))
        for grant in _granted(deployment, app):
            if grant.kind in _WIDE or grant.role not in _ROLES:
                continue
            used = {need.access for need in needs if _fits(grant, need)}
            allowed = _allowed(grant)
            spare = {"write", "own"} & allowed - used if "own" not in used else frozenset[str]()
            if "write" in used:
                spare -= {"write"}
            name, what = _ROLES[grant.role][0], f"{grant.kind} {grant.name}".strip()
            if not used & allowed:
                yield Problem(deployment.at(app), grant.place, f"has {name} on {what} and makes no such call")
            elif spare:
                yield Problem(
                    deployment.at(app),
                    grant.place,
                    f"has {name} on {what} and doesn't {' or '.join(sorted(spare))}",
                )


@rule(
    "roles-are-narrow",
    checks="roles are granted on single resources, and are among the built-in data roles that the doctor knows",
    consequence="one app can read and change what belongs to others",
    remedy="give the assignment the scope of the queue, hub, container, table or vault",
)
def roles_are_narrow(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        own = {app.identity for app in deployment.apps}
        for grant in deployment.grants:
            if grant.identity not in own or not grant.identity:
                continue
            if grant.kind in _WIDE:
                scope = "the whole group" if grant.kind == "group" else f"the whole namespace {grant.name}"
                yield Problem(deployment.name, grant.place, f"{grant.identity} has a role on {scope}")
            elif grant.role not in _ROLES:
                yield Problem(deployment.name, grant.place, f"{grant.identity} has a role {grant.role} on {grant.name}")


RULES: tuple[Rule, ...] = (calls_have_roles, roles_have_calls, roles_are_narrow)
