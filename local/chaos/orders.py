"""The orders of a drill: the sample's, again and again under new ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice

from local.demo.invoices import Invoice, Message, compose

__all__ = ["MESSAGES_PER_ORDER", "drill_messages"]

MESSAGES_PER_ORDER = 3
"""Messages that share an order: an effect that happened twice, or in the wrong order, shows in its count."""

_DRILLS = uuid.UUID("0c4b7a52-53f0-5d0e-8e55-6a3d1d7f6b90")


def drill_messages(invoices: Sequence[Invoice], number: int, run: str, each: int = MESSAGES_PER_ORDER) -> list[Message]:
    """As many messages as asked for, each with an id of its own, `each` for an order.

    Raises
    ------
    ValueError
        None of the invoices can be sent.
    """
    sound = [invoice for invoice in invoices if _is_sound(invoice)]
    if not sound:
        raise ValueError("no invoice can be sent")
    return list(islice(_endless(sound, run, each), number))


def _endless(invoices: Sequence[Invoice], run: str, each: int) -> Iterator[Message]:
    for round_ in count():
        for invoice in invoices:
            renamed = replace(invoice, number=f"{invoice.number}-{run}-{round_ // each}")
            yield _under(compose(renamed), uuid.uuid5(_DRILLS, f"{renamed.number}:{round_}"))


def _under(message: Message, message_id: uuid.UUID) -> Message:
    body = message.body.replace(message.message_id.encode(), str(message_id).encode(), 1)
    return replace(message, message_id=str(message_id), body=body)


def _is_sound(invoice: Invoice) -> bool:
    """Stock corrections, which the API refuses, would prove nothing here."""
    if invoice.problem is not None or not invoice.lines:
        return False
    return all((line.quantity < 0) == invoice.is_credit_note and line.quantity != 0 for line in invoice.lines)
