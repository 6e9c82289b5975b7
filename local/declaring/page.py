"""The page that lists what the app consists of, from what it declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["page"]

_HEAD = """\
# What the app consists of

Written by `python3 dev.py declare` from the code, as are `infra/declarations.json`, the emulator's files and
`infra/openapi.json`: a capability (`functions/composition/`) or an integration says it once. `python3 dev.py check`
fails where one of them is stale.
"""


def page(declared: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    return "\n".join([_HEAD, *_sections(declared)])


def _sections(declared: Mapping[str, Any]) -> Iterator[str]:
    yield from _table("Functions", ("name", "app", "trigger", "schedule", "of"), declared["functions"])
    yield from _table("Jobs", ("name", "app", "schedule", "of"), declared["jobs"])
    yield from _table("Routes", ("method", "path", "callers", "of"), declared["routes"])
    queues = ("name", "lock", "timeToLive", "deliveries", "sessions", "of")
    yield from _table("Queues", queues, declared["queues"])
    yield from _table("Topics", ("name", "timeToLive", "of"), declared["topics"])
    subscriptions = ("topic", "name", "where", "forwardTo", "lock", "timeToLive", "deliveries")
    yield from _table("Subscriptions", subscriptions, declared["subscriptions"])
    yield from _table("Hubs", ("name", "partitions", "groups", "of"), declared["hubs"])
    tables = [
        {"name": name, "where": where}
        for where, key in (("every state account", "everyAccount"), ("the first state account", "firstAccount"))
        for name in declared["tables"][key]
    ]
    yield from _table("Tables", ("name", "where"), tables)
    containers = [
        {"name": name, "account": account}
        for account, key in (("claims", "containers"), ("lake", "lakeContainers"))
        for name in declared[key]
    ]
    yield from _table("Containers", ("name", "account"), containers)
    grants = [{**one, "on": _subject(one)} for rows in declared["grants"].values() for one in rows]
    yield from _table("Grants", ("app", "on", "role", "why"), grants)
    yield from _table(
        "Settings",
        ("name", "required", "default", "of"),
        sorted(declared["settings"], key=lambda one: str(one["name"])),
    )
    yield from _table("Metrics", ("name", "kind", "unit", "of"), declared["metrics"])
    yield from _table("Commands of operators", ("name", "of"), declared["commands"])
    handled = [{"integration": one["name"], **each} for one in declared["integrations"] for each in one["handles"]]
    handling = ("integration", "eventType", "version", "model", "key", "lane", "route")
    yield from _table("What integrations handle", handling, handled)
    shown = [{"integration": one["name"], **each} for one in declared["integrations"] for each in one["projects"]]
    yield from _table("What they show", ("integration", "eventType", "into"), shown)


def _table(title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    lines = [f"| {' | '.join(_cell(row.get(column)) for column in columns)} |" for row in rows]
    if lines:
        yield f"## {title}\n"
        yield f"| {' | '.join(columns)} |"
        yield f"|{'---|' * len(columns)}"
        yield from lines
        yield ""


def _subject(grant: Mapping[str, Any]) -> str:
    kinds = ("queue", "topic", "hub", "container", "table", "key")
    return next((f"{kind} {grant[kind]}" for kind in kinds if kind in grant), "the vault")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value).replace("|", "\\|")
