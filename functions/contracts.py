"""The contracts of messages as one AsyncAPI document: commands that are taken, and events that are published.

Source: AsyncAPI specification 3.0.0.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from shared.health import VERSION
from shared.messages import Handler, Registry
from shared.synthetic import EVENT_TYPE, VIEW

from .schemas import Components, Modelled, Named, command_schemas, published_schema

__all__ = ["contracts"]


def contracts(registry: Registry, *, hub: str) -> dict[str, Any]:
    """The document. Earlier versions of a command that are brought up are messages of their own.

    Parameters
    ----------
    hub:
        The name of the event hub that carries the events.
    """
    commands = {f"{one.event_type}-{one.version}": command_schemas(one)[0] for one in _commands(registry)}
    events = {
        f"{event_type}-{version}": published_schema(event_type, version, model)
        for event_type, version, model in _events(registry)
    }
    components = Components(_models([*commands.values(), *events.values()]))
    messages = {
        f"{kind}-{name}": {"name": name, "contentType": content_type, "payload": components.resolved(schema)}
        for kind, content_type, every in (
            ("command", "application/json", commands),
            ("event", "application/cloudevents+json", events),
        )
        for name, schema in every.items()
    }
    channels = {
        "commands": ("/api/messages", "Commands over HTTP; each lane's queue carries them on.", commands, "command"),
        "events": (hub, "Events in CloudEvents 1.0, in the order of their subject.", events, "event"),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Sluice", "version": VERSION, "license": {"name": "MIT"}},
        "defaultContentType": "application/json",
        "channels": {
            name: {
                "address": address,
                "description": about,
                "messages": {f"{kind}-{one}": _to("components", "messages", f"{kind}-{one}") for one in every},
            }
            for name, (address, about, every, kind) in channels.items()
        },
        "operations": {
            "takeCommands": {"action": "receive", "channel": _to("channels", "commands")},
            "publishEvents": {"action": "send", "channel": _to("channels", "events")},
        },
        "components": {"messages": messages, "schemas": dict(sorted(components.schemas.items()))},
    }


def _to(*steps: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(steps)}


def _commands(registry: Registry) -> Iterable[Handler]:
    taken = (one for one in registry.accepted if one.webhook is None and not one.internal)
    return [one for one in taken if one.event_type != EVENT_TYPE]


def _events(registry: Registry) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """What is known of published events: those that the lake keeps by their version, others from who shows them."""
    kept = {(one.event_type, one.version): one.model for one in registry.silvers}
    yield from ((event_type, version, model) for (event_type, version), model in kept.items())
    known = {event_type for event_type, _ in kept}
    for view in registry.views:
        for one in registry.projections_into(view):
            if one.event_type not in known and view != VIEW:
                known.add(one.event_type)
                yield one.event_type, "1.0", one.model


def _models(schemas: Iterable[Named]) -> Iterator[Modelled]:
    for schema in schemas:
        properties: Mapping[str, Any] = schema.schema["properties"]
        yield from (one for one in properties.values() if isinstance(one, Modelled))
