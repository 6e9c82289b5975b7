"""The carrier Express: labels over JSON, an API key, idempotency keys, and webhooks as Standard Webhooks has them."""

from typing import Final

from pydantic import Field

from shared.messages import Timestamp, rfc3339
from shared.partners import ApiKey, Item, Partner, PartnerModel, Polled, Timeouts
from shared.resilience import BreakerPolicy
from shared.webhooks import StandardWebhooks
from shared.work import Work

from .shipping import Parcel, ParcelMoved, Status, keep_move, shipping

__all__ = ["Express", "express"]

express = Partner(
    "express",
    auth=ApiKey(secret="express-key"),  # noqa: S106 - its name in the vault
    timeouts=Timeouts(total=5.0),
    breaker=BreakerPolicy(failures=10, open_for=10.0),
)
shipping.receives("express", StandardWebhooks())

_STATUS: Final[dict[str, Status]] = {"collected": "collected", "delivered": "delivered", "lost": "lost"}


class LabelRequest(PartnerModel):
    """What a label is made of."""

    reference: str
    country: str
    pieces: int
    recipient: str | None
    street: str | None


class MadeLabel(PartnerModel):
    """A label that was made."""

    id: str


class Label(PartnerModel):
    """A label as the carrier lists it and tells of it."""

    reference: str
    status: str
    updated_at: Timestamp = Field(alias="updatedAt")


class Labels(PartnerModel):
    """A page of labels."""

    labels: list[Label]
    next_page: str | None = Field(None, alias="nextPage")


class LabelEvent(PartnerModel):
    """The body of a webhook."""

    data: Label


class Express:
    """Implements `CanShip`: a re-run repeats the call under its key, and Express makes one label for it."""

    async def ship(self, work: Work, parcel: Parcel) -> str:
        """See `CanShip`."""
        wanted = LabelRequest(
            reference=parcel.order_id,
            country=parcel.country,
            pieces=parcel.units,
            recipient=parcel.name,
            street=parcel.address,
        )
        made = await work.call(express).post("/labels", MadeLabel, wanted)
        return made.id


@shipping.webhook("express", key="data.reference")
async def status_changed(event: LabelEvent, work: Work) -> None:
    """Express tells where a parcel is."""
    if move := _move(event.data):
        await keep_move(move, work)


@express.polls(
    "/labels",
    every="5m",
    since="updatedSince",
    start="2000-01-01T00:00:00Z",
    overlap="1m",
    query={"pageSize": "200"},
    sends="order.parcel-moved",
)
def moves(page: Labels) -> Polled:
    """What a webhook has missed."""
    found = [(label, move) for label in page.labels if (move := _move(label))]
    return Polled(
        items=[Item(f"{label.reference} {rfc3339(label.updated_at)}", move) for label, move in found],
        position=max((rfc3339(label.updated_at) for label in page.labels), default=None),
        more={"page": page.next_page} if page.next_page else None,
    )


def _move(label: Label) -> ParcelMoved | None:
    """None where it says nothing that matters to us."""
    status = _STATUS.get(label.status)
    return ParcelMoved(order_id=label.reference, status=status, at=label.updated_at) if status else None
