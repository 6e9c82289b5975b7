"""The schema follows from views and models alone: types, nulls, masking, names, and what is checked in."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from shared.classification import Restricted, Subject, Tokenized
from shared.graphql import Asked, GraphQLEngine, GraphView, Limits, ReadingContext, RowChanges, build_schema, global_id
from shared.messages import Contract
from shared.query.properties import properties_of


class Line(Contract):
    """A nested object."""

    sku: str
    price: Decimal


class Everything(Contract):
    """A field of each kind."""

    id: int
    customer: Annotated[str | None, Restricted, Tokenized("customer"), Subject()] = None
    limit: Annotated[Decimal | None, Restricted, Tokenized("limit")] = None
    big: int
    share: float
    paid: bool
    at: datetime
    day: date
    ref: UUID
    tags: list[str]
    lines: list[Line]
    first: Line | None = None
    extra: dict[str, Any]


VIEW = GraphView(view="every-thing", name="EveryThing", properties=properties_of([Everything]), protected=True)


async def answered(query: str, rows: dict[str, Any], views: list[GraphView] | None = None, **limits: int) -> Any:
    """What an engine answers that reads rows from a dictionary."""
    engine = GraphQLEngine(
        build_schema([VIEW] if views is None else views),
        Limits(**limits),
        explain=lambda failure: ("GONE", "not here") if isinstance(failure, LookupError) else None,
    )

    async def read(view: str, key: str) -> bytes | None:
        if key == "raises":
            raise LookupError("a secret of ours")
        if key == "breaks":
            raise RuntimeError("a secret of ours")
        return json.dumps(rows[key]).encode() if key in rows else None

    async def page(view: str, asked: Any, charge: Any) -> Any:
        raise AssertionError

    context = ReadingContext(read, page, RowChanges(read).follow, cost=limits.get("cost", 10_000), size=100_000)
    try:
        return await engine.run(engine.prepare(Asked(query=query, variables={})), context)
    finally:
        await context.close()


ROW = {
    "id": 7,
    "customer": "tok_abc",
    "limit": "tok_def",
    "big": 2**40,
    "share": 0.5,
    "paid": True,
    "at": "2026-01-05T08:26:00Z",
    "day": "2026-01-05",
    "ref": "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b1d",
    "tags": ["a"],
    "lines": [{"sku": "1", "price": "2.50"}, {"sku": "2", "price": "3"}],
    "extra": {"x": [1]},
    "$masked": ["/customer", "/limit"],
}


async def test_every_kind_of_field_is_answered() -> None:
    """As REST has it, but for the token of a number, which is no number."""
    fields = "id databaseId customer limit big share paid at day ref tags lines{sku price} first{sku} extra _masked"
    found = await answered('{everyThingByKey(key:"1"){' + fields + " _erased}}", {"1": ROW})
    assert "errors" not in found
    assert found["data"]["everyThingByKey"] == {
        **{name: value for name, value in ROW.items() if name not in ("id", "$masked")},
        "id": global_id("every-thing", "1"),
        "databaseId": 7,
        "limit": None,
        "first": None,
        "_masked": ["/customer", "/limit"],
        "_erased": [],
    }


async def test_a_row_of_an_older_model_or_of_another_shape_is_null_where_it_does_not_fit() -> None:
    """Nothing of it is an error, and nothing is what it doesn't say it is."""
    row = {"big": "x", "share": "y", "paid": 1, "at": "soon", "day": 3, "ref": [], "lines": {"a": 1}, "first": "?"}
    fields = "databaseId big share paid at day ref tags lines{sku} first{sku} customer"
    found = await answered('{everyThingByKey(key:"1"){' + fields + "}}", {"1": row})
    assert "errors" not in found
    assert set(found["data"]["everyThingByKey"].values()) == {None}


async def test_nodes_are_read_once_each() -> None:
    """Unknown ids, of other views or made up, are null."""
    one, other = global_id("every-thing", "1"), global_id("orders", "1")
    ids = f'["{one}","{one}","{other}","?","{one}=="]'
    query = f'{{nodes(ids:{ids}){{id}} node(id:"{one}"){{id ... on EveryThing{{big}}}}}}'
    found = await answered(query, {"1": ROW})
    assert found["data"]["nodes"] == [{"id": one}, {"id": one}, None, None, None]
    assert found["data"]["node"]["big"] == 2**40


async def test_more_nodes_than_a_page_are_refused_unread() -> None:
    """Each would be a read of its own."""
    ids = ",".join(f'"{global_id("every-thing", str(number))}"' for number in range(201))
    found = await answered(f"{{nodes(ids:[{ids}]){{id}}}}", {"1": ROW})
    assert (found["data"], found["errors"][0]["extensions"]["code"]) == (None, "BAD_REQUEST")


async def test_a_failure_says_what_may_be_said() -> None:
    """The rest is answered all the same."""
    query = (
        '{a:everyThingByKey(key:"raises"){big} b:everyThingByKey(key:"breaks"){big} c:everyThingByKey(key:"1"){big}}'
    )
    found = await answered(query, {"1": ROW})
    assert found["data"] == {"a": None, "b": None, "c": {"big": 2**40}}
    told = {one["path"][0]: (one["extensions"]["code"], one["message"]) for one in found["errors"]}
    assert told == {"a": ("GONE", "not here"), "b": ("INTERNAL_ERROR", "Something went wrong here.")}
    assert "secret" not in json.dumps(found)


async def test_lists_are_charged_by_their_true_length() -> None:
    """What costs too much is null with the reason; the rest is answered."""
    row = {**ROW, "lines": [{"sku": "1"}] * 60}
    found = await answered('{everyThingByKey(key:"1"){big lines{sku price}}}', {"1": row}, cost=100)
    assert found["data"]["everyThingByKey"] == {"big": 2**40, "lines": None}
    assert found["errors"][0]["extensions"]["code"] == "COST_EXCEEDED"
    assert found["extensions"]["cost"]["requested"] == 1 + 1 + 1 + 10 * 2


async def test_rows_that_are_too_large_in_all_are_refused() -> None:
    rows = {str(number): {"tags": ["x" * 30_000]} for number in range(5)}
    ids = ",".join(f'"{global_id("every-thing", key)}"' for key in rows)
    found = await answered(f"{{nodes(ids:[{ids}]){{id}}}}", rows)
    assert sum(one is None for one in found["data"]["nodes"]) == 2
    assert {one["extensions"]["code"] for one in found["errors"]} == {"COST_EXCEEDED"}


async def test_views_whose_names_meet_are_told_apart() -> None:
    """Also where a view or a model is called as a type of the library's, and where rows have any shape."""
    views = [
        GraphView(view="node", name="Node", properties={}),
        GraphView(view="every_thing", name="EveryThing", properties=VIEW.properties),
        VIEW,
        GraphView(view="line", name="Line", properties=properties_of([Line])),
        GraphView(view="7-days", name="7Days", properties=properties_of([Line])),
    ]
    schema = build_schema(views)
    assert {"Node2", "EveryThing", "EveryThing2", "Line", "Line2", "_7Days"} <= schema.type_map.keys()
    found = await answered('{nodeByKey(key:"1"){json}}', {"1": {"any": ["thing"]}}, views)
    assert found["data"] == {"nodeByKey": {"json": {"any": ["thing"]}}}
