"""What the inbox says of a dead message; on the ordered lane its death holds its key."""

from datetime import datetime

from shared.messages import ErrorCode, Headers, Lane, PayloadHash
from shared.ordered import Parking
from shared.state import Inbox, StateStore, inbox_row

__all__ = ["InboxRecords"]


class InboxRecords(Inbox):
    """The inbox, with deaths on any lane."""

    def __init__(self, store: StateStore) -> None:
        super().__init__(store)
        self._state = store

    async def died(
        self,
        headers: Headers,
        *,
        code: str,
        reason: str,
        now: datetime,
        payload_hash: PayloadHash | None = None,
        its_turn: bool = False,
    ) -> str:
        """Record that a message died; return the status that the inbox has then.

        On the ordered lane the key is blocked in the same transaction, until somebody has decided about the message;
        not for one whose content was erased, about which nobody can decide.

        Parameters
        ----------
        its_turn:
            It died in its turn; else it holds a key only that nothing holds yet.
        """
        row = inbox_row(
            headers,
            "dead",
            buckets=self._state.buckets,
            payload_hash=payload_hash,
            now=now,
            code=code,
            reason=reason,
        )
        if headers.lane is Lane.ORDERED and code != ErrorCode.SUBJECT_ERASED:
            return await Parking(self._state, now=lambda: now).block(headers.key, row, its_turn=its_turn)
        return await self.record_death(headers.key, row)
