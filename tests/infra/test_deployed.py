"""What is deployed, line by line: a change that nobody meant shows as what it is in Azure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.bicep import Deployment
from tests.infra.deployed import STAGES, kept, lines_of


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_deploys_what_is_on_record(environments: dict[str, Deployment], stage: str) -> None:
    """Resources, roles, switches and settings; `python -m tests.infra.deployed` renews the record."""
    now, before = lines_of(environments[stage]), kept(stage).read_text(encoding="utf-8").splitlines()
    assert sorted(set(now) - set(before)) == [], "deployed, and not on record"
    assert sorted(set(before) - set(now)) == [], "on record, and not deployed any more"
    assert len(now) == len(before)


def test_every_role_says_what_for(environment: Deployment) -> None:
    """In a sentence that Azure shows beside the assignment."""
    for one in environment.of_type("Microsoft.Authorization/roleAssignments"):
        reason = str(one.properties["description"])
        assert reason.endswith("."), reason
        assert len(reason) <= 1024


def test_every_declared_grant_is_deployed(project: Path, environment: Deployment) -> None:
    """With its reason, for every account that has the table; links into the storage where callers can reach it.

    What sharing needs is granted where something is shared.
    """
    grants = json.loads((project / "infra" / "declarations.json").read_text(encoding="utf-8"))["grants"]
    reasons = {str(one.properties["description"]) for one in environment.of_type(
        "Microsoft.Authorization/roleAssignments"
    )}  # fmt: skip
    wanted = {one["why"] for rows in grants.values() for one in rows}
    assert wanted
    links = {one["why"] for one in grants["claimAccount"]}
    shares = {one["why"] for one in [*grants["lakeAccount"], *grants["lakeContainersOfApi"]]}
    open_to_callers = {
        one.name for one in environment.of_type("Microsoft.Storage/storageAccounts")
        if one.properties["publicNetworkAccess"] == "Enabled"
    }  # fmt: skip
    assert wanted - reasons == shares | (set() if open_to_callers else links)
