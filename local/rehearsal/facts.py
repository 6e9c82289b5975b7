"""What a deployment reads besides the template, as subjects of rules: azd's files, the pipelines, the app's routes.

Types: `Arm/modules`, `Arm/outputs`, `Azd/parameters`, `Azd/services`, `Azd/hooks`, `Delivery/pipelines`,
`Delivery/calls`, `App/routes`, `App/operations`, `App/functions`, `App/host`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local.bicep import Deployment, Resource

__all__ = ["facts_of"]

_PIPELINES = (".github/workflows", ".azure-pipelines")
_CALLED = re.compile(r'"(api/[^"]*)"')
_PARAMETER = re.compile(r"\{\w+\}")
_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):\s*(?P<value>.*?)\s*(?:#.*)?$")


def facts_of(project: Path, template: Deployment, given: Mapping[str, Any]) -> tuple[Resource, ...]:
    """Everything that rules may look at besides resources; `given` are the values of the template's parameters."""
    return (
        *_modules(template),
        *_outputs(template),
        *_parameters(template, given),
        *_azd(project / "azure.yaml"),
        *_pipelines(project),
        *_calls(project / "infra"),
        *_declared(project / "infra" / "declarations.json"),
        *_host(project / "host.json"),
    )


def _fact(kind: str, name: str, body: Mapping[str, Any], file: Path, line: int = 1) -> Resource:
    return Resource(
        symbol="",
        type=kind,
        api_version="",
        name=name,
        body=dict(body),
        existing=False,
        certain=True,
        module="",
        file=file,
        line=line,
    )


def _modules(template: Deployment) -> Iterator[Resource]:
    for module in template.modules:
        inner = module.deployment
        body = {"group": module.group, "path": module.symbol, "resources": len(inner.own_resources)}
        yield _fact("Arm/modules", module.name or module.symbol, body, inner.file)
        yield from _modules(inner)


def _outputs(template: Deployment) -> Iterator[Resource]:
    for name, value in template.outputs.items():
        yield _fact("Arm/outputs", name, {"value": value}, template.file)


def _parameters(template: Deployment, given: Mapping[str, Any]) -> Iterator[Resource]:
    for name, one in template.document.of_kind("param").items():
        body = {"kind": one.kind_of, "hasDefault": one.has_default, "given": name in given, "value": given.get(name)}
        yield _fact("Azd/parameters", name, body, template.file, one.line)


def _azd(file: Path) -> Iterator[Resource]:
    if not file.exists():
        return
    path: list[str] = []
    parts: dict[tuple[str, str], dict[str, str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if (found := _LINE.match(line)) is None:
            continue
        depth = len(found["indent"]) // 2
        path[depth:] = [found["key"]]
        if depth == 1 and path[0] in ("services", "hooks"):
            parts[path[0], path[1]] = {}
        elif depth >= 2 and path[0] in ("services", "hooks") and found["value"]:
            parts[path[0], path[1]].setdefault(found["key"], found["value"])
    for (kind, name), body in parts.items():
        yield _fact(f"Azd/{kind}", name, body, file)


def _pipelines(project: Path) -> Iterator[Resource]:
    files = [
        project / "azure-pipelines.yml",
        *(one for name in _PIPELINES for one in sorted((project / name).glob("*.yml"))),
    ]
    for file in files:
        if file.exists():
            name = file.relative_to(project).as_posix()
            yield _fact("Delivery/pipelines", name, {"text": file.read_text(encoding="utf-8")}, file)


def _calls(infra: Path) -> Iterator[Resource]:
    """The paths that smoke and load test call, and those that the gateway serves; a parameter's name is left out."""
    for file in (infra / "delivery" / "smoke.py", infra / "delivery" / "load.py"):
        found = _CALLED.findall(file.read_text(encoding="utf-8")) if file.exists() else []
        for path in dict.fromkeys(found):
            yield _fact("Delivery/calls", f"/{path}", {"shape": _PARAMETER.sub("{}", f"/{path}")}, file)
    document = infra / "openapi.json"
    served = json.loads(document.read_text(encoding="utf-8"))["paths"] if document.exists() else {}
    for path in served:
        yield _fact("App/operations", path, {"shape": _PARAMETER.sub("{}", path)}, document)


def _declared(file: Path) -> Iterator[Resource]:
    if not file.exists():
        return
    declared = json.loads(file.read_text(encoding="utf-8"))
    for route in declared.get("routes", []):
        yield _fact("App/routes", f"{route['method']} {route['path']}", route, file)
    for one in declared.get("functions", []):
        yield _fact("App/functions", one["name"], one, file)


def _host(file: Path) -> Iterator[Resource]:
    if file.exists():
        yield _fact("App/host", "host.json", json.loads(file.read_text(encoding="utf-8")), file)
