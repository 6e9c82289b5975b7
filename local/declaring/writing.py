"""Each file that is written from what the app declares, as text; and which of them in a project are stale."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from local.app import AppDescription
from local.declaring.compatibility import breaking, breaking_messages
from local.declaring.emulator import event_hubs_config, service_bus_config
from local.declaring.page import page
from local.declaring.parameters import parameters_of_all_stages

__all__ = ["Written", "broken_by", "declared_files", "stale"]


_OPENAPI = "infra/openapi.json"
_ASYNCAPI = "infra/asyncapi.json"
_COMPARED = {_OPENAPI: breaking, _ASYNCAPI: breaking_messages}
_SAMPLE = "local.settings.sample.json"


class Written(NamedTuple):
    """A file, relative to the project, and what belongs into it."""

    path: str
    text: str


def declared_files(app: AppDescription, project: Path) -> Sequence[Written]:
    """All of them. The sample settings of a project stay as they are but for the names of what is declared."""
    declared = app.declarations
    sample = json.loads((project / _SAMPLE).read_text(encoding="utf-8"))
    sample["Values"] |= declared["entitySettings"]
    return (
        Written(_SAMPLE, json.dumps(sample, indent=2) + "\n"),
        Written("infra/declarations.json", _lines(declared) + "\n"),
        Written("local/config/servicebus.json", json.dumps(service_bus_config(declared), indent=2) + "\n"),
        Written("local/config/eventhubs.json", json.dumps(event_hubs_config(declared), indent=2) + "\n"),
        Written("infra/main.bicepparam", parameters_of_all_stages(project / "infra")),
        Written(_OPENAPI, json.dumps(app.openapi, indent=1) + "\n"),
        Written(_ASYNCAPI, json.dumps(app.asyncapi, indent=1) + "\n"),
        Written("docs/schema.graphql", app.graph + "\n"),
        Written("docs/what-the-app-consists-of.md", page(declared)),
    )


def stale(project: Path, files: Sequence[Written]) -> list[str]:
    """Those that a project has otherwise, or not at all."""
    return [one.path for one in files if _content(project / one.path) != one.text]


def broken_by(files: Sequence[Written], project: Path) -> list[str]:
    """What clients of the descriptions as the project has them couldn't rely on any more, a short text each."""
    found: list[str] = []
    for one in files:
        compare, kept = _COMPARED.get(one.path), _content(project / one.path)
        if compare is not None and kept is not None and kept != one.text:
            broken = compare(json.loads(kept), json.loads(one.text))
            found += [f"{other.where}: {other.rule}" for other in broken]
    return found


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _lines(value: Any, depth: int = 0) -> str:
    """JSON with one line for each thing that is declared, so that a change of one is a change of its line."""
    indent = " " * depth
    match value:
        case Mapping() if any(isinstance(one, Mapping | list) for one in value.values()):
            members = (f"{indent} {json.dumps(name)}: {_lines(one, depth + 1)}" for name, one in value.items())
            return "{\n" + ",\n".join(members) + f"\n{indent}}}"
        case list() if any(isinstance(one, Mapping | list) for one in value):
            return (
                "[\n" + ",\n".join(f"{indent} {json.dumps(one, ensure_ascii=False)}" for one in value) + f"\n{indent}]"
            )
        case _:
            return json.dumps(value, ensure_ascii=False)
