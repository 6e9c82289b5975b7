"""Puts the capabilities together, once everything that they say fits together."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import azure.functions as func

from functions.invocation import with_host_trace
from shared.environment import WrongSettings

from . import api, health, jobs
from .capability import Capability
from .composition import Composition
from .declaring import ROUTES, Container, Hub, LakeContainer, Queue, Table, Topic

__all__ = ["WrongComposition", "capabilities_of", "compose", "contradictions"]


class WrongComposition(ValueError):
    """Capabilities contradict each other or themselves; the message is one line that names every contradiction."""


def capabilities_of(
    composition: Composition, makers: Sequence[Callable[[Composition], Capability]]
) -> tuple[Capability, ...]:
    """What the makers offer, and API and clock that are gathered from it, checked.

    Raises
    ------
    WrongComposition, WrongSettings
        One can't be made, or two contradict each other. The line goes to stderr too: the Functions worker tells only
        that the module wasn't loaded.
    """
    try:
        offered = tuple(make(composition) for make in makers)
        offered = (*offered, health.gathered(composition, offered))
        made = (*offered, jobs.gathered(composition, offered), api.gathered(composition, offered))
        wrong = list(contradictions(made, known_settings=frozenset(composition.settings.variables())))
    except WrongSettings as error:
        sys.stderr.write(f"{error}\n")
        raise
    except ValueError as error:
        made, wrong = (), [str(error)]
    if wrong:
        line = f"Wrong composition: {'; '.join(wrong)}"
        sys.stderr.write(line + "\n")
        raise WrongComposition(line)
    return made


def compose(capabilities: Sequence[Capability]) -> func.FunctionApp:
    """The app for the Functions worker, with every function of every capability."""
    blueprint = func.Blueprint()
    for capability in capabilities:
        for function in capability.functions:
            function.trigger.bind(blueprint, with_host_trace(function.call))
    app = func.FunctionApp()
    app.register_functions(blueprint)
    return app


def contradictions(capabilities: Sequence[Capability], *, known_settings: frozenset[str]) -> Iterator[str]:
    """What can't be so: in one short sentence each, with the names of those who say it."""
    yield from _claimed_twice("capability", ((one.name, "the list") for one in capabilities))
    for what, claims in _claims(capabilities).items():
        yield from _claimed_twice(what, claims)
    queues = {one.name for capability in capabilities for one in capability.resources if isinstance(one, Queue)}
    topics = {one.name: one for capability in capabilities for one in capability.resources if isinstance(one, Topic)}
    hubs = {one.name for capability in capabilities for one in capability.resources if isinstance(one, Hub)}
    tables = {one.name for capability in capabilities for one in capability.resources if isinstance(one, Table)}
    containers = {one.name for capability in capabilities for one in capability.resources if isinstance(one, Container)}
    lake = {one.name for capability in capabilities for one in capability.resources if isinstance(one, LakeContainer)}
    drained = {name for capability in capabilities for name in capability.drained}
    entities = {Queue: queues, Topic: set(topics), Hub: hubs, Table: tables, Container: containers, LakeContainer: lake}
    for topic in topics.values():
        for subscription in topic.subscriptions:
            if (target := subscription.forward_to) not in queues:
                yield f"{subscription.name} of the topic {topic.name} forwards to {target}, which nobody declares"
    for capability in capabilities:
        own = {one.name for one in capability.functions} | {one.name for one in capability.jobs}
        own |= set(capability.probes)
        own.add(ROUTES)  # which may be none: an app without views has none of theirs
        for function in capability.functions:
            queue, hub = getattr(function.trigger, "queue", None), getattr(function.trigger, "hub", None)
            if queue is not None and queue not in queues:
                yield f"{function.name} of {capability.name} reads the queue {queue}, which nobody declares"
            elif queue is not None and queue not in drained:
                yield f"{function.name} of {capability.name} reads the queue {queue}, whose dead letters nobody drains"
            if hub is not None and hub not in hubs:
                yield f"{function.name} of {capability.name} reads the hub {hub}, which nobody declares"
        for need in capability.needs:
            declared = entities.get(type(need.to))
            if declared is not None and need.to.name not in declared:
                kind = type(need.to).__name__.lower()
                yield f"{capability.name} needs the {kind} {need.to.name}, which nobody declares"
            for name in sorted(set(need.by) - own):
                yield f"{capability.name} says that {name} makes calls, which is no function, job or probe of its own"
        for setting in capability.settings:
            if setting not in known_settings:
                yield f"{capability.name} has the setting {setting}, which the settings model doesn't"


def _claims(capabilities: Sequence[Capability]) -> dict[str, list[tuple[str, str]]]:
    """What must have one owner, by kind: each claimed name with the capability that claims it."""
    claims: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for one in capabilities:
        claims["function"] += [(function.name, one.name) for function in one.functions]
        claims["route"] += [(f"{route.method} /api/{route.shape}", one.name) for route in one.routes]
        claims["job"] += [(job.name, one.name) for job in one.jobs]
        claims["probe"] += [(name, one.name) for name in one.probes]
        claims["metric"] += [(metric.name, one.name) for metric in one.metrics]
        claims["command"] += [(command.name, one.name) for command in one.commands]
        claims["setting"] += [(name, one.name) for name in one.settings]
        for resource in one.resources:
            claims[type(resource).__name__.lower()].append((resource.name, one.name))
    return claims


def _claimed_twice(what: str, claims: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> Iterator[str]:
    owners: dict[str, list[str]] = defaultdict(list)
    for name, owner in claims:
        owners[name].append(owner)
    for name, found in owners.items():
        if len(found) > 1:
            yield f"the {what} {name} is claimed by {' and by '.join(found)}"
