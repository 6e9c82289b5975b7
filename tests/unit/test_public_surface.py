"""What the packages offer, and what starting the app costs."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import functions
import integrations
import ops
import shared
from tests.unit.functions.conftest import ENVIRONMENT

PACKAGES = [
    "functions",
    "functions.composition",
    "ops",
    *(found.name for found in pkgutil.iter_modules(ops.__path__, "ops.") if found.ispkg),
    *(found.name for found in pkgutil.iter_modules(shared.__path__, "shared.")),
    *(found.name for found in pkgutil.iter_modules(integrations.__path__, "integrations.")),
]
LATE = (
    "azure.eventhub",
    "azure.storage.blob",
    "azure.identity",
    "azure.keyvault",
    "azure.monitor",
    "azure.ai",
    "cryptography",
    "graphql",
    "opentelemetry.sdk",
    "opentelemetry.instrumentation",
    "rich",
)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_offers_what_its_facade_lists(name: str) -> None:
    """No name is listed and missing, none is there and unlisted."""
    package = importlib.import_module(name)
    offered = {
        attribute
        for attribute, value in vars(package).items()
        if not attribute.startswith("_") and not isinstance(value, ModuleType)
    }
    assert sorted(package.__all__) == sorted(offered)
    assert list(package.__all__) == sorted(set(package.__all__), key=_facade_order)


def _facade_order(name: str) -> tuple[int, str]:
    """As the linter sorts: constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_module_of_a_package_says_why_it_exists(name: str) -> None:
    """A docstring, and a list of what it offers, each of which is there."""
    package = importlib.import_module(name)
    modules = [package, *(importlib.import_module(found.name) for found in _modules(package))]
    for module in modules:
        assert module.__doc__, module.__name__
        for offered in module.__all__:
            assert hasattr(module, offered), f"{module.__name__}.{offered}"


def _modules(package: ModuleType) -> list[pkgutil.ModuleInfo]:
    paths = getattr(package, "__path__", [])
    return list(pkgutil.iter_modules(paths, f"{package.__name__}."))


def run(project: Path, code: str, **changed: str | None) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process, in an environment that is right but for the changes."""
    variables = {**ENVIRONMENT, "PATH": os.environ.get("PATH", ""), "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")}
    environment = {name: value for name, value in {**variables, **changed}.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_starting_the_app_loads_nothing_that_the_first_message_can_load(project: Path) -> None:
    """Every instance pays for what is imported at the start."""
    done = run(project, f"import sys, function_app; print(*[name for name in {LATE!r} if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("streams", ["true", "false"])
def test_the_composed_app_has_its_functions(project: Path, streams: str) -> None:
    """One for HTTP, two a lane, one a consumer group, one an app with jobs, two for secrets; streams or not."""
    code = (
        "import function_app\n"
        "for one in function_app.app.get_functions():\n"
        "    print(one.get_function_name(), one.get_trigger().get_binding_name())"
    )
    done = run(project, code, SLUICE_HTTP_STREAMS=streams)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "api httpTrigger",
        "deliver_webhook serviceBusTrigger",
        "jobs_ordered timerTrigger",
        "jobs_streams timerTrigger",
        "lane_high serviceBusTrigger",
        "lane_low serviceBusTrigger",
        "lane_normal serviceBusTrigger",
        "lane_ordered serviceBusTrigger",
        "read_models eventHubTrigger",
        "secret_events eventGridTrigger",
        "secret_events_queue serviceBusTrigger",
        "webhooks eventHubTrigger",
    ]


def test_wrong_settings_stop_the_start_with_one_line(project: Path) -> None:
    """All of them at once, no value told."""
    done = run(project, "import function_app", ServiceBus=None, SLUICE_STATE_BUCKETS="hunter2")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "ServiceBus: is missing" in last
    assert "SLUICE_STATE_BUCKETS" in last
    assert "hunter2" not in done.stderr


def test_the_functions_package_is_what_the_app_composes(project: Path) -> None:
    """Nothing but composition is in the entry module."""
    source = (project / "function_app.py").read_text()
    assert "def " not in source
    for name in functions.__all__:
        assert name in source
