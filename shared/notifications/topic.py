"""Publishes to a custom topic of Event Grid.

Sources (learn.microsoft.com): "Publish events to Event Grid custom topics", "Azure Event Grid quotas and limits".
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["NotificationRefused", "NotificationsUnavailable", "TopicPublisher"]

LARGEST = 1_000_000
"""Bytes of a request: Event Grid takes 1 MB."""
MOST = 1_000
"""Events of a request."""
SECONDS = 20.0
_REFUSED = frozenset({400, 413})
_TYPE = "application/cloudevents-batch+json; charset=utf-8"


class NotificationRefused(ValueError):
    """The topic doesn't take these events, whenever they come."""


class NotificationsUnavailable(ConnectionError):
    """The topic can't be reached, or the app can't show it who it is: the same events come again."""


class TopicPublisher:
    """Publishes CloudEvents, as many at once as a request holds.

    Parameters
    ----------
    url:
        The topic's endpoint.
    authorize:
        Gives the headers that show who the app is, for each request.
    """

    def __init__(self, url: str, authorize: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._url = url
        self._authorize = authorize
        self._session: ClientSession | None = None

    async def publish(self, events: Sequence[bytes]) -> None:
        """Return when the topic has taken every event; on an error none, some or all were taken.

        Raises
        ------
        NotificationRefused
            Of several, at least one is refused.
        NotificationsUnavailable
        """
        for batch in _batches(events):
            await self._post(b"[" + b",".join(batch) + b"]")

    async def _post(self, body: bytes) -> None:
        import aiohttp  # loaded with the first notification

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS))
        try:
            proofs = await self._authorize()
        except Exception as error:  # the vault's, the identity's: it tells nothing of the events
            raise NotificationsUnavailable(f"the app can't show who it is: {type(error).__name__}") from error
        headers = {"Content-Type": _TYPE, **proofs}
        try:
            async with self._session.post(
                self._url, params={"api-version": "2018-01-01"}, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotificationsUnavailable(f"the topic can't be reached: {type(error).__name__}") from None
        if status in _REFUSED:
            raise NotificationRefused(f"the topic answered {status}")
        if status != 200:
            raise NotificationsUnavailable(f"the topic answered {status}")

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _batches(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 2
    for event in events:
        if batch and (len(batch) >= MOST or size + len(event) + 1 > LARGEST):
            yield batch
            batch, size = [], 2
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield batch
