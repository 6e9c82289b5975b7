"""What each environment deploys, line by line: `python -m tests.infra.deployed` renews `tests/infra/deployed/*.txt`.

A change of the templates, or of what the app declares, shows there as what it is in Azure: a resource more, a role
less.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.bicep import Deployment, Resource, deploy, read_parameters

__all__ = ["STAGES", "kept", "lines_of"]

STAGES = ("dev", "test", "staging", "prod")
_PROJECT = Path(__file__).resolve().parent.parent.parent
_ENTITY = ("queues", "eventhubs", "consumergroups", "tables", "containers")
_IDENTITY = re.compile(r"userAssignedIdentities:([^\]]+)\]")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def kept(stage: str) -> Path:
    """Where the lines of a stage are kept."""
    return _PROJECT / "tests" / "infra" / "deployed" / f"{stage}.txt"


def deployed(infra: Path, stage: str) -> Deployment:
    """A stage, worked out of its templates."""
    return deploy(infra / "main.bicep", read_parameters(infra / "params" / f"{stage}.bicepparam", {}))


def lines_of(deployment: Deployment) -> list[str]:
    """A line for each resource, each role and each switch of a function, sorted."""
    return sorted(line for one in deployment.resources for line in _lines(one))


def _lines(one: Resource) -> Iterator[str]:
    kind = one.type.rpartition("/")[2]
    if kind == "roleAssignments":
        who = str(one.properties["principalId"])
        identity = _IDENTITY.search(who)
        role = _GUID.search(str(one.properties["roleDefinitionId"]).rpartition("/")[2])
        yield f"role {role[0] if role else '?'} for {identity[1] if identity else who} on {one.scope}"
        return
    own = f" {json.dumps(_plain(one.properties), sort_keys=True)}" if kind in _ENTITY else ""
    yield f"{one.type} {one.name}{own}"
    if kind == "sites":
        for setting in one.get("properties.siteConfig.appSettings"):
            yield f"setting of {one.name}: {setting['name']}={setting['value']}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else _PROJECT / "infra"
    for each in STAGES:
        kept(each).parent.mkdir(exist_ok=True)
        kept(each).write_text("\n".join(lines_of(deployed(folder, each))) + "\n", encoding="utf-8")
