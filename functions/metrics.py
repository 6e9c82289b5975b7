"""Metrics over HTTP, in Prometheus' text format."""

from starlette.requests import Request
from starlette.responses import Response

from shared.authentication import Role
from shared.http import Route
from shared.telemetry import CONTENT_TYPE, exposition
from shared.telemetry.metrics import every
from shared.telemetry.runtime import LoopWatch, read_processor_time

__all__ = ["metrics_route"]


def metrics_route(watch: LoopWatch) -> Route:
    """What this instance has counted and measured since its start, for operators."""

    async def metrics(_: Request) -> Response:
        watch.touch()
        read_processor_time()
        return Response(exposition(every()), media_type=CONTENT_TYPE)

    docs = {
        "operationId": "getMetrics",
        "summary": "Read: metrics",
        "tags": ["read"],
        "responses": {
            "200": {
                "description": "What this instance has counted and measured.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    }
    return Route(method="GET", path="metrics", endpoint=metrics, access=frozenset({Role.OPERATOR}), docs=docs)
