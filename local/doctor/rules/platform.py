"""Apps, plans and the package fit what the platform takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from local.doctor.facts import Facts, Place
from local.doctor.rules.rule import Problem, Rule, rule

__all__ = ["RULES"]

_CORES = {512: 0.25, 2048: 1.0, 4096: 2.0}  # Flex Consumption: instance sizes
_MEMORY_OF_A_BODY = 4  # bytes in the host for each of a body with a Content-Length, as measured under the real one
_BUNDLE = "Microsoft.Azure.Functions.ExtensionBundle"
_BUNDLE_RANGE = re.compile(r"\[4\.(\*|\d+\.\d+), 5\.0\.0\)")
_DEPLOYED = {"function_app.py", "host.json", "requirements.txt", "functions", "integrations", "ops", "shared"}


@rule(
    "functions-run-once",
    checks="every function runs in exactly one app of a stage, one that Event Grid would call in one at most",
    consequence="a function in no app leaves its queue to pile up; a timer in two apps runs twice at a time",
    remedy="switch it on in one app with AzureWebJobs.<function>.Disabled=false, off in the others",
)
def functions_run_once(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        count = Counter(
            trigger.function for app in deployment.apps for trigger in facts.triggers if app.runs(trigger.function)
        )
        for trigger in facts.triggers:
            by_queue = trigger.type == "eventGridTrigger"  # a queue takes its events
            switched_off = trigger.app == "lake" and not deployment.has_lake
            none_is_fine = deployment.azure and (by_queue or switched_off)
            if deployment.apps and count[trigger.function] != 1 and not (none_is_fine and not count[trigger.function]):
                yield Problem(
                    deployment.name,
                    deployment.apps[0].place,
                    f"{trigger.function} runs in {count[trigger.function]} apps",
                )


@rule(
    "switches-name-functions",
    checks="every AzureWebJobs.<function>.Disabled names a function",
    consequence="a misspelt switch switches nothing off: the function runs in this app too",
    remedy="spell the function as the host lists it, or take the switch out",
)
def switches_name_functions(facts: Facts) -> Iterator[Problem]:
    known = {one.function for one in facts.triggers}
    for deployment, app in facts.everywhere:
        for name in sorted(set(app.switches) - known):
            yield Problem(deployment.at(app), app.place, f"switches {name}, which is no function")


@rule(
    "extension-bundle-is-known",
    checks="the extension bundle is version 4 and ends below 5",
    consequence="another major version has other Service Bus and Event Hubs extensions: settlement and options differ",
    remedy='set extensionBundle in host.json to "[4.*, 5.0.0)"',
)
def extension_bundle_is_known(facts: Facts) -> Iterator[Problem]:
    bundle = facts.host.get("extensionBundle")
    stated = bundle if isinstance(bundle, dict) else {}
    if stated.get("id") != _BUNDLE or not _BUNDLE_RANGE.fullmatch(str(stated.get("version"))):
        yield Problem("", facts.place("host.json", "extensionBundle"), f"the bundle is {stated.get('version')!r}")


@rule(
    "host-options-are-known",
    severity="warning",
    checks="host.json and its overrides have no option that the platform doesn't know",
    consequence="a misspelt option leaves the default in force",
    remedy="spell it as in Microsoft's host.json reference",
)
def host_options_are_known(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        for warning in app.host.warnings:
            yield Problem(deployment.name, Place("host.json"), f"{warning}")


@rule(
    "bodies-fit-the-memory",
    checks="the largest bodies that an instance's requests can bring at once take a quarter of its memory at most, and"
    " the host takes no more requests at once than the platform gives it",
    consequence="callers without any right take the instance down: the host holds a body in four times its size",
    remedy="lower perInstanceConcurrency with maxConcurrentRequests in host.json, or SLUICE_MAX_BODY_BYTES, or take"
    " larger instances",
)
def bodies_fit_the_memory(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.in_azure:
        size = app.size
        if size is None or size.memory_mb not in _CORES or size.http_concurrency is None:
            continue
        most = facts.number(app, "max_body_bytes") * _MEMORY_OF_A_BODY * size.http_concurrency / 1024**2
        if most * 4 > size.memory_mb:
            yield Problem(deployment.at(app), app.place, f"holds {most:.0f} MB of bodies in {size.memory_mb} MB")
        taken = app.host.http.max_concurrent_requests
        if not 1 <= taken <= size.http_concurrency and any(
            app.runs(one.function) for one in facts.triggers if one.type == "httpTrigger"
        ):
            many = f"{taken} requests" if taken > 0 else "any number of requests"
            place = facts.place("host.json", "maxConcurrentRequests")
            yield Problem(deployment.at(app), place, f"the host takes {many} at once, of {size.http_concurrency}")


@rule(
    "python-agrees",
    checks="the Python of the infrastructure is one that the project supports",
    consequence="the app runs on a Python that nothing was tried on, or wheels for it are missing",
    remedy="set the runtime version to one within requires-python of pyproject.toml",
)
def python_agrees(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.in_azure:
        version = app.size.python if app.size else None
        if version is not None and version not in facts.pythons:
            yield Problem(deployment.at(app), app.place, f"runs on Python {version}")


@rule(
    "package-is-the-app-alone",
    checks="what is published is function_app.py, host.json, requirements.txt, functions, integrations and shared",
    consequence="tests, local tools or settings go to Azure: a larger attack surface, a slower start, perhaps a secret",
    remedy="list it in .funcignore",
)
def package_is_the_app_alone(facts: Facts) -> Iterator[Problem]:
    found = {name.split("/")[0] for name in facts.packaged}
    for name in sorted(found - _DEPLOYED):
        yield Problem("", Place(".funcignore"), f"{name} would be published")
    for name in sorted(_DEPLOYED - found):
        yield Problem("", Place(".funcignore"), f"{name} would not be published")


@rule(
    "requirements-are-pinned",
    checks="everything in requirements.in is pinned in requirements.txt",
    consequence="the app starts on a laptop, where it is installed for other reasons, and not in Azure",
    remedy="compile requirements.txt (CONTRIBUTING.md)",
)
def requirements_are_pinned(facts: Facts) -> Iterator[Problem]:
    for name in sorted(facts.required - facts.pinned):
        yield Problem("", facts.place("requirements.in", name), f"{name} isn't in requirements.txt")


@rule(
    "azd-knows-the-app",
    checks="azure.yaml deploys a Python function app of this folder for every app of the infrastructure",
    consequence="azd up makes the infrastructure and leaves an app without code",
    remedy="name each app's azd-service-name as a service in azure.yaml, with host: function and language: python",
)
def azd_knows_the_app(facts: Facts) -> Iterator[Problem]:
    text = facts.azure_yaml
    if text is None:
        return
    if not re.search(r"^\s+host:\s*function\s*$", text, re.MULTILINE):
        yield Problem("", Place("azure.yaml"), "no service has host: function")
    if not re.search(r"^\s+language:\s*(python|py)\s*$", text, re.MULTILINE):
        yield Problem("", Place("azure.yaml"), "no service has language: python")


@rule(
    "azd-builds-nothing-in-azure",
    checks="every service of azure.yaml is deployed as the folder that dev.py package fills: dist, remoteBuild: false",
    consequence="azd has the packages built in Azure, which ends after 60 seconds: the first deployment fails",
    remedy="give each service `dist: .sluice/azd` and `remoteBuild: false`",
)
def azd_builds_nothing_in_azure(facts: Facts) -> Iterator[Problem]:
    services = (facts.azure_yaml or "").partition("\nservices:")[2]
    for service in re.split(r"^  (?=\w+:$)", services, flags=re.MULTILINE)[1:]:
        name, *lines = (line.strip() for line in service.splitlines())
        for wanted in ("dist: .sluice/azd", "remoteBuild: false"):
            if wanted not in lines:
                yield Problem("", Place("azure.yaml"), f"{name.rstrip(':')} has no {wanted}")


RULES: tuple[Rule, ...] = (
    functions_run_once,
    switches_name_functions,
    extension_bundle_is_known,
    host_options_are_known,
    bodies_fit_the_memory,
    python_agrees,
    package_is_the_app_alone,
    requirements_are_pinned,
    azd_knows_the_app,
    azd_builds_nothing_in_azure,
)
