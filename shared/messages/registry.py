"""Finds every integration and answers which handler or projection a message belongs to."""

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cached_property
from types import ModuleType

from pydantic import BaseModel

from shared.classification import Plan, plan_of
from shared.jobs import Scheduled
from shared.webhooks import ANY_TOPIC, WebhookSource, webhook_event_type

from .errors import UnknownEventType, UnknownVersion
from .integration import Handler, Integration, Projection, Rotation

__all__ = ["Registry", "discover"]

OWN_PATHS = frozenset({"messages", "operations", "health", "docs", "webhooks"})
"""First segments of the API's own paths: a route or read model there could never be reached."""


class Registry:
    """All handlers and projections of the app, checked for clashes when it is built."""

    def __init__(self, integrations: Iterable[Integration]) -> None:
        self.integrations = tuple(integrations)
        self._handlers: dict[str, dict[str, Handler]] = {}
        self._projections: dict[str, list[Projection]] = {}
        self._routes: dict[str, Handler] = {}
        self._rotations: dict[str, Rotation] = {}
        self.webhook_sources: dict[str, WebhookSource] = {}
        for source in (one for integration in self.integrations for one in integration.webhook_sources):
            if source.name in self.webhook_sources:
                raise ValueError(f"the webhook source {source.name} is declared twice")
            self.webhook_sources[source.name] = source
        for integration in self.integrations:
            for handler in integration.handlers:
                self._add(handler)
            for projection in integration.projections:
                _check_path(projection.view)
                self._projections.setdefault(projection.event_type, []).append(projection)

            for rotation in integration.rotations:
                if rotation.secret.lower() in self._rotations:
                    raise ValueError(f"the secret {rotation.secret} is rotated twice")
                self._rotations[rotation.secret.lower()] = rotation

    @property
    def rotations(self) -> dict[str, Rotation]:
        """Secret, in lower case → what makes its next value."""
        return dict(self._rotations)

    def _add(self, handler: Handler) -> None:
        versions = self._handlers.setdefault(handler.event_type, {})
        if handler.version in versions:
            raise ValueError(
                f"{handler.event_type} {handler.version} is handled twice, by "
                f"{versions[handler.version].integration} and {handler.integration}"
            )
        versions[handler.version] = handler
        if handler.route is not None:
            _check_path(handler.route)
            if handler.route in self._routes:
                raise ValueError(f"the route /api/{handler.route} is claimed twice")
            self._routes[handler.route] = handler
        if handler.webhook is not None and handler.webhook not in self.webhook_sources:
            self.webhook_sources[handler.webhook] = WebhookSource.preset(handler.webhook)

    def webhook(self, source: str, topic: str) -> Handler | None:
        """Who handles what a source tells about a topic; None where nobody does."""
        for wanted in (topic, ANY_TOPIC):
            for handler in self._handlers.get(webhook_event_type(source, wanted), {}).values():
                return handler
        return None

    @property
    def scheduled(self) -> tuple[Scheduled, ...]:
        """What integrations have run by the clock."""
        return tuple(one for integration in self.integrations for one in integration.scheduled)

    @property
    def routes(self) -> dict[str, Handler]:
        """Path under the route prefix → the handler whose messages it takes."""
        return dict(self._routes)

    @property
    def views(self) -> tuple[str, ...]:
        """Names of all read models."""
        return tuple(sorted({p.view for projections in self._projections.values() for p in projections}))

    @cached_property
    def protects(self) -> bool:
        """Any message or event has protected fields."""
        handled = (handler.plan for versions in self._handlers.values() for handler in versions.values())
        projected = (one.plan for found in self._projections.values() for one in found)
        return any(plan.protects for plan in (*handled, *projected))

    def shown(self, view: str) -> list[type[BaseModel]]:
        """The models of the rows of a read model, as far as its projections say what they return."""
        projections = (one for found in self._projections.values() for one in found if one.view == view)
        return list(dict.fromkeys(one.shown for one in projections if one.shown is not None))

    def subjects(self, kind: str) -> frozenset[str]:
        """Names of the fields, in any message, event or row, that say which person of a kind it is about."""
        handlers = [handler.plan for versions in self._handlers.values() for handler in versions.values()]
        projections = [one for found in self._projections.values() for one in found]
        shown = [plan_of(one.shown) for one in projections if one.shown]
        plans = [*handlers, *(one.plan for one in projections), *shown]
        return frozenset().union(*(plan.subjects(kind) for plan in plans))

    def plans(self, view: str) -> tuple[Plan, ...]:
        """What is protected in the rows of a read model, by each of its projections."""
        projections = (one for found in self._projections.values() for one in found if one.view == view)
        return tuple({id(plan): plan for one in projections if one.shown for plan in [plan_of(one.shown)]}.values())

    def handler(self, event_type: str, version: str) -> Handler:
        """The handler of a contract.

        Raises
        ------
        UnknownEventType, UnknownVersion
        """
        versions = self._handlers.get(event_type)
        if versions is None:
            raise UnknownEventType(
                "No integration handles this event type.",
                details={"expected": sorted(self._handlers)[:50]},
            )
        handler = versions.get(version)
        if handler is None:
            raise UnknownVersion(
                f"{event_type} is not known in this version.",
                details={"expected": sorted(versions)},
            )
        return handler

    def integration_of(self, event_type: str, version: str) -> str | None:
        """The name of the integration that handles a contract; None where nobody does."""
        handler = self._handlers.get(event_type, {}).get(version)
        return None if handler is None else handler.integration

    def projections(self, event_type: str) -> list[Projection]:
        """The read models that show this event; events that nobody shows are fine."""
        return self._projections.get(event_type, [])


def _check_path(path: str) -> None:
    if path.partition("/")[0] in OWN_PATHS:
        raise ValueError(f"/api/{path} belongs to the API itself; choose another name")


def discover(package: ModuleType) -> Registry:
    """Import every module of a package and gather the `Integration` objects at their top level."""
    found: dict[int, Integration] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        imported = importlib.import_module(module.name)
        for value in vars(imported).values():
            if isinstance(value, Integration):
                found.setdefault(id(value), value)
    return Registry(found.values())
