"""What one capability brings to the app: a value that says everything about it, and connects to nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from functions.triggers import Function
from shared.health import Check, Probe
from shared.http import Route
from shared.jobs import Job
from shared.telemetry import Instrument

from .declaring import Need, Resource

__all__ = ["Capability", "Command"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """An operator's command: `python3 dev.py NAME` runs `main(arguments)` of a module."""

    name: str
    summary: str
    module: str


@dataclass(frozen=True, kw_only=True)
class Capability:
    """What is composed, by name. A module of this package has a function `(Composition) -> Capability`.

    Attributes
    ----------
    functions, routes, jobs, commands:
        How work enters.
    metrics:
        What its parts count and measure.
    probes:
        By component: what readiness asks; raises when it can't be reached. A `Check` says how often, and which app.
    resources:
        Queues, hubs, tables and containers that are this capability's own.
    needs:
        The calls that its functions and jobs make on resources, its own or others'.
    drained:
        Queues whose dead letters its jobs drain; a queue that a function reads has to be one of somebody's.
    settings:
        Environment variables that are this capability's own.
    """

    name: str
    functions: Sequence[Function] = ()
    routes: Sequence[Route] = ()
    jobs: Sequence[Job] = ()
    metrics: Sequence[Instrument] = ()
    probes: Mapping[str, Probe | Check] = field(default_factory=dict)
    commands: Sequence[Command] = ()
    resources: Sequence[Resource] = ()
    needs: Sequence[Need] = ()
    drained: Sequence[str] = ()
    settings: Sequence[str] = ()
