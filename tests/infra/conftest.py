"""The infrastructure of each environment, worked out once."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.bicep import Deployment, deploy, read_parameters

STAGES = ("dev", "test", "staging", "prod")


@pytest.fixture(scope="session")
def infra(project: Path) -> Path:
    """The folder of the infrastructure."""
    return project / "infra"


@pytest.fixture(scope="session")
def environments(infra: Path) -> dict[str, Deployment]:
    """What each parameters file deploys."""
    files = {stage: infra / "params" / f"{stage}.bicepparam" for stage in STAGES}
    return {stage: deploy(infra / "main.bicep", read_parameters(file, {})) for stage, file in files.items()}


@pytest.fixture(params=STAGES)
def environment(request: pytest.FixtureRequest, environments: dict[str, Deployment]) -> Deployment:
    """One environment after the other."""
    return environments[request.param]


@pytest.fixture(scope="session")
def production(environments: dict[str, Deployment]) -> Deployment:
    """What users get."""
    return environments["prod"]
