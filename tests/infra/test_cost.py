"""What the pages say that a stage costs is what is deployed, at the prices on record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from local.bicep import Deployment, deploy, read_parameters
from tests.infra.cost import BEGIN, END, lines_of, table, total


@pytest.fixture(scope="session")
def prices(infra: Path) -> dict[str, Any]:
    """The prices on record."""
    found: dict[str, Any] = json.loads((infra / "prices.json").read_text(encoding="utf-8"))
    return found


def counted(deployment: Deployment, prices: dict[str, Any]) -> dict[str, int]:
    """How many there are of each part."""
    return {line.part: line.number for line in lines_of(deployment, prices)}


def test_the_page_has_what_is_deployed(
    project: Path, environments: dict[str, Deployment], prices: dict[str, Any]
) -> None:
    """`python -m tests.infra.cost` renews it."""
    page = (project / "docs" / "cost.md").read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == table(environments, prices)


def test_a_day_costs_what_the_first_timer_is_told(
    project: Path, environments: dict[str, Deployment], prices: dict[str, Any]
) -> None:
    """In whole dollars, for each stage."""
    text = " ".join((project / "docs" / "deploy.md").read_text(encoding="utf-8").split())
    days = {stage: round(total(lines_of(one, prices)) * 12 / 365) for stage, one in environments.items()}
    assert f"about {days['dev']} USD in `dev`, {days['test']} in `test` and {days['prod']} in `prod`" in text


def test_every_price_has_its_source_and_date(prices: dict[str, Any]) -> None:
    """A figure that nobody can look up again is none."""
    for meter, price in prices["meters"].items():
        assert price["usd"] >= 0, meter
        assert re.search(r"20\d\d", price["source"]), meter


def test_zones_are_paid_for_every_group_that_runs(infra: Path, production: Deployment, prices: dict[str, Any]) -> None:
    """Two instances each, whatever is asked for; an app without zones pays for what it asks for."""
    switched_on = [
        setting["name"]
        for site in production.of_type("Microsoft.Web/sites")
        for setting in site.get("properties.siteConfig.appSettings")
        if setting["name"].endswith(".Disabled") and setting["value"] == "false"
    ]
    assert counted(production, prices)["instances that are always there"] == 2 * len(switched_on)
    parameters = read_parameters(infra / "params/prod.bicepparam", {})
    sizes = {app: {**size, "zones": app == "api"} for app, size in parameters["sizes"].items()}
    some = deploy(infra / "main.bicep", {**parameters, "sizes": sizes})
    assert counted(some, prices)["instances that are always there"] == 2 + 2  # the API's zones, and what high asks for
    zoned = [one.name for one in some.of_type("Microsoft.Web/serverfarms") if one.properties["zoneRedundant"]]
    assert zoned == ["asp-sluice-prod-api"]


def test_two_colours_are_paid_twice(infra: Path, production: Deployment, prices: dict[str, Any]) -> None:
    """Instances that are always there, and timers, until one colour rests."""
    parameters = {**read_parameters(infra / "params/prod.bicepparam", {}), "twoColours": True}
    twice = counted(deploy(infra / "main.bicep", parameters), prices)
    once = counted(production, prices)
    for part in ("instances that are always there", "runs of the timers a day"):
        assert twice[part] == 2 * once[part] > 0
