"""Every setting that is read is set, and every one that is set is read."""

from __future__ import annotations

from collections.abc import Iterator

from local.doctor.facts import App, Facts, Place
from local.doctor.rules.rule import Problem, Rule, rule

__all__ = ["RULES"]

# What the platform, its extensions or the worker read: Microsoft's app settings reference for Azure Functions.
_PLATFORM = frozenset(
    {
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
        "FUNCTIONS_WORKER_RUNTIME",
        "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
        "PYTHON_ENABLE_INIT_INDEXING",
        "PYTHON_ENABLE_OPENTELEMETRY",
        "PYTHON_THREADPOOL_THREAD_COUNT",
        "WEBSITE_SKIP_CONTENTSHARE_VALIDATION",
    }
)
_PLATFORM_PREFIXES = ("AzureFunctionsJobHost__", "AzureWebJobs", "OTEL_")
# Refused or without effect on Flex Consumption: Microsoft's "Flex Consumption plan deprecations".
_ON = ("1", "true", "yes", "on")
_HOST_STORAGE = "AzureWebJobsStorage"
_ADDRESSES = ("fullyQualifiedNamespace", "blobServiceUri", "tableServiceUri", "vaultUri", "accountName", "serviceUri")
_KEYS = ("AccountKey=", "SharedAccessKey=", "SharedAccessSignature=")


def _base(name: str) -> str:
    return name.partition("__")[0]


def _in_triggers(facts: Facts) -> dict[str, str]:
    """Settings that bindings name, with a function that does."""
    return {name: one.function for one in facts.triggers for _, name in one.references}


@rule(
    "sources-are-readable",
    checks="everything the doctor reads can be read: the app, host.json, the emulator's files, the infrastructure",
    consequence="the host or the deployment can't read it either, and the rules about it say nothing",
    remedy="mend the file",
)
def sources_are_readable(facts: Facts) -> Iterator[Problem]:
    for one in facts.unreadable:
        yield Problem("", one.place, one.reason)


@rule(
    "bindings-settings-are-set",
    checks="every %SETTING% of a binding is set wherever its function runs",
    consequence="the host doesn't start the function, and says so in its log alone",
    remedy="set it in local.settings.sample.json and in the infrastructure",
)
def bindings_settings_are_set(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        for name, function in _in_triggers(facts).items():
            if app.runs(function) and not app.settings.get(name):
                yield Problem(deployment.at(app), app.place, f"doesn't set {name}, which {function} needs")


@rule(
    "callers-are-checked",
    checks="every app in Azure knows its callers: an issuer with an audience, or API keys, and never SLUICE_AUTH=none",
    consequence="the app stops at its start, or everybody may send and read",
    remedy="set SLUICE_AUTH_ISSUER and SLUICE_AUTH_AUDIENCE, or SLUICE_API_KEYS, and leave SLUICE_AUTH out",
)
def callers_are_checked(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.in_azure:
        if "none" in str(app.settings.get("SLUICE_AUTH", "")):
            yield Problem(deployment.at(app), app.place, "lets everybody in: SLUICE_AUTH is none")
        elif not any(app.settings.get(f"SLUICE_{name}") for name in ("AUTH_ISSUER", "AUTH_ISSUERS", "API_KEYS")):
            yield Problem(deployment.at(app), app.place, "knows nobody: neither SLUICE_AUTH_ISSUER nor SLUICE_API_KEYS")


@rule(
    "required-settings-are-set",
    checks="every setting without a default is set in Azure",
    consequence="the app stops at its start, in every instance",
    remedy="set it in the infrastructure",
)
def required_settings_are_set(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.in_azure:
        bases = {_base(name) for name in app.settings}
        for setting in facts.settings.values():
            if setting.required and setting.name not in (bases if setting.connection else app.settings):
                yield Problem(deployment.at(app), app.place, f"doesn't set {setting.name}")


@rule(
    "settings-are-read",
    checks="every setting that is set is read by the app or the platform",
    consequence="somebody relies on a setting that does nothing: a misspelt name leaves the default in force",
    remedy="spell it as in the settings module of its package, or take it out",
)
def settings_are_read(facts: Facts) -> Iterator[Problem]:
    read = {*facts.settings, *_in_triggers(facts), *(one.text("connection") for one in facts.triggers)}
    for deployment, app in facts.everywhere:
        for name in sorted(app.settings):
            known = name in _PLATFORM or name.startswith(_PLATFORM_PREFIXES) or _base(name) in read or name in read
            if not known:
                yield Problem(deployment.at(app), _where(facts, app, name), f"sets {name}, which nobody reads")


def _where(facts: Facts, app: App, name: str) -> Place:
    return facts.place(app.place.file, f'"{name}"') if app.place.file.endswith(".json") else app.place


@rule(
    "values-are-in-bounds",
    checks="every number that is set is within the bounds of the settings model",
    consequence="the app stops at its start, in every instance",
    remedy="set it within the bounds that the finding tells",
)
def values_are_in_bounds(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        for setting in facts.settings.values():
            text = app.settings.get(setting.name, "")
            if not text or not setting.bounds:
                continue
            try:
                value = float(text)
            except ValueError:
                if not text.startswith("["):
                    yield Problem(deployment.name, _where(facts, app, setting.name), f"{setting.name} is no number")
                continue
            if broken := _broken(value, setting.bounds):
                yield Problem(
                    deployment.at(app),
                    _where(facts, app, setting.name),
                    f"sets {setting.name} to {value:g}, it must be {broken}",
                )


def _broken(value: float, bounds: object) -> str:
    assert isinstance(bounds, dict)
    tests = {"ge": ("at least", value.__ge__), "gt": ("above", value.__gt__)}
    tests |= {"le": ("at most", value.__le__), "lt": ("below", value.__lt__)}
    failed = [
        f"{word} {bounds[name]:g}"
        for name, (word, holds) in tests.items()
        if name in bounds and not holds(bounds[name])
    ]
    return failed[0] if failed else ""


@rule(
    "streams-are-indexed-early",
    checks="PYTHON_ENABLE_INIT_INDEXING is 1 where HTTP streams are used on Python 3.11 or 3.12",
    consequence="every HTTP request hangs",
    remedy="set PYTHON_ENABLE_INIT_INDEXING to 1",
)
def streams_are_indexed_early(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        streams = facts.text(app, "http_streams").lower() in _ON
        needed = app.size is None or app.size.python in ("3.11", "3.12")
        if streams and needed and app.settings.get("PYTHON_ENABLE_INIT_INDEXING") != "1":
            yield Problem(deployment.at(app), app.place, "uses HTTP streams without it")


@rule(
    "telemetry-goes-one-way",
    checks="the worker doesn't export to Azure Monitor beside the app",
    consequence="the app refuses to start; it would send everything twice, and the exporter's own requests with it",
    remedy="take PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY out: the app exports its spans, the host its lines",
)
def telemetry_goes_one_way(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        worker = app.settings.get("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", "").lower() in _ON
        if worker and facts.text(app, "telemetry") != "none":
            yield Problem(deployment.at(app), app.place, "has the worker export what the app exports already")


@rule(
    "bodies-have-one-limit",
    checks="the host takes bodies as large as the app does, and none larger",
    consequence="larger: anybody fills the memory, since the host reads a body before the app asks who sent it",
    remedy="set FUNCTIONS_REQUEST_BODY_SIZE_LIMIT to the number of SLUICE_MAX_BODY_BYTES",
)
def bodies_have_one_limit(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        limit = app.settings.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "104857600")
        if limit != f"{facts.number(app, 'max_body_bytes'):.0f}":
            yield Problem(deployment.at(app), app.place, f"has a host limit of {limit} bytes")


@rule(
    "connections-are-complete",
    checks="every connection in Azure has an address, a credential and the identity's client id",
    consequence="the platform looks for a system-assigned identity that isn't there: triggers never start",
    remedy="set NAME__credential=managedidentity and NAME__clientId beside the address",
)
def connections_are_complete(facts: Facts) -> Iterator[Problem]:
    wanted = {one.text("connection") for one in facts.triggers if one.text("connection")} | {_HOST_STORAGE}
    for deployment, app in facts.in_azure:
        addressed = {_base(name) for name in app.settings if name.partition("__")[2] in _ADDRESSES}
        for name in sorted(wanted | addressed):
            lacking = [part for part in ("credential", "clientId") if not app.settings.get(f"{name}__{part}")]
            if name not in addressed:
                lacking = ["address", *lacking]
            if lacking:
                yield Problem(deployment.at(app), app.place, f"has no {' and no '.join(lacking)} for {name}")


@rule(
    "no-keys-in-azure",
    checks="no connection string with a key is set in Azure, and no service takes keys",
    consequence="a secret that opens everything lies in the settings, or the app can't connect where keys are off",
    remedy="reach it by identity; disableLocalAuth: true, allowSharedKeyAccess: false",
)
def no_keys_in_azure(facts: Facts) -> Iterator[Problem]:
    connections = {one.name for one in facts.settings.values() if one.connection} | {_HOST_STORAGE}
    for deployment, app in facts.in_azure:
        for name, value in app.settings.items():
            if name in connections or any(key in value for key in _KEYS):
                yield Problem(deployment.at(app), app.place, f"sets {name} to a connection string")
    for deployment in facts.deployments:
        for account in deployment.accounts:
            if account.keys:
                yield Problem(deployment.name, account.place, f"{account.name} takes keys")


RULES: tuple[Rule, ...] = (
    sources_are_readable,
    bindings_settings_are_set,
    callers_are_checked,
    required_settings_are_set,
    settings_are_read,
    values_are_in_bounds,
    streams_are_indexed_early,
    telemetry_goes_one_way,
    bodies_have_one_limit,
    connections_are_complete,
    no_keys_in_azure,
)
