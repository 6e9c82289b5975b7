"""Health: what the API's instances ask themselves, and what the other apps ask and report to them.

A dependency is asked by the app that uses it: the API has no right to publish events, and would not suffer.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from functions.api import Authenticate, health_routes
from functions.triggers import AppName
from shared.health import Check, Component, Health, Identity, Monitor, Reports
from shared.http import Route
from shared.jobs import Job, JobRun, parse_schedule
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .declaring import Access, Need, Table
from .platform import platform

__all__ = ["REPORTS", "gathered", "reports", "routes_of"]

REPORTS = Table(name="health")
_SCHEDULE = "10s"
_SECONDS = 8.0


def reports(composition: Composition) -> Reports:
    """What apps report of their dependencies."""
    return composition.closing(Reports(composition.get(platform).table(REPORTS.name), now=composition.now))


def routes_of(
    composition: Composition, offered: Sequence[Capability], authenticate: Authenticate | None
) -> list[Route]:
    """Liveness and readiness, from what all capabilities want asked."""
    checks = _checks(offered)
    elsewhere = [name for name, check in checks.items() if check.app != AppName.API]
    own = {name: check for name, check in checks.items() if check.app == AppName.API}
    if elsewhere:

        async def reported() -> list[Component]:
            """What is away elsewhere weighs nothing here: this instance takes commands without it."""
            return [replace(one, weight=0) for one in await composition.get(reports).read(elsewhere)]

        own["reports"] = Check(ask=reported, weight=0)
    monitor = Monitor(own)
    health = Health(monitor, Identity(release=composition.settings.release), now=composition.now)
    composition.on_close(monitor.close)
    return health_routes(health, authenticate)


def gathered(composition: Composition, offered: Sequence[Capability]) -> Capability:
    """A job for each app but the API that has something to ask, and the table of what they find."""
    checks = _checks(offered)
    apps = [app for app in AppName if app is not AppName.API and any(one.app == app for one in checks.values())]
    jobs = [_job(composition, app, {name: one for name, one in checks.items() if one.app == app}) for app in apps]
    return Capability(
        name="health",
        jobs=jobs,
        resources=[REPORTS],
        needs=[Need(access=Access.WRITE, to=REPORTS, why="Reports how its dependencies are.")] if jobs else [],
        metrics=[Metrics.health],
        settings=["SLUICE_RELEASE"],
    )


def _checks(offered: Sequence[Capability]) -> dict[str, Check]:
    return {name: Check.of(probe) for one in offered for name, probe in one.probes.items()}


def _job(composition: Composition, app: AppName, checks: dict[str, Check]) -> Job:
    monitor = Monitor(checks, clock=time.monotonic)
    composition.on_close(monitor.close)

    async def report_health(_: JobRun) -> None:
        await composition.get(reports).write(await monitor.components())

    return Job(
        name=f"report-health-{app}",
        app=app,
        schedule=parse_schedule(_SCHEDULE),
        call=report_health,
        catch_up=False,
        seconds=_SECONDS,
    )
