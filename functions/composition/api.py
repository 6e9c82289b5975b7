"""The API: one HTTP function that serves the routes of every capability, and health from all of their probes."""

from collections.abc import Sequence

from functions.api import api_function, build_api, health_routes, own_routes
from shared.http import Observed, Route

from .authentication import authenticator
from .capability import Capability
from .composition import Composition

__all__ = ["api_app", "gathered"]


def api_app(composition: Composition, routes: Sequence[Route]) -> Observed:
    """The ASGI app of some routes."""
    found = composition.get(authenticator)
    return build_api(routes, authenticate=None if found is None else found.caller, now=composition.now)


def gathered(composition: Composition, offered: Sequence[Capability]) -> Capability:
    """The API as a capability of its own, from what the others offer."""
    probes = {name: probe for one in offered for name, probe in one.probes.items()}
    own = [*health_routes(probes, now=composition.now), *own_routes()]
    app = api_app(composition, [*(route for one in offered for route in one.routes), *own])
    return Capability(
        name="api",
        functions=[api_function(app, streams=composition.settings.http_streams)],
        routes=own,
        settings=["SLUICE_HTTP_STREAMS"],
    )
