"""Calls to a GraphQL API, executed by graphql-core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from graphql import GraphQLError as Raised
from graphql import build_schema, graphql_sync

from shared.partners import InvalidAnswer, OutcomeUnknown, PartnerModel, PartnerRefused
from shared.partners.graphql import only_reads
from shared.resilience import RetryPlan
from tests.unit.shared.partners.test_auth import served
from tests.unit.shared.partners.world import World, world

SCHEMA = build_schema("""
type Parcel { reference: String!, weight: Float }
type Query { parcel(reference: ID!): Parcel, secret: String! }
type Mutation { send(reference: ID!): Parcel }
""")


class Resolvers:
    """What the fields hold."""

    def parcel(self, _: Any, reference: str) -> dict[str, Any]:
        """One whose weight can't be had."""
        return {"reference": reference, "weight": self.weight}

    send = parcel

    def weight(self, _: Any) -> float:
        """The scales are away."""
        raise Raised("the scales of Mr Smith are away", extensions={"code": "NO_SCALES"})

    def secret(self, _: Any) -> str:
        """Nobody's."""
        raise Raised("not for you", extensions={"code": "FORBIDDEN"})


class Parcel(PartnerModel):
    """A part of the data."""

    reference: str
    weight: float | None = None


class Data(PartnerModel):
    """Of both operations."""

    parcel: Parcel | None = None
    send: Parcel | None = None


class Strict(PartnerModel):
    """What has no use for null."""

    parcel: Parcel


class Which(PartnerModel):
    """The variables."""

    reference: str


READ = "query One($reference: ID!) { parcel(reference: $reference) { reference } }"
WEIGH = "query One($reference: ID!) { parcel(reference: $reference) { reference weight } }"
SEND = "mutation Go($reference: ID!) { send(reference: $reference) { reference } }"


@asynccontextmanager
async def api(*statuses: int, **options: Any) -> AsyncIterator[tuple[World, list[dict[str, Any]]]]:
    """A server of GraphQL over HTTP that first answers with these statuses, and what came."""
    came: list[dict[str, Any]] = []
    left = list(statuses)

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        came.append({**asked, "accept": request.headers["Accept"]})
        if left:
            return web.Response(status=left.pop(0))
        result = graphql_sync(
            SCHEMA,
            asked["query"],
            Resolvers(),
            variable_values=asked["variables"],
            operation_name=asked["operationName"],
        )
        return web.json_response(result.formatted, content_type="application/graphql-response+json")

    async with served(answer) as url, world(urls={"carrier": url}, **options) as carrier:
        yield carrier, came


async def test_data_is_typed() -> None:
    """Variables by the names of their model, and the media type of GraphQL asked for."""
    async with api() as (carrier, came):
        found = await carrier.calls().graphql(READ, Data, Which(reference="P1"), operation="One")
        assert found.data is not None
        assert found.data.parcel == Parcel(reference="P1")
        assert came[0]["accept"].startswith("application/graphql-response+json")


async def test_partial_data_is_taken_where_it_is_wanted() -> None:
    """With the errors that say what is missing, and where."""
    async with api() as (carrier, _):
        found = await carrier.calls().graphql(WEIGH, Data, Which(reference="P1"), partial=True)
        assert found.data is not None
        assert found.data.parcel == Parcel(reference="P1")
        (error,) = found.errors
        assert (error.code, error.path) == ("NO_SCALES", ("parcel", "weight"))


@pytest.mark.parametrize(
    ("document", "partial", "says"),
    [
        (WEIGH, False, r"answered with 1 errors \(NO_SCALES\)"),
        ("{ secret }", True, r"answered with 1 errors \(FORBIDDEN\)"),
        ("{ nothing }", True, "answered with 1 errors"),
    ],
)
async def test_errors_are_a_refusal(document: str, partial: bool, says: str) -> None:
    """Told by their codes; the partner's words are for the handler alone."""
    async with api() as (carrier, _):
        with pytest.raises(PartnerRefused, match=f"^carrier: graphql: {says}$") as raised:
            await carrier.calls().graphql(document, Data, Which(reference="P1"), partial=partial)
        assert b"message" in raised.value.body


@pytest.mark.parametrize(
    "data", [{"parcel": None, "must": None}, {"parcel": {"no": "reference"}}, "none"], ids=["null", "broken", "text"]
)
@pytest.mark.parametrize("partial", [False, True])
async def test_errors_are_told_whatever_became_of_the_data(data: Any, partial: bool) -> None:
    """A field without a value is null, which its model needn't take; the error says why it has none."""
    error = {"message": "too often", "path": None, "extensions": {"code": "THROTTLED"}}
    async with world() as carrier:
        carrier.says("POST", "/graphql", status=200, json={"data": data, "errors": [error]})
        with pytest.raises(PartnerRefused, match=r"answered with 1 errors \(THROTTLED\)"):
            await carrier.calls().graphql(READ, Strict, Which(reference="P1"), partial=partial)


@pytest.mark.parametrize("more", [{"errors": None}, {"errors": []}, {"extensions": None}])
async def test_no_errors_are_written_in_several_ways(more: dict[str, Any]) -> None:
    """As are the fields of one."""
    async with world() as carrier:
        carrier.says("POST", "/graphql", status=200, json={"data": {"parcel": {"reference": "P1"}}, **more})
        found = await carrier.calls().graphql(READ, Data, Which(reference="P1"))
        assert found.data == Data(parcel=Parcel(reference="P1"))
        nothing = {"data": {"parcel": None}, "errors": [{"message": "x", "path": None, "extensions": None}]}
        carrier.says("POST", "/graphql", status=200, json=nothing)
        (error,) = (await carrier.calls().graphql(READ, Data, Which(reference="P1"), partial=True)).errors
        assert (error.path, error.code) == ((), "")


async def test_a_query_is_repeated_like_a_get() -> None:
    """A mutation isn't, where the partner knows no keys."""
    options: dict[str, Any] = {"idempotency_header": None, "retry": RetryPlan(max_attempts=2, base=0.01, cap=0.02)}
    async with api(500, **options) as (carrier, came):
        await carrier.calls().graphql(READ, Data, Which(reference="P1"))
        assert len(came) == 2
    async with api(500, **options) as (carrier, came):
        with pytest.raises(OutcomeUnknown):
            await carrier.calls().graphql(SEND, Data, Which(reference="P1"))
        assert len(came) == 1


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"parcel": {"no": "reference"}}}, {"errors": "none"}])
async def test_what_is_no_graphql_breaks_the_contract(body: dict[str, Any]) -> None:
    """By its partner's name."""
    async with world() as carrier:
        carrier.says("POST", "/graphql", status=200, json=body)
        with pytest.raises(InvalidAnswer, match="carrier: graphql: "):
            await carrier.calls().graphql(READ, Data, Which(reference="P1"))


@pytest.mark.parametrize(
    ("document", "reads"),
    [
        (READ, True),
        ("{ parcel }", True),
        ("# a comment\n, query { parcel }", True),
        (SEND, False),
        ("query A { parcel } mutation B { send }", False),
        ("fragment F on Parcel { reference } query { parcel { ...F } }", False),
        ("subscription { parcel }", False),
        ("", False),
    ],
)
def test_only_what_certainly_reads_does(document: str, reads: bool) -> None:
    """Anything else is treated as a change."""
    assert only_reads(document) is reads
