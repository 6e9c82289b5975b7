"""Every query, in alerts, workbook and documentation, is read by the language's real parser."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.bicep import Deployment
from tests.npm import installed

KQL = Path(__file__).parent / "kql"
_COMMON = (
    "TimeGenerated: datetime, OperationId: string, OperationName: string, AppRoleName: string, Properties: dynamic"
)
TABLES = {
    "AppRequests": f"({_COMMON}, Name: string, ResultCode: string, Success: bool, DurationMs: real, Url: string, "
    "ItemCount: int)",
    "AppDependencies": f"({_COMMON}, Name: string, Target: string, Success: bool, DurationMs: real)",
    "AppTraces": f"({_COMMON}, Message: string, SeverityLevel: int)",
    "AppMetrics": f"({_COMMON}, Name: string, Sum: real, ItemCount: int, Min: real, Max: real)",
    "AppExceptions": f"({_COMMON}, ProblemId: string, OuterMessage: string, InnermostType: string, "
    "ExceptionType: string)",
    "AzureMetrics": "(TimeGenerated: datetime, ResourceProvider: string, Resource: string, ResourceId: string, "
    "MetricName: string, Total: real, Count: real, Average: real, Maximum: real, Minimum: real)",
    "Usage": "(TimeGenerated: datetime, DataType: string, Quantity: real, QuantityUnit: string, IsBillable: bool)",
}
"""The columns that the queries may use, as the reference of Azure Monitor's tables lists them."""
_FENCE = re.compile(r"^( *)```kusto\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Read:
    """What the parser says of a query."""

    problems: list[str]
    columns: Mapping[str, str]


Parser = Callable[[Mapping[str, str]], dict[str, Read]]


@pytest.fixture(scope="session")
def parse(project: Path) -> Parser:
    """Reads queries by name; skipped where there is no Node, but for CI."""
    node, folder = installed(project, KQL, "kql")

    def read(queries: Mapping[str, str]) -> dict[str, Read]:
        asked = json.dumps({"tables": TABLES, "queries": queries})
        modules = {**os.environ, "NODE_PATH": str(folder / "node_modules")}
        done = subprocess.run(
            [node, str(KQL / "check.cjs")],
            input=asked,
            capture_output=True,
            text=True,
            env=modules,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-1_000:]
        return {name: Read(**found) for name, found in json.loads(done.stdout).items()}

    return read


def alert_queries(deployment: Deployment) -> dict[str, str]:
    """The queries of the log alerts, as they are deployed."""
    return {
        rule.name: rule.properties["criteria"]["allOf"][0]["query"]
        for rule in deployment.of_type("Microsoft.Insights/scheduledQueryRules")
    }


def page_queries(project: Path) -> dict[str, str]:
    """The queries of the workbook, with values for its parameters."""
    page = json.loads((project / "infra/workbooks/operations.json").read_text())
    found = {item["name"]: item["content"]["query"] for item in page["items"] if "query" in item.get("content", {})}
    return {
        name: query.replace("{lanes}", "'high','low'").replace("{range:grain}", "5m") for name, query in found.items()
    }


def documented_queries(project: Path) -> dict[str, str]:
    """The queries in the documentation."""
    found = {}
    for file in sorted([*(project / "docs").rglob("*.md"), project / "README.md"]):
        for number, (indent, query) in enumerate(_FENCE.findall(file.read_text())):
            found[f"{file.name} {number}"] = re.sub(f"^{indent}", "", query, flags=re.MULTILINE)
    return found


def test_every_query_is_read_without_a_complaint(parse: Parser, production: Deployment, project: Path) -> None:
    """A query that the service can't read makes its whole deployment fail."""
    queries = alert_queries(production) | page_queries(project) | documented_queries(project)
    written = len(list((project / "infra/queries").glob("*.kql")))
    mentioned = sum("```kusto" in line for file in (project / "docs").rglob("*.md") for line in file.open())
    assert len(alert_queries(production)) >= written
    assert len(documented_queries(project)) == mentioned > 0
    problems = {name: read.problems for name, read in parse(queries).items() if read.problems}
    assert problems == {}
    assert parse(queries).keys() == queries.keys()


def test_who_counts_lines_of_a_storm_counts_those_that_were_left_out(production: Deployment, project: Path) -> None:
    """Above a thousand a minute one warning or error in a hundred is logged, with how many it stands for."""
    queries = alert_queries(production) | page_queries(project) | documented_queries(project)
    storms = ("retry later", "dead letter {", "event parked", "batch failed", "publish failed", "security")
    counting = [
        query
        for query in queries.values()
        if "AppTraces" in query and "summarize" in query and any(f'startswith "{name}' in query for name in storms)
    ]
    assert len(counting) >= 6
    assert [query for query in counting if "leftOut" not in query or "count()" in query] == []


def test_every_alert_measures_a_column_of_its_query(parse: Parser, production: Deployment) -> None:
    """The service looks for the measured column, and for the time where a rule looks at several periods."""
    answers = parse(alert_queries(production))
    for rule in production.of_type("Microsoft.Insights/scheduledQueryRules"):
        (criterion,) = rule.properties["criteria"]["allOf"]
        columns = answers[rule.name].columns
        assert columns[criterion["metricMeasureColumn"]] in {"int", "long", "real"}, rule.name
        if criterion["failingPeriods"]["numberOfEvaluationPeriods"] > 1:
            assert columns.get("TimeGenerated") == "datetime", rule.name


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("AppTraces | where Mesage == 'x'", "Mesage"),
        ("let long = 1; print long", "let"),
        ("AppTraces | summarize last = max(TimeGenerated) | project nothing", "nothing"),
        ("union (AppTraces | project a = 1), (AppTraces | project a = 'x') | summarize sum(a)", "'a'"),
    ],
)
def test_the_parser_finds_planted_mistakes(parse: Parser, query: str, complaint: str) -> None:
    """A misspelt column, a keyword as a name, a column that a union split by type."""
    (read,) = parse({"planted": query}).values()
    assert any(complaint in problem for problem in read.problems)
