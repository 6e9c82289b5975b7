"""What a message needs is kept for as long as the message may come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from local.doctor.facts import App, Deployment, Facts
from local.doctor.rules.rule import Problem, Rule, rule

__all__ = ["RULES"]


def _longest_ttl(facts: Facts, deployment: Deployment, app: App) -> timedelta:
    names = {facts.text(app, attribute) for attribute in facts.lanes.values()}
    found = [queue.ttl for queue in deployment.queues.values() if queue.name in names]
    return max(found, default=timedelta(0))


def _needed_days(facts: Facts, deployment: Deployment, app: App) -> float:
    """As long as a message may wait in its queue, and then as a dead letter."""
    ttl = _longest_ttl(facts, deployment, app) / timedelta(days=1)
    return ttl + facts.number(app, "dead_letter_retention_days")


@rule(
    "ttl-is-stated",
    checks="SLUICE_QUEUE_TTL_DAYS is at least the time-to-live of every lane",
    consequence="the app takes its retentions for long enough when they are not",
    remedy="set SLUICE_QUEUE_TTL_DAYS to the queues' DefaultMessageTimeToLive",
)
def ttl_is_stated(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        longest, stated = _longest_ttl(facts, deployment, app), facts.number(app, "queue_ttl_days")
        if longest > timedelta(days=stated):
            days = longest / timedelta(days=1)
            yield Problem(
                deployment.name, app.place, f"a lane keeps messages {days:g} days, {app.name} takes it for {stated:g}"
            )


@rule(
    "claims-outlive-messages",
    checks="claims are kept at least as long as queues and dead letters keep their messages",
    consequence="a large message that waited long is a dead letter whose payload is gone",
    remedy="raise SLUICE_CLAIM_RETENTION_DAYS, or lower the queues' time-to-live or SLUICE_DEAD_LETTER_RETENTION_DAYS",
)
def claims_outlive_messages(facts: Facts) -> Iterator[Problem]:
    yield from _outlived(facts, "claim_retention_days")


@rule(
    "inbox-outlives-messages",
    checks="the inbox remembers at least as long as queues and dead letters keep their messages",
    consequence="a late delivery or a replay is taken for a new message and takes effect a second time",
    remedy="raise SLUICE_INBOX_RETENTION_DAYS, or lower the queues' time-to-live or SLUICE_DEAD_LETTER_RETENTION_DAYS",
)
def inbox_outlives_messages(facts: Facts) -> Iterator[Problem]:
    yield from _outlived(facts, "inbox_retention_days")


def _outlived(facts: Facts, attribute: str) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        kept, needed = facts.number(app, attribute), _needed_days(facts, deployment, app)
        if kept < needed:
            yield Problem(deployment.at(app), app.place, f"keeps {kept:g} days, messages may take {needed:g}")


@rule(
    "lifecycle-keeps-what-is-needed",
    checks="no lifecycle rule deletes claims, large values or dead letters before the app would",
    consequence="storage deletes payloads that messages, state rows or dead letters still refer to",
    remedy="raise the days of the lifecycle rule, or take the container out of its prefixes",
)
def lifecycle_keeps_what_is_needed(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        for app in deployment.apps[:1]:
            needed = {
                facts.text(app, "claim_container"): facts.number(app, "claim_retention_days"),
                "dead-letters": facts.number(app, "dead_letter_retention_days"),
                "state-values": float("inf"),  # only the app knows which ones are in use
            }
            for account in deployment.accounts:
                for prefix, days in account.deletes_after.items():
                    hurt = [name for name, least in needed.items() if _covers(prefix, name) and days < least]
                    if hurt:
                        yield Problem(
                            deployment.name, account.place, f"{account.name} deletes {hurt[0]} after {days:g} days"
                        )


def _covers(prefix: str, container: str) -> bool:
    return prefix == "" or f"{container}/".startswith(prefix) or prefix.startswith(f"{container}/")


RULES: tuple[Rule, ...] = (
    ttl_is_stated,
    claims_outlive_messages,
    inbox_outlives_messages,
    lifecycle_keeps_what_is_needed,
)
