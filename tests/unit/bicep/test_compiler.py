"""What is worked out here is what the real compiler predicts of the same templates.

`predicted/*.txt` is what `bicep snapshot` of Bicep CLI 0.49.2 says of the templates of release 0.1.0: a line for each
resource, without a name where only Azure knows it. Where the whole predictions are on the machine, properties are
compared too.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.bicep import Deployment, Resource, Symbolic, deploy, read_parameters

RELEASE = "e60035adeaf999d33a1e995308dc7403c9cdb727"
STAGES = {"dev": 214, "test": 315, "prod": 354}


@pytest.fixture(scope="module")
def templates(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The templates as they were; a clone without its history has them not."""
    archive = ["git", "-C", str(project), "archive", "--format=tar", RELEASE, "infra", "local/config"]
    found = subprocess.run(archive, capture_output=True, check=False)
    if found.returncode != 0:
        pytest.skip("the history of release 0.1.0 is not in this clone")
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "infra"


@pytest.fixture(scope="module")
def deployments(templates: Path) -> dict[str, Deployment]:
    """Each stage, worked out here."""
    files = {stage: templates / "params" / f"{stage}.bicepparam" for stage in STAGES}
    return {stage: deploy(templates / "main.bicep", read_parameters(file, {})) for stage, file in files.items()}


def name_of(resource: Resource) -> str:
    """The name; that of a role's assignment is a hash of what only Azure knows."""
    return "" if resource.type == "Microsoft.Authorization/roleAssignments" else resource.name


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_resources_with_the_same_names(deployments: dict[str, Deployment], stage: str) -> None:
    """Every module and loop unrolled, unique strings and GUIDs included."""
    predicted = (Path(__file__).parent / "predicted" / f"{stage}.txt").read_text().splitlines()
    ours = [f"{one.type}@{one.api_version} {name_of(one)}".rstrip() for one in deployments[stage].resources]
    assert len(predicted) == STAGES[stage]
    assert sorted(ours) == sorted(predicted)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of everything in a value that has no parts."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from leaves(part, f"{path}[{number}]")
    else:
        yield path, value


def known(ours: Any, predicted: Any) -> bool:
    """Whether both sides say a value, and not how Azure will come to it."""
    unknown = isinstance(ours, Symbolic | Resource) or "[" in str(ours)
    return not unknown and not str(predicted).startswith("[") and "/subscriptions/" not in str(predicted)


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_properties(project: Path, deployments: dict[str, Deployment], stage: str) -> None:
    """All that is known before Azure runs: values, their order, and what is left out."""
    file = project.parent / "shared" / "data" / "bicep" / f"{stage}.snapshot.json"
    if not file.exists():
        pytest.skip("the compiler's whole predictions are not on this machine")
    snapshot = json.loads(file.read_text())["predictedResources"]
    times = Counter((one["type"], one["name"]) for one in snapshot)
    by_name = {(one["type"], one["name"]): one for one in snapshot if times[one["type"], one["name"]] == 1}
    compared = 0
    for resource in deployments[stage].resources:
        predicted = by_name.get((resource.type, resource.name))
        if predicted is None:
            continue
        for part in ("properties", "sku", "kind", "location", "tags", "identity"):
            here, there = dict(leaves(resource.body.get(part))), dict(leaves(predicted.get(part)))
            for path in here.keys() | there.keys():
                ours, theirs = here.get(path), there.get(path)
                if known(ours, theirs):
                    compared += 1
                    assert ours == theirs, (resource, part, path)
    assert compared > 1_000
