"""The state machines of connections, sessions and links as tables: what may come when, and what follows.

A performative that a table does not list for the current state is `amqp:illegal-state`.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final

from local_azure.broker.amqp.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    Performative,
    SaslInit,
    Transfer,
)

__all__ = ["CONNECTION", "LINK", "SESSION", "ConnectionState", "LinkState", "SessionState"]


class ConnectionState(IntEnum):
    """Where a server's connection stands (transport 2.4.6, without pipelined opening by the server)."""

    AWAIT_HEADER = auto()
    AWAIT_SASL_INIT = auto()
    AWAIT_AMQP_HEADER = auto()
    AWAIT_OPEN = auto()
    OPENED = auto()
    CLOSE_SENT = auto()
    CLOSED = auto()


class SessionState(IntEnum):
    """Where a session stands (transport 2.5.5); `DISCARDING` waits for the client's end after an error."""

    MAPPED = auto()
    DISCARDING = auto()
    UNMAPPED = auto()


class LinkState(IntEnum):
    """Where a link stands (transport 2.6.4)."""

    ATTACH_RECEIVED = auto()
    ATTACHED = auto()
    DETACH_SENT = auto()
    DETACHED = auto()


CONNECTION: Final[dict[tuple[ConnectionState, type[Performative]], ConnectionState]] = {
    (ConnectionState.AWAIT_SASL_INIT, SaslInit): ConnectionState.AWAIT_AMQP_HEADER,
    (ConnectionState.AWAIT_OPEN, Open): ConnectionState.OPENED,
    (ConnectionState.AWAIT_OPEN, Close): ConnectionState.CLOSED,
    **{
        (ConnectionState.OPENED, kind): ConnectionState.OPENED
        for kind in (Begin, Attach, Flow, Transfer, Disposition, Detach, End)
    },
    (ConnectionState.OPENED, Close): ConnectionState.CLOSED,
    **{
        (ConnectionState.CLOSE_SENT, kind): ConnectionState.CLOSE_SENT
        for kind in (Begin, Attach, Flow, Transfer, Disposition, Detach, End)
    },
    (ConnectionState.CLOSE_SENT, Close): ConnectionState.CLOSED,
}

SESSION: Final[dict[tuple[SessionState, type[Performative]], SessionState]] = {
    **{(SessionState.MAPPED, kind): SessionState.MAPPED for kind in (Attach, Flow, Transfer, Disposition, Detach)},
    (SessionState.MAPPED, End): SessionState.UNMAPPED,
    **{
        (SessionState.DISCARDING, kind): SessionState.DISCARDING
        for kind in (Attach, Flow, Transfer, Disposition, Detach)
    },
    (SessionState.DISCARDING, End): SessionState.UNMAPPED,
}

LINK: Final[dict[tuple[LinkState, type[Performative]], LinkState]] = {
    (LinkState.ATTACH_RECEIVED, Flow): LinkState.ATTACH_RECEIVED,
    (LinkState.ATTACH_RECEIVED, Detach): LinkState.DETACHED,
    (LinkState.ATTACHED, Flow): LinkState.ATTACHED,
    (LinkState.ATTACHED, Transfer): LinkState.ATTACHED,
    (LinkState.ATTACHED, Detach): LinkState.DETACHED,
    (LinkState.DETACH_SENT, Flow): LinkState.DETACH_SENT,
    (LinkState.DETACH_SENT, Transfer): LinkState.DETACH_SENT,
    (LinkState.DETACH_SENT, Attach): LinkState.DETACH_SENT,
    (LinkState.DETACH_SENT, Detach): LinkState.DETACHED,
}
