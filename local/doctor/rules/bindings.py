"""Triggers are declared in the one way that is safe on the platform."""

from __future__ import annotations

from collections.abc import Iterator

from local.doctor.facts import Facts, Place, Trigger
from local.doctor.rules.rule import Problem, Rule, rule

__all__ = ["RULES"]


def _place(facts: Facts, trigger: Trigger) -> Place:
    for file in facts.sources:
        if file.startswith("functions/"):
            found = facts.place(file, f"def {trigger.function}(")
            if found.line is not None:
                return found
    return Place("function_app.py")


@rule(
    "messages-are-binary",
    checks="functions on queues and hubs take bytes",
    consequence="one body that is empty, or without a data type no JSON, fails its whole batch before any code, and "
    "bodies can come with the properties of another message",
    remedy='give the trigger data_type="binary"',
)
def messages_are_binary(facts: Facts) -> Iterator[Problem]:
    for trigger in (*facts.queue_triggers, *facts.stream_triggers):
        if trigger.text("dataType").lower() != "binary":
            yield Problem("", _place(facts, trigger), f"{trigger.function} takes {trigger.text('dataType') or 'text'}")


@rule(
    "messages-come-in-batches",
    checks="functions on queues and hubs take many at once, but for those on queues whose parameter is `message`",
    consequence="each message is a call of its own: a tenth of the throughput, and on hubs a checkpoint for each event",
    remedy='give the trigger cardinality="many"; one that waits for others takes one `message`, by many=False',
)
def messages_come_in_batches(facts: Facts) -> Iterator[Problem]:
    single = {one.function for one in facts.queue_triggers if one.text("name") == "message"}
    for trigger in (*facts.queue_triggers, *facts.stream_triggers):
        if trigger.text("cardinality").lower() != "many" and trigger.function not in single:
            yield Problem("", _place(facts, trigger), f"{trigger.function} takes one at a time")


@rule(
    "streams-retry-with-an-end",
    checks="functions on hubs have a retry policy of 1 to 10 retries",
    consequence="without one every short outage leaves a gap that is read a second time; without an end one body that "
    "the binding can't take stops its partition until the event expires",
    remedy='give the function retry(..., max_retry_count="5")',
)
def streams_retry_with_an_end(facts: Facts) -> Iterator[Problem]:
    for trigger in facts.stream_triggers:
        count = str((trigger.retry or {}).get("max_retry_count", "no"))
        if not (count.isdecimal() and 1 <= int(count) <= 10):
            yield Problem("", _place(facts, trigger), f"{trigger.function} has {count} retries")


@rule(
    "queues-have-no-retry-policy",
    severity="warning",
    checks="functions on queues have no retry policy of the platform",
    consequence="it has no effect there, though it looks as if it had",
    remedy="take it off; retries are planned by SLUICE_RETRY_* and by handlers",
)
def queues_have_no_retry_policy(facts: Facts) -> Iterator[Problem]:
    for trigger in facts.queue_triggers:
        if trigger.retry:
            yield Problem("", _place(facts, trigger), f"{trigger.function} has a retry policy")


@rule(
    "names-come-from-settings",
    checks="queues, hubs and groups that have a setting are named by it, not by its value",
    consequence="a stage that sets another name has the function read one thing and the app write another",
    remedy="name it as %SETTING%",
)
def names_come_from_settings(facts: Facts) -> Iterator[Problem]:
    settable = {one.default for one in facts.settings.values() if isinstance(one.default, str)}
    for trigger in (*facts.queue_triggers, *facts.stream_triggers):
        for part in ("queueName", "eventHubName", "consumerGroup"):
            name = trigger.queue if part == "queueName" else trigger.text(part)
            if name and name in settable:
                yield Problem("", _place(facts, trigger), f"{trigger.function} names its {part} in the code")


@rule(
    "route-prefix-is-api",
    checks="the HTTP prefix is the one that the API's own routes have",
    consequence="every request is answered 404",
    remedy="set extensions.http.routePrefix in host.json to api",
)
def route_prefix_is_api(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        if app.host.http.route_prefix != "api":
            yield Problem(
                deployment.name,
                facts.place("host.json", "routePrefix"),
                f"the prefix is {app.host.http.route_prefix!r}",
            )


RULES: tuple[Rule, ...] = (
    messages_are_binary,
    messages_come_in_batches,
    streams_retry_with_an_end,
    queues_have_no_retry_policy,
    names_come_from_settings,
    route_prefix_is_api,
)
