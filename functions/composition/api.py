"""The API: one HTTP function that serves the routes of every capability, and health from all of their probes."""

import logging
from collections.abc import Sequence

from functions.api import Authenticate, api_function, build_api, own_routes
from shared.environment import WrongSettings
from shared.http import Observed, Route
from shared.telemetry import Metrics, log_event

from .authentication import authenticator
from .capability import Capability
from .composition import Composition
from .declaring import ROUTES, Access, Need
from .door import door
from .health import REPORTS, routes_of
from .limits import wrong_routes

__all__ = ["NAME", "gathered", "gathered_app"]

NAME = "api"


def gathered_app(composition: Composition, offered: Sequence[Capability]) -> Observed:
    """The ASGI app of what some capabilities offer."""
    routes = [*(route for one in offered for route in one.routes), *_own(composition, offered)]
    if wrong := wrong_routes(composition.settings.plans, routes):
        raise WrongSettings(f"Wrong settings: {'; '.join(wrong)}")
    return build_api(
        routes,
        authenticate=_authenticate(composition),
        now=composition.now,
        public_url=composition.settings.public_url,
        door=composition.get(door),
    )


def _own(composition: Composition, offered: Sequence[Capability]) -> list[Route]:
    return [*routes_of(composition, offered, _authenticate(composition)), *own_routes()]


def _authenticate(composition: Composition) -> Authenticate | None:
    found = composition.get(authenticator)
    return None if found is None else found.caller


def gathered(composition: Composition, offered: Sequence[Capability]) -> Capability:
    """The API as a capability of its own, from what the others offer."""
    app = gathered_app(composition, offered)
    settings = composition.settings
    if settings.http_streams and not settings.can_stream:  # bodies come whole then, which serves all but the largest
        log_event("no HTTP streams", level=logging.WARNING, missing="PYTHON_ENABLE_INIT_INDEXING")
    return Capability(
        name=NAME,
        functions=[api_function(app, streams=settings.http_streams and settings.can_stream)],
        routes=_own(composition, offered),
        needs=[Need(access=Access.READ, to=REPORTS, why="Says how the other apps' dependencies are.", by=[ROUTES])],
        metrics=[Metrics.requests_shed, Metrics.requests_limit],
        settings=[
            "PYTHON_ENABLE_INIT_INDEXING",
            "SLUICE_HTTP_STREAMS",
            "SLUICE_CORS_ORIGINS",
            "SLUICE_API_DEPRECATIONS",
            *(name for name in composition.settings.variables() if name.startswith("SLUICE_SHED")),
        ],
    )
