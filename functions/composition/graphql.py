"""GraphQL over the read models, where a setting has it; its library loads with the first query."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from functions.graph_pages import GraphPages
from functions.graphql import GraphQLEndpoints, Reading
from functions.schemas import singular
from shared.classification import Classification
from shared.encryption import KeysUnavailable, ProtectionError
from shared.messages import ErrorCode
from shared.query import ForbiddenField, InvalidQuery
from shared.query.properties import properties_of
from shared.synthetic import VIEW

from .capability import Capability
from .composition import Composition
from .read_models import continuations, declared_indexes, row_cache, view_pages

if TYPE_CHECKING:
    from shared.graphql import ConnectionPage, GraphQLEngine, GraphView, PageArguments

__all__ = ["capability", "graph_engine", "graph_views"]

_SETTINGS = ["SLUICE_GRAPHQL", "SLUICE_GRAPHQL_INTROSPECTION", "SLUICE_GRAPHQL_MAX_COST"]


def graph_views(composition: Composition) -> "list[GraphView]":
    """The views that the graph has: all that have routes."""
    from shared.graphql import GraphView

    registry = composition.registry
    return [
        GraphView(
            view=view,
            name=singular(view),
            properties=properties_of(registry.shown(view)),
            protected=any(plan.protects for plan in registry.plans(view)),
            listed=view in composition.get(declared_indexes),
        )
        for view in registry.views
        if view != VIEW
    ]


def graph_engine(composition: Composition) -> "GraphQLEngine":
    """What runs queries."""
    from shared.graphql import GraphQLEngine, Limits, build_schema

    settings = composition.settings
    return GraphQLEngine(
        build_schema(composition.get(graph_views)),
        Limits(cost=settings.graphql_max_cost),
        explain=_explained,
        introspection=settings.graphql_introspection,
    )


def graph_pages(composition: Composition) -> GraphPages:
    """What answers connections."""
    return GraphPages(composition.get(declared_indexes), composition.get(view_pages), composition.get(continuations))


def _explained(failure: BaseException) -> tuple[str, str] | None:
    match failure:
        case ProtectionError():
            return str(failure.code), "This row can't be decrypted."
        case InvalidQuery():
            return ErrorCode.BAD_REQUEST, str(failure)
        case ForbiddenField():
            return ErrorCode.FORBIDDEN, str(failure)
        case AzureError() | KeysUnavailable():
            return ErrorCode.UNAVAILABLE, "This can't be read just now. Ask again."
        case _:
            return None


def capability(composition: Composition) -> Capability:
    """Routes, of which there are none without the setting."""
    settings = composition.settings

    def reading(level: Classification) -> Reading:
        async def read(view: str, key: str) -> bytes | None:
            row = await composition.get(row_cache).one(view, key, level=level)
            return None if row is None else row.body

        async def page(view: str, asked: "PageArguments", charge: Callable[[int], None]) -> "ConnectionPage":
            return await composition.get(graph_pages).page(view, asked, level, charge)

        return Reading(read, page)

    endpoints = GraphQLEndpoints(
        lambda: composition.get(graph_engine),
        reading,
        enabled=settings.graphql,
        streams=settings.http_streams and settings.can_stream,
        now=composition.now,
    )
    return Capability(
        name="graphql",
        routes=endpoints.routes(),
        settings=_SETTINGS,
    )
