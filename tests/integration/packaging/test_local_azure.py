"""A stranger installs local-azure into an empty environment and does what its README shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
import venv
from pathlib import Path

import pytest

from local.packaging import Distribution, build_distribution

pytestmark = pytest.mark.timeout(600)  # packages are fetched once on a new machine

APP = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")


@app.service_bus_queue_trigger("message", queue_name="greetings", connection="ServiceBus")
def greet(message: func.ServiceBusMessage) -> None:
    pass
"""


def shown(readme: str) -> dict[str, str]:
    """The README's snippets, by the names of their files."""
    return dict(re.findall(r"<!-- snippet: (\S+) -->\n```python\n(.*?)```", readme, re.S))


class Stranger:
    """An empty project with an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.project.mkdir()
        venv.create(folder / "environment", with_pip=True)
        self._programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")

    def install(self, *packages: str) -> None:
        self.ask("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)

    def ask(self, program: str, *arguments: str, code: int = 0) -> str:
        """Run a program of the environment in the project; what it printed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self.project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def distribution(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    return build_distribution(project, tmp_path_factory.mktemp("dist"), project / ".sluice" / "backends")


@pytest.fixture(scope="module")
def stranger(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """Has installed what the first test of the README needs, and nothing else."""
    made = Stranger(tmp_path_factory.mktemp("stranger"))
    made.install(str(distribution.wheel), "azure-servicebus", "pytest")
    return made


@pytest.fixture(scope="module")
def readme(project: Path) -> dict[str, str]:
    return shown((project / "local-azure" / "README.md").read_text(encoding="utf-8"))


def test_the_first_test_is_ten_lines_and_passes(stranger: Stranger, readme: dict[str, str]) -> None:
    text = readme["test_orders.py"]
    assert sum(line.strip() != "" and not line.startswith(("from ", "import ")) for line in text.splitlines()) <= 10
    (stranger.project / "test_orders.py").write_text(text)
    assert "1 passed" in stranger.ask("pytest", "test_orders.py")


def test_each_test_may_have_services_of_its_own(stranger: Stranger) -> None:
    """Ports tell whether two tests share a broker."""
    (stranger.project / "test_scope.py").write_text(
        "import pytest\nseen = set()\n\n\n@pytest.mark.parametrize('number', [1, 2])\n"
        "def test_it(service_bus, event_hubs, number):\n"
        "    assert service_bus.connection_string == event_hubs.connection_string\n"
        "    seen.add(service_bus.connection_string)\n    assert len(seen) == number\n"
    )
    assert "2 passed" in stranger.ask("pytest", "test_scope.py", "-o", "local_azure_scope=test")
    assert "1 failed" in stranger.ask("pytest", "test_scope.py", code=1)
    assert "use one of session, module, test" in stranger.ask(
        "pytest", "test_scope.py", "-o", "local_azure_scope=day", code=4
    )


def test_what_is_not_installed_is_named(stranger: Stranger) -> None:
    said = stranger.ask("local-azure", "vault", "--help", code=2)
    assert "pip install 'local-azure[vault]'" in said
    said = stranger.ask("local-azure", "cache", code=2)
    assert said.startswith("local-azure: cache is no service\nusage: local-azure SERVICE")


def test_vault_identity_and_function_app(
    stranger: Stranger, distribution: Distribution, readme: dict[str, str]
) -> None:
    """With the extras, and the versions of the SDKs that are current."""
    stranger.install(f"{distribution.wheel}[all]", "azure-identity", "azure-keyvault-secrets", "azure-eventgrid")
    for name in ("test_vault.py", "test_app.py", "test_event_grid.py"):
        (stranger.project / name).write_text(readme[name])
    (stranger.project / "app").mkdir()
    (stranger.project / "app" / "function_app.py").write_text(APP)
    (stranger.project / "app" / "host.json").write_text(json.dumps({"version": "2.0"}))
    assert "3 passed" in stranger.ask("pytest", "test_vault.py", "test_app.py", "test_event_grid.py")
    for service in ("broker", "eventgrid", "host", "identity", "vault"):
        assert stranger.ask("local-azure", service, "--help").startswith(f"usage: local-azure {service}")
    assert stranger.ask("local-azure", "--version").strip() == distribution.version


def test_the_same_sources_make_the_same_bytes(distribution: Distribution, project: Path, tmp_path: Path) -> None:
    again = build_distribution(project, tmp_path, project / ".sluice" / "backends")
    assert again.wheel.read_bytes() == distribution.wheel.read_bytes()
    with tarfile.open(again.source) as archive:
        inside = {name.split("/")[1] for name in archive.getnames()}
    assert inside - {".gitignore"} == {
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        "src",
        "tests",
    }
