"""Tables: the two requests of the hot path, point reads and entity-group transactions, without the SDK's detours."""

from .entities import Entity, decode, encode
from .session import TableSession
from .transactions import Operation, TransactionFailed

__all__ = ["Entity", "Operation", "TableSession", "TransactionFailed", "decode", "encode"]
