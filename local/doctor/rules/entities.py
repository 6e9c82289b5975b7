"""Queues, hubs and groups are those that the code reads and writes, and are set up as it relies on."""

from __future__ import annotations

from collections.abc import Iterator

from local.doctor.facts import App, Deployment, Facts, Queue, Trigger
from local.doctor.rules.rule import Problem, Rule, rule

__all__ = ["RULES"]

_FEWEST_DELIVERIES = 10
_FEWEST_ORDERED_DELIVERIES = 50
_MOST_DELIVERIES = 2_000  # Service Bus quotas
_AGREED = ("lock", "ttl", "max_deliveries", "sessions", "duplicate_detection", "dead_letters_expired")


def _read(facts: Facts, deployment: Deployment) -> Iterator[tuple[App, Trigger, str]]:
    """Which queue each running function reads."""
    for app in deployment.apps:
        for trigger in facts.queue_triggers:
            if app.runs(trigger.function):
                yield app, trigger, app.resolve(trigger.queue)


def _ordered(facts: Facts, deployment: Deployment) -> set[str]:
    return {
        app.resolve(one.queue)
        for app in deployment.apps
        for one in facts.queue_triggers
        if one.binding.get("isSessionsEnabled")
    }


@rule(
    "queue-exists",
    checks="every queue that a function reads or the app sends to is there",
    consequence="the function never starts, or every request for that lane is answered 503",
    remedy="declare the queue in its capability and run dev.py declare, or name in the setting one that is there",
)
def queue_exists(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        missing = {
            name: f"{app.name} runs {trigger.function} on it"
            for app, trigger, name in _read(facts, deployment)
            if name not in deployment.queues and "%" not in name
        }
        for app in deployment.apps:
            for attribute in facts.lanes.values():
                if (name := facts.text(app, attribute)) not in deployment.queues:
                    missing.setdefault(name, f"{app.name} sends to it")
        for name, why in missing.items():
            yield Problem(deployment.name, deployment.apps[0].place, f"there is no queue {name}, but {why}")


@rule(
    "queue-is-read",
    checks="every queue has a function that reads it",
    consequence="messages pile up there until they expire",
    remedy="add the function that reads it, or take the queue out of its capability",
)
def queue_is_read(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        named = {app.resolve(one.queue) for app in deployment.apps for one in facts.queue_triggers}
        for queue in deployment.queues.values():
            if queue.name not in named:
                yield Problem(deployment.name, queue.place, f"no function reads {queue.name}")


@rule(
    "dead-letters-are-drained",
    checks="a job drains the dead letters of every queue that a function reads",
    consequence="what the broker gives up stays in a queue that nobody sees, and can't be replayed",
    remedy="say that a job receives from the queue: for lanes in functions/composition/dead_letters.py",
)
def dead_letters_are_drained(facts: Facts) -> Iterator[Problem]:
    received = {(need.name, need.of) for need in facts.needs if (need.kind, need.access) == ("queue", "receive")}
    defaults = {f"%{setting.name}%": setting.default for setting in facts.by_attribute.values()}
    for queue in sorted({one.queue for one in facts.queue_triggers}):
        name = defaults.get(queue, queue)
        by_whom = ["dead-letters"] if queue.strip("%") in facts.lanes else [of for _, of in received]
        if not any((name, of) in received for of in by_whom):
            place = facts.place("functions/composition/dead_letters.py", "Access.RECEIVE")
            yield Problem("", place, f"nothing drains {queue}")


@rule(
    "sessions-agree",
    checks="a function and its queue agree on sessions",
    consequence="the function can't open its queue and never runs, or a key's messages lose their order",
    remedy="set RequiresSession of the queue and is_sessions_enabled of the function alike",
)
def sessions_agree(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        for _, trigger, name in _read(facts, deployment):
            queue, wanted = deployment.queues.get(name), bool(trigger.binding.get("isSessionsEnabled"))
            if queue is not None and queue.sessions != wanted:
                states = f"the queue has {'' if queue.sessions else 'no '}sessions"
                yield Problem(deployment.name, queue.place, f"{trigger.function} reads {name}, {states}")


@rule(
    "duplicate-detection-off",
    checks="lanes don't detect duplicates",
    consequence="the same id with another payload is dropped in silence instead of becoming a dead letter",
    remedy="set RequiresDuplicateDetection to false (docs/decisions/no-duplicate-detection.md)",
)
def duplicate_detection_off(facts: Facts) -> Iterator[Problem]:
    for deployment, queue in _queues(facts):
        if queue.duplicate_detection:
            yield Problem(deployment.name, queue.place, f"{queue.name} detects duplicates")


@rule(
    "nothing-is-forwarded",
    checks="queues forward neither messages nor dead letters",
    consequence="dead letters bypass the drain: they have no reason, no group, and can't be replayed",
    remedy="leave ForwardTo and ForwardDeadLetteredMessagesTo empty",
)
def nothing_is_forwarded(facts: Facts) -> Iterator[Problem]:
    for deployment, queue in _queues(facts):
        if target := queue.forwards_to or queue.forwards_dead_letters_to:
            yield Problem(deployment.name, queue.place, f"{queue.name} forwards to {target}")


@rule(
    "expired-become-dead-letters",
    checks="a message that expires becomes a dead letter",
    consequence="a message that was answered 202 vanishes after its time-to-live, and nothing tells of it",
    remedy="set DeadLetteringOnMessageExpiration to true",
)
def expired_become_dead_letters(facts: Facts) -> Iterator[Problem]:
    for deployment, queue in _queues(facts):
        if not queue.dead_letters_expired:
            yield Problem(deployment.name, queue.place, f"{queue.name} drops what expires")


@rule(
    "deliveries-cover-crashes",
    checks=f"MaxDeliveryCount is from {_FEWEST_DELIVERIES}, on sessions from {_FEWEST_ORDERED_DELIVERIES}, "
    f"to {_MOST_DELIVERIES}",
    consequence="retries are copies and burn no delivery; crashes and outages of storage do, and a short one "
    "dead-letters whole batches; on the ordered lane later messages overtake what was given up",
    remedy="set MaxDeliveryCount of the queue",
)
def deliveries_cover_crashes(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        ordered = _ordered(facts, deployment)
        for queue in deployment.queues.values():
            fewest = _FEWEST_ORDERED_DELIVERIES if queue.name in ordered else _FEWEST_DELIVERIES
            if not fewest <= queue.max_deliveries <= _MOST_DELIVERIES:
                yield Problem(
                    deployment.name, queue.place, f"{queue.name} gives up after {queue.max_deliveries} deliveries"
                )


@rule(
    "hub-and-group-exist",
    checks="every hub and consumer group that a function reads is there, and the hub that the app publishes to",
    consequence="events can't be published and stay in the outbox, or a read model is never filled",
    remedy="declare hub and group in a capability and run dev.py declare, or name in the settings those that are there",
)
def hub_and_group_exist(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        for app in deployment.apps:
            published = facts.text(app, "event_hub")
            if published not in deployment.hubs:
                yield Problem(deployment.at(app), app.place, f"publishes to {published}, which isn't there")
            for trigger in facts.stream_triggers:
                name, group = (app.resolve(trigger.text(part)) for part in ("eventHubName", "consumerGroup"))
                hub = deployment.hubs.get(name)
                if not app.runs(trigger.function) or "%" in name + group or (hub is None and name == published):
                    continue
                if hub is None or group not in {*hub.groups, "$Default"}:
                    yield Problem(
                        deployment.name, app.place, f"{trigger.function} reads {name} as {group}, which isn't there"
                    )


@rule(
    "group-has-one-reader",
    checks="no two functions share a consumer group, and none uses $Default",
    consequence="two functions of a group take each other's partitions: each sees some of the events; and what a "
    "trigger passed over is read again as $Default, beside which nothing may read for itself alone",
    remedy="give each function a consumer group of its own",
)
def group_has_one_reader(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        seen: dict[tuple[str, str], str] = {}
        for app in deployment.apps:
            for trigger in facts.stream_triggers:
                if not app.runs(trigger.function):
                    continue
                hub, group = (app.resolve(trigger.text(part)) for part in ("eventHubName", "consumerGroup"))
                other = seen.setdefault((hub, group.lower()), trigger.function)
                if other != trigger.function or group.lower() in ("", "$default"):
                    yield Problem(deployment.name, app.place, f"{trigger.function} and {other} read {hub} as {group}")


@rule(
    "group-is-read",
    severity="warning",
    checks="every consumer group has a function that reads it",
    consequence="a group that nobody reads counts against the namespace's limit and looks like a consumer that hangs",
    remedy="take the group out of its capability, or add its function",
)
def group_is_read(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        read = {
            tuple(app.resolve(one.text(part)) for part in ("eventHubName", "consumerGroup"))
            for app in deployment.apps
            for one in facts.stream_triggers
        }
        for hub in deployment.hubs.values():
            for group in sorted(hub.groups):
                if (hub.name, group) not in read:
                    yield Problem(deployment.name, hub.place, f"no function reads {hub.name} as {group}")


@rule(
    "buckets-cover-partitions",
    checks="there are at least as many state buckets as partitions",
    consequence="events leave by bucket: partitions beyond their number stay empty",
    remedy="raise SLUICE_STATE_BUCKETS before the first message, or lower the partitions",
)
def buckets_cover_partitions(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        hub = deployment.hubs.get(facts.text(app, "event_hub"))
        buckets = facts.number(app, "state_buckets")
        if hub is not None and hub.partitions > buckets:
            yield Problem(deployment.at(app), app.place, f"has {buckets:g} buckets for {hub.partitions} partitions")


@rule(
    "deployments-agree",
    checks="queues, hubs and their properties are the same on a laptop and in every stage",
    consequence="what was tried on a laptop is not what runs: other locks, other retries, other names",
    remedy="run dev.py declare: both are written from the code",
)
def deployments_agree(facts: Facts) -> Iterator[Problem]:
    local = [one for one in facts.deployments if not one.azure]
    for here in local:
        for there in (one for one in facts.deployments if one.azure):
            for name in sorted({*here.queues, *there.queues}):
                one, other = here.queues.get(name), there.queues.get(name)
                if one is None or other is None:
                    missing = here if one is None else there
                    place = (one or other or here.queues[name]).place
                    yield Problem("", place, f"the queue {name} is missing in {missing.name}")
                    continue
                for prop in _AGREED:
                    if getattr(one, prop) != getattr(other, prop):
                        stated = f"{getattr(one, prop)} in {here.name}, {getattr(other, prop)} in {there.name}"
                        yield Problem("", other.place, f"{prop} of {name} is {stated}")
            for name in sorted({*here.hubs, *there.hubs}):
                first, second = here.hubs.get(name), there.hubs.get(name)
                if first is None or second is None:
                    missing = here if first is None else there
                    place = (first or second or here.hubs[name]).place
                    yield Problem("", place, f"the hub {name} is missing in {missing.name}")
                elif first.groups != second.groups:
                    yield Problem("", second.place, f"groups of {name} differ between {here.name} and {there.name}")


def _queues(facts: Facts) -> Iterator[tuple[Deployment, Queue]]:
    return ((deployment, queue) for deployment in facts.deployments for queue in deployment.queues.values())


RULES: tuple[Rule, ...] = (
    queue_exists,
    queue_is_read,
    dead_letters_are_drained,
    sessions_agree,
    duplicate_detection_off,
    nothing_is_forwarded,
    expired_become_dead_letters,
    deliveries_cover_crashes,
    hub_and_group_exist,
    group_has_one_reader,
    group_is_read,
    buckets_cover_partitions,
    deployments_agree,
)
