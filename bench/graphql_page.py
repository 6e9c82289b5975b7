"""What a page of the graph costs, beside Strawberry on the same resolvers, and beside the same page by REST."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

from starlette.types import ASGIApp, Message

from functions.composition import CAPABILITIES, Composition
from functions.composition.api import gathered_app
from functions.composition.read_models import view_pages
from shared.classification import Classification
from shared.messages import Contract, Integration, Registry
from shared.query import PageQuery, QueryPage, QueryRow
from shared.settings import Settings

from .dispatch import NOWHERE
from .harness import Benchmark
from .stack import sample_settings

ROWS, LINES = 50, 10
REPEATS, TURNS = 10, 5
QUERY = """{ sales(first: 50) {
  edges { node { saleId country units total lines { sku quantity unitPrice } } }
  pageInfo { hasNextPage endCursor }
} }"""


class SaleLine(Contract):
    """One article."""

    sku: str
    quantity: int
    unit_price: Decimal


class Sale(Contract):
    """An order with its lines."""

    sale_id: str
    country: str
    units: int
    total: Decimal
    lines: list[SaleLine]


def _row(number: int) -> QueryRow:
    lines = [SaleLine(sku=f"{one}", quantity=one, unit_price=Decimal("2.55")) for one in range(LINES)]
    sale = Sale(sale_id=f"{number}", country="France", units=45, total=Decimal("114.75"), lines=lines)
    return QueryRow(f"{number}", f"{number}", sale.model_dump(mode="json", by_alias=True))


class _OnePage:
    """The page that is there without a look at any store: what is measured is what is made of it."""

    def __init__(self) -> None:
        self._rows = [_row(number) for number in range(ROWS)]

    async def page(
        self,
        view: str,
        query: PageQuery,
        *,
        level: Classification,
        charge: Callable[[int], None] = lambda size: None,
    ) -> QueryPage:
        """It."""
        return QueryPage(list(self._rows), None, None)


def _app(pages: _OnePage) -> ASGIApp:
    shop = Integration("shop")

    @shop.handles("sale.made", version="1.0", key="saleId")
    async def make(sale: Sale, work: Any) -> None:
        """Nobody calls it here."""

    @shop.projects("sale.made", into="sales", find_by=["country"])
    def row(sale: Sale) -> Sale:
        """Nor this."""
        return sale

    storage = dict.fromkeys(("State", "Claims"), "UseDevelopmentStorage=true")
    broker = {"ServiceBus": NOWHERE, "EventHubs": NOWHERE, "SLUICE_OPERATION_KEY": "-" * 40, "SLUICE_AUTH": "none"}
    settings = Settings.load(sample_settings() | storage | broker | {"SLUICE_GRAPHQL": "true"})
    composition = Composition(settings, Registry([shop]), parts={view_pages: pages})
    return gathered_app(composition, [make(composition) for make in CAPABILITIES])


def _strawberry(pages: _OnePage) -> Callable[[], Awaitable[bytes]]:
    """The same page by Strawberry's own classes, without HTTP, limits, masks and cursors."""
    import strawberry

    @strawberry.type
    class Line:
        sku: str
        quantity: int
        unit_price: str

    @strawberry.type
    class Made:
        sale_id: str
        country: str
        units: int
        total: str
        lines: list[Line]

    @strawberry.type
    class Edge:
        node: Made

    @strawberry.type
    class Info:
        has_next_page: bool
        end_cursor: str | None

    @strawberry.type
    class Connection:
        edges: list[Edge]
        page_info: Info

    async def sales(first: int) -> Connection:
        page = await pages.page("sales", PageQuery(top=first), level=Classification.RESTRICTED)
        edges = [
            Edge(
                node=Made(
                    sale_id=one.value["saleId"],
                    country=one.value["country"],
                    units=one.value["units"],
                    total=one.value["total"],
                    lines=[
                        Line(sku=line["sku"], quantity=line["quantity"], unit_price=line["unitPrice"])
                        for line in one.value["lines"]
                    ],
                )
            )
            for one in page.rows
        ]
        return Connection(edges=edges, page_info=Info(has_next_page=False, end_cursor=None))

    query = strawberry.type(type("Query", (), {"sales": strawberry.field(resolver=sales), "__annotations__": {}}))
    schema = strawberry.Schema(query)

    async def answer() -> bytes:
        found = await schema.execute(QUERY)
        assert found.errors is None, found.errors
        return json.dumps({"data": found.data}).encode()

    return answer


def _over_http(app: ASGIApp, method: str, path: str, query: str, body: bytes) -> Callable[[], Awaitable[bytes]]:
    async def answer() -> bytes:
        found = bytearray()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            assert message.get("status", 200) == 200, message
            found.extend(message.get("body", b""))

        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 443),
        }
        await app(scope, receive, send)
        return bytes(found)

    return answer


async def _seconds(answer: Callable[[], Awaitable[bytes]]) -> float:
    started = time.process_time()
    for _ in range(REPEATS):
        await answer()
    return time.process_time() - started


async def _ratio(other: Callable[[_OnePage, ASGIApp], Callable[[], Awaitable[bytes]]]) -> float:
    pages = _OnePage()
    app = _app(pages)
    ours = _over_http(app, "POST", "/api/graphql", "", json.dumps({"query": QUERY}).encode())
    theirs = other(pages, app)
    first, second = json.loads(await ours()), await theirs()
    assert len(first["data"]["sales"]["edges"][0]["node"]["lines"]) == LINES
    assert second.count(b'"sku"') == ROWS * LINES
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):  # in turn, and the fastest of each: whatever is slower was disturbed
        times[0].append(await _seconds(ours))
        times[1].append(await _seconds(theirs))
    return min(times[0]) / min(times[1])


def _beside_strawberry(rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        yield asyncio.run(_ratio(lambda pages, _: _strawberry(pages)))


def _beside_rest(rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        yield 1 / asyncio.run(_ratio(lambda _, app: _over_http(app, "GET", "/api/sales", "$top=50&$expand=lines", b"")))


BENCHMARKS = [
    Benchmark(
        name="graphql-page",
        claim="CPU of a page of 50 rows with 10 lines each by the graph, HTTP and limits included / bare Strawberry's",
        goal=1.3,
        better="lower",
        rounds=_beside_strawberry,
    ),
    Benchmark(
        name="graphql-rest",
        claim="CPU of the same page by REST / by the graph",
        goal=0.2,
        better="lower",
        rounds=_beside_rest,
    ),
]
