"""The vault's events go where somebody waits for them, and nowhere else."""

from __future__ import annotations

from typing import Any

from local.stack.subscriptions import find_subscriptions

HOST = "http://127.0.0.1:7071"


def function(name: str, trigger: str) -> dict[str, Any]:
    return {"name": name, "config": {"bindings": [{"type": trigger, "direction": "in"}]}}


def config(*queues: str) -> dict[str, Any]:
    return {"UserConfig": {"Namespaces": [{"Name": "n", "Queues": [{"Name": name} for name in queues]}, {"Name": "m"}]}}


def test_event_grid_functions_for_secrets_and_the_queue_are_subscribed() -> None:
    functions = [
        function("secret_events", "eventGridTrigger"),
        function("secret_queue", "serviceBusTrigger"),
        function("notices", "eventGridTrigger"),
    ]
    assert find_subscriptions(functions, HOST, config("lane-high", "secret-events"), "broker") == [
        {"name": "secret_events", "webhook": f"{HOST}/runtime/webhooks/eventgrid?functionName=secret_events"},
        {"name": "secret-events", "service_bus": "broker", "queue": "secret-events"},
    ]


def test_without_either_nobody_is_told() -> None:
    assert find_subscriptions([], HOST, config("lane-high"), "broker") == []


def test_a_host_that_asks_for_keys_is_called_with_one() -> None:
    """The system key of the extension, as in Azure."""
    functions = [{"name": "secret_events", "config": {"bindings": [{"type": "eventGridTrigger"}]}}]
    found = find_subscriptions(functions, HOST, config("lane-high"), "broker", "&code=k")
    assert found[0]["webhook"].endswith("/runtime/webhooks/eventgrid?functionName=secret_events&code=k")
