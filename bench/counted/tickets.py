"""The integration whose operations are counted: one state row, one event, one view; an attempt may fail."""

from shared.messages import Contract, Integration, Retry
from shared.work import Work

tickets = Integration("tickets")


class Ticket(Contract):
    """What somebody asks for; `failures` attempts end in a retry before one succeeds."""

    ticket_id: str
    text: str = ""
    failures: int = 0


class Opened(Contract):
    """What is known of it afterwards."""

    ticket_id: str


@tickets.handles("ticket.open", version="1.0", key="ticketId")
async def open_ticket(ticket: Ticket, work: Work) -> None:
    """Save and publish, or ask for another attempt."""
    if work.headers.attempt <= ticket.failures:
        raise Retry(after=0.1)
    opened = Opened(ticket_id=ticket.ticket_id)
    await work.save("ticket", ticket.ticket_id, opened)
    work.publish("ticket.opened", opened)


@tickets.projects("ticket.opened", into="tickets")
def row(opened: Opened) -> Opened:
    """The view's row."""
    return opened
