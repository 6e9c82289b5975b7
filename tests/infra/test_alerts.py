"""Alerts and the workbook look at what the app and the services really say."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from local.bicep import Deployment, Resource, read_parameters
from shared.telemetry import Metrics
from shared.telemetry.metrics import instruments

QUERY_RULES = "Microsoft.Insights/scheduledQueryRules"
METRIC_RULES = "Microsoft.Insights/metricAlerts"
GOLDEN = {
    "waiting-high",
    "waiting-others",
    "latency",
    "failures",
    "dead-letters",
    "burn-rate",
    "no-traffic",
    "api-errors",
}
METRICS = {
    "Microsoft.ServiceBus/namespaces": {
        "ActiveMessages",
        "DeadletteredMessages",
        "ThrottledRequests",
        "ServerErrors",
        "NamespaceCpuUsage",
    },
    "Microsoft.EventHub/namespaces": {
        "ThrottledRequests",
        "QuotaExceededErrors",
        "IncomingMessages",
        "OutgoingMessages",
    },
    "Microsoft.KeyVault/vaults": {"SaturationShoebox", "Availability"},
    "Microsoft.Storage/storageAccounts": {"Transactions", "SuccessServerLatency", "UsedCapacity"},
}
"""Metrics as Azure Monitor's reference of supported metrics names them."""


@pytest.fixture(scope="session")
def said(project: Path) -> dict[str, set[str]]:
    """Every event that the app logs, with the names of its fields; fields that aren't known by name are `**`."""
    events: dict[str, set[str]] = {}
    for folder in ("functions", "shared"):
        for file in (project / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "log_event" and node.args:
                    name = node.args[0]
                    if isinstance(name, ast.Constant):
                        fields = {keyword.arg or "**" for keyword in node.keywords}
                        events.setdefault(str(name.value), set()).update(fields)
    return events


@pytest.fixture(scope="session")
def spans(project: Path) -> set[str]:
    """Every span that the app opens."""
    files = [*(project / "shared").rglob("*.py"), *(project / "functions").rglob("*.py")]
    return {name for file in files for name in re.findall(r"\bspan\(\s*f?\"(\w+)", file.read_text())}


@pytest.fixture(scope="session")
def measured(project: Path) -> dict[str, set[str]]:
    """Every metric by its name, with the attributes that its values are given."""
    found: dict[str, set[str]] = {one.name: set() for one in instruments()}
    for file in [*(project / "shared").rglob("*.py"), *(project / "functions").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="Metrics"), attr=one))):
                    found[vars(Metrics)[one].name] |= {keyword.arg or "**" for keyword in node.keywords}
    return found


def queries_of(project: Path) -> dict[str, str]:
    """Queries of the alerts and of the workbook, by where they are."""
    found = {file.name: file.read_text() for file in (project / "infra/queries").glob("*.kql")}
    page = json.loads((project / "infra/workbooks/operations.json").read_text())
    for item in page["items"]:
        if "query" in item.get("content", {}):
            found[item["name"]] = item["content"]["query"]
    return found


def without_comments(query: str) -> str:
    """A query without its comments."""
    return re.sub(r"^\s*//.*$", "", query, flags=re.MULTILINE)


def test_queries_ask_for_what_the_app_says(
    project: Path, said: dict[str, set[str]], spans: set[str], measured: dict[str, set[str]]
) -> None:
    """An event, metric or field that was renamed would make an alert that never fires."""
    events: set[str] = set()
    for place, query in queries_of(project).items():
        asked = set(re.findall(r'Message startswith "([^"{]+?) ?\{?"', without_comments(query)))
        assert asked <= said.keys(), place
        events |= asked
        metrics = set(re.findall(r'\bName == "([\w.]+)"', without_comments(query))) if "AppMetrics" in query else set()
        assert metrics <= measured.keys(), place
        fields = {field for event in asked for field in said[event]} | {
            attribute for metric in metrics for attribute in measured[metric]
        }
        fields.add("leftOut")  # of any line, in a storm of them: shared/telemetry/logs.py
        for field in re.findall(r"Properties\.(\w+)", query):
            assert field in fields or "**" in fields, (place, field)
        for name in re.findall(r'\bName == "(\w+)"', query):
            assert name in spans, (place, name)
        for names in re.findall(r"\b(?:Name|step) in \(([^)]*)\)", query):
            assert set(re.findall(r'"(\w+)"', names)) <= spans, place
    assert {"batch", "batch failed", "dead letter", "retry later", "event parked"} <= events


def test_the_golden_signals_and_the_agreed_rules_are_watched(production: Deployment) -> None:
    """Age, latency, failures, dead letters, burn rate, silence; 5 seconds at p95 and one failure in ten seconds."""
    rules = {one.name.split("-", 2)[2]: one for one in production.of_type(QUERY_RULES)}
    assert rules.keys() >= GOLDEN
    assert all(rules[name].properties["enabled"] is True for name in GOLDEN)

    def threshold(name: str) -> Any:
        return rules[name].get("properties.criteria.allOf")[0]["threshold"]

    assert threshold("latency") == 5
    assert threshold("failures") == 0.1 * 300
    window = rules["failures"].properties["windowSize"]
    assert window == "PT5M"
    assert rules["no-traffic"].get("properties.criteria.allOf")[0]["operator"] == "LessThan"


def test_each_rule_measures_what_its_query_returns(environment: Deployment) -> None:
    """And tells somebody, with what to do."""
    for rule in environment.of_type(QUERY_RULES):
        (criterion,) = rule.get("properties.criteria.allOf")
        assert re.search(
            rf"\b{criterion['metricMeasureColumn']}\s*=|\b{criterion['metricMeasureColumn']}$", criterion["query"]
        )
        assert "__" not in criterion["query"], rule
        assert isinstance(criterion["threshold"], int)
        assert bool(rule.get("properties.actions.actionGroups")) is bool(environment.value("alertEmails")), rule
        assert len(rule.properties["description"]) > 40
        assert rule.properties["severity"] in range(5)


def test_somebody_is_written_to_or_no_group_is_made(infra: Path, environment: Deployment) -> None:
    """A group without receivers looks as if somebody were called."""
    groups = environment.of_type("Microsoft.Insights/actionGroups")
    assert [bool(one.get("properties.emailReceivers")) for one in groups] == [True] * len(groups)
    assert bool(groups) is (environment.value("stage") != "dev")
    named = read_parameters(infra / "params/dev.bicepparam", {"SLUICE_ALERT_EMAIL": "me@example.com"})
    assert named["alertEmails"] == ["me@example.com"]


def test_fifty_denied_calls_in_five_minutes_are_told(environment: Deployment) -> None:
    """Counted as they were, though only some are kept."""
    (rule,) = [one for one in environment.of_type(QUERY_RULES) if one.name.endswith("-denied")]
    (criterion,) = rule.get("properties.criteria.allOf")
    assert (criterion["operator"], criterion["threshold"]) == ("GreaterThanOrEqual", 50)
    assert rule.properties["windowSize"] == rule.properties["evaluationFrequency"] == "PT5M"
    assert "sum(ItemCount)" in criterion["query"]


def test_metrics_are_those_that_the_services_have(project: Path, environment: Deployment) -> None:
    """Of alerts and of the workbook; saturation of Service Bus on Premium only, where there is one."""
    for rule in environment.of_type(METRIC_RULES):
        (criterion,) = rule.get("properties.criteria.allOf")
        kind = criterion["metricNamespace"]
        assert criterion["metricName"] in METRICS[kind], rule
        # Rules over several resources are there for virtual machines and few others, not for any of these.
        (scope,) = rule.properties["scopes"]
        assert kind in str(scope), rule
        assert rule.get("properties.criteria")["odata.type"].endswith(".SingleResourceMultipleMetricCriteria")
    premium = environment.value("serviceBus")["sku"] == "Premium"
    names = [rule.name for rule in environment.of_type(METRIC_RULES)]
    assert any(name.endswith("bus-saturated") for name in names) is premium
    known = {kind.lower(): metrics for kind, metrics in METRICS.items()}
    page = json.loads((project / "infra/workbooks/operations.json").read_text())
    shown = [metric for item in page["items"] if item["type"] == 10 for metric in item["content"]["metrics"]]
    assert shown
    for metric in shown:
        assert metric["metric"].rsplit("--", 1)[-1] in known[metric["namespace"]], metric


def test_the_workbook_is_deployed_with_its_resources(environment: Deployment) -> None:
    """Every placeholder is filled, and the page is still JSON."""
    (workbook,) = environment.of_type("Microsoft.Insights/workbooks")
    data = workbook.properties["serializedData"]
    assert isinstance(workbook, Resource)
    assert not re.findall(r"__[A-Z_]+__", data)
    page = json.loads(data)
    assert len([item for item in page["items"] if item["type"] in (3, 10)]) >= 15
    assert len({item["name"] for item in page["items"]}) == len(page["items"])
