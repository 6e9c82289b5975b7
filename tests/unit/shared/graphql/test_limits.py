"""Hostile queries: each is refused in bounded time, by the limit that is meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphql import get_introspection_query
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.graphql import Asked, GraphQLEngine, GraphView, Limits, Refused, build_schema
from shared.query.properties import Kind, Property

LINE = {name: Property(name=name, kind=Kind.TEXT) for name in ("sku", "text")}
VIEW = GraphView(
    view="orders",
    name="Order",
    properties={
        "country": Property(name="country", kind=Kind.TEXT),
        "lines": Property(name="lines", kind=Kind.OBJECTS, fields=LINE, model="Line"),
    },
    listed=True,
)


def engine(*, introspection: bool = True, **limits: int) -> GraphQLEngine:
    """An engine whose queries aren't run."""
    return GraphQLEngine(build_schema([VIEW]), Limits(**limits), explain=lambda _: None, introspection=introspection)


def cost(query: str, variables: dict[str, Any] | None = None, **limits: int) -> int:
    """What a query costs."""
    return engine(introspection=True, **limits).prepare(Asked(query=query, variables=variables or {})).cost.total


def refusal(query: str | None, variables: dict[str, Any] | None = None, **asked: Any) -> str:
    """The code with which a query is refused."""
    with pytest.raises(Refused) as refused:
        engine().prepare(Asked(query=query, variables=variables or {}, **asked))
    assert len(json.dumps(refused.value.answer)) < 10_000
    code: str = refused.value.answer["errors"][0]["extensions"]["code"]
    return code


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        ('{orderByKey(key:"1"){country}}', {}, 2),
        ("{orders{nodes{country}}}", {}, 51 + 50 * 2),
        ("{orders(first:3){nodes{country}}}", {}, 51 + 3 * 2),
        ('{orders(first:3,filter:"x"){nodes{country}}}', {}, 101 + 3 * 2),
        ("query($f:String){orders(first:3,filter:$f){nodes{country}}}", {"f": "x"}, 101 + 3 * 2),
        ("query($f:String){orders(first:3,filter:$f){nodes{country}}}", {}, 51 + 3 * 2),
        ("{orders(last:3){nodes{country}}}", {}, 51 + 50 * 2),
        ("{orders(first:3){edges{node{country lines{sku text}}}}}", {}, 51 + 3 * (1 + 1 + 1 + 1 + 10 * 2)),
        ("query($n:Int){orders(first:$n){nodes{country}}}", {"n": 7}, 51 + 7 * 2),
        ("query($n:Int=9){orders(first:$n){nodes{country}}}", {}, 51 + 9 * 2),
        ("query($n:Int){orders(first:$n){nodes{country}}}", {"n": 10**9}, 51 + 200 * 2),
        ("{orders(first:99999999999999999999){nodes{country}}}", {}, None),
        ("query($i:[ID!]!){nodes(ids:$i){id}}", {"i": ["a"] * 30}, 1 + 30),
        ('{nodes(ids:["a","b"]){id}}', {}, 1 + 2),
        ("{orders(first:2){...a}} fragment a on OrderConnection{nodes{...b ...b}} fragment b on Order{country id}",
         {}, 51 + 2 * (1 + 4)),
        ("{__typename}", {}, 1),
    ],
)  # fmt: skip
def test_what_a_query_costs(query: str, variables: dict[str, Any], expected: int | None) -> None:
    """Each field 1, what is in a list as often as it may be long; a connection 50 more, 100 with a filter."""
    if expected is None:
        assert refusal(query, variables) == "GRAPHQL_VALIDATION_FAILED"
    else:
        assert cost(query, variables) == expected


def test_the_usual_introspection_is_affordable_once() -> None:
    """It is what every tool begins with."""
    assert cost(get_introspection_query(input_value_deprecation=True)) < 10_000
    assert refusal("{a:__schema{queryType{name}} b:__schema{queryType{name}}}") == "COST_EXCEEDED"


def test_the_schema_may_be_kept_to_oneself() -> None:
    """Then nothing suggests names either."""
    closed = engine(introspection=False)
    for query in ("{__schema{queryType{name}}}", "{ordrs{nodes{id}}}"):
        with pytest.raises(Refused) as refused:
            closed.prepare(Asked(query=query, variables={}))
        assert "Did you mean" not in json.dumps(refused.value.answer)
    with pytest.raises(Refused, match="Did you mean"):
        engine().prepare(Asked(query="{ordrs{nodes{id}}}", variables={}))


DOUBLING = "".join(f" fragment f{n} on Order{{...f{n + 1} ...f{n + 1}}}" for n in range(18))
DOUBLING += " fragment f18 on Order{id}"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "GRAPHQL_PARSE_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("\ufeff\x00\ud800", "GRAPHQL_PARSE_FAILED"),
        ("{" * 30_000, "GRAPHQL_PARSE_FAILED"),
        ("x" * 1_000_000, "COST_EXCEEDED"),
        ("#" * 60_000, "GRAPHQL_PARSE_FAILED"),
        ("#\n" * 20_000, "GRAPHQL_PARSE_FAILED"),
        ("{" + "a:__typename " * 20_000 + "}", "COST_EXCEEDED"),
        ("{" + "".join(f"a{n}:__typename " for n in range(60)) + "}", "COST_EXCEEDED"),
        ("{" + "__typename " * 600 + "}", "COST_EXCEEDED"),
        ('{orderByKey(key:"1")' + "{... on Order" * 60 + "{id}" + "}" * 60 + "}", "COST_EXCEEDED"),
        ('{__type(name:"Order")' + "{fields{type" * 9 + "{name}" + "}}" * 9 + "}", "GRAPHQL_VALIDATION_FAILED"),
        ("{...a} fragment a on Query{...b} fragment b on Query{...a}", "GRAPHQL_VALIDATION_FAILED"),
        ("{...a} fragment a on Query{...a}", "GRAPHQL_VALIDATION_FAILED"),
        ('{orderByKey(key:"1"){...f0}}' + DOUBLING, "COST_EXCEEDED"),
        ("{orders(first:200){nodes{lines{sku text} a:lines{sku text} b:lines{sku text}}}}", "COST_EXCEEDED"),
        ("{node(id:" + "[" * 3_000 + "]" * 3_000 + "){id}}", "GRAPHQL_PARSE_FAILED"),
        ("{node(id:" + "9" * 60_000 + "){id}}", None),
        ("{orders(first:" + "9" * 60_000 + "){nodes{id}}}", "GRAPHQL_VALIDATION_FAILED"),
        ("mutation{a}", "GRAPHQL_VALIDATION_FAILED"),
        ("query a{__typename} query b{__typename}", "BAD_REQUEST"),
        ("subscription{a:orderChanged(keys:[]){id} b:orderChanged(keys:[]){id}}", "GRAPHQL_VALIDATION_FAILED"),
        ("{orderByKey(key:1){id}}", "GRAPHQL_VALIDATION_FAILED"),
        ("{__typename @" + "x @".join("y" for _ in range(900)) + "}", "GRAPHQL_VALIDATION_FAILED"),
    ],
    ids=range(24),
)
def test_what_is_refused(query: str, code: str | None) -> None:
    """By its code."""
    if code is None:
        assert cost(query) == 2
    else:
        assert refusal(query) == code


def test_persisted_queries_are_apollos() -> None:
    """Unknown, stored with its hash, found by it alone; another text under a hash is refused."""
    import hashlib

    one, query = engine(), "{__typename}"
    digest = hashlib.sha256(query.encode()).hexdigest()
    with pytest.raises(Refused) as unknown:
        one.prepare(Asked(query=None, digest=digest, variables={}))
    assert (unknown.value.status, unknown.value.answer["errors"][0]["message"]) == (200, "PersistedQueryNotFound")
    assert unknown.value.answer["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    with pytest.raises(Refused, match="sha"):
        one.prepare(Asked(query="{a:__typename}", digest=digest, variables={}))
    one.prepare(Asked(query=query, digest=digest, variables={}))
    assert one.prepare(Asked(query=None, digest=digest, variables={})).cost.total == 1


def test_what_is_remembered_of_queries_is_bounded() -> None:
    """A client that never sends one twice pushes others out, and takes no more memory."""
    one = engine()
    for number in range(2_000):
        one.prepare(Asked(query="{__typename}" + "#" * 2_000 + str(number), variables={}))
    assert len(one._documents) < 200


@settings(max_examples=200)
@given(st.text(alphabet="{}()[]:!$@|&.\"'\\\n aQ1#_éordersidfragmentonquery", max_size=300))
def test_any_text_is_a_query_or_refused(text: str) -> None:
    """Nothing else is raised."""
    try:
        ENGINE.prepare(Asked(query=text, variables={}))
    except Refused as refused:
        assert refused.answer["errors"]  # noqa: PT017 - either is right


ENGINE = engine()
