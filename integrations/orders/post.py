"""The carrier Post: consignments that are put in their place, OAuth 2.0, no idempotency keys, and words of its own."""

from typing import Final

from pydantic import Field

from shared.messages import Timestamp, rfc3339
from shared.partners import ClientCredentials, Item, Partner, PartnerModel, Polled
from shared.webhooks import Header, Hmac
from shared.work import Work

from .shipping import Parcel, ParcelMoved, Status, keep_move, shipping

__all__ = ["Post", "post"]

post = Partner(
    "post",
    auth=ClientCredentials(
        token_url="/oauth/token",  # noqa: S106 - a path
        client_id="sluice",
        secret="post-password",  # noqa: S106 - its name in the vault
    ),
    idempotency_header=None,
)
shipping.receives(
    "post",
    Hmac(
        header="x-signature",
        signed="{x-timestamp}.{body}",
        timestamp="x-timestamp",
        delivery=Header("x-delivery"),
    ),
)

_STATUS: Final[dict[str, Status]] = {"accepted": "collected", "handed-over": "delivered", "missing": "lost"}


class Consignee(PartnerModel):
    """Who gets it."""

    name: str = ""
    lines: list[str] = Field(default_factory=list)
    country: str


class Consignment(PartnerModel):
    """What is to be carried."""

    consignee: Consignee
    parcels: list[int]


class Receipt(PartnerModel):
    """The answer to a consignment."""

    id: str


class Progress(PartnerModel):
    """A consignment as the carrier lists it and tells of it."""

    id: str
    state: str = ""
    updated_at: Timestamp = Field(alias="updatedAt")


class Listing(PartnerModel):
    """A page of consignments."""

    consignments: list[Progress]
    next_page: str | None = Field(None, alias="nextPage")


class Notice(PartnerModel):
    """The body of a webhook."""

    data: Progress


class Post:
    """Implements `CanShip`: to put a consignment in its place twice is to put it there once."""

    async def ship(self, work: Work, parcel: Parcel) -> str:
        """See `CanShip`."""
        lines = [parcel.address] if parcel.address else []
        consignee = Consignee(name=parcel.name or "", lines=lines, country=parcel.country)
        wanted = Consignment(consignee=consignee, parcels=[parcel.units])
        made = await work.call(post).put(f"/consignments/{parcel.order_id}", Receipt, wanted)
        return f"post-{made.id}"


@shipping.webhook("post", key="data.id")
async def status_changed(notice: Notice, work: Work) -> None:
    """Post tells where a consignment is."""
    if move := _move(notice.data):
        await keep_move(move, work)


@post.polls(
    "/consignments",
    every="5m",
    since="updatedSince",
    start="2000-01-01T00:00:00Z",
    overlap="1m",
    query={"pageSize": "200"},
    sends="order.parcel-moved",
)
def moves(page: Listing) -> Polled:
    """What a webhook has missed."""
    found = [(one, move) for one in page.consignments if (move := _move(one))]
    return Polled(
        items=[Item(f"{one.id} {rfc3339(one.updated_at)}", move) for one, move in found],
        position=max((rfc3339(one.updated_at) for one in page.consignments), default=None),
        more={"page": page.next_page} if page.next_page else None,
    )


def _move(one: Progress) -> ParcelMoved | None:
    """None where it says nothing that matters to us."""
    status = _STATUS.get(one.state)
    return ParcelMoved(order_id=one.id, status=status, at=one.updated_at) if status else None
