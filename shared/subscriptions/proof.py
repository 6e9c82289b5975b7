"""How the app shows a receiver who it is, beside the signature: what a subscriber asked for."""

from collections.abc import Mapping

from .sender import Answer, Sender
from .subscription import Subscription

__all__ = ["Proofs"]


class Proofs:
    """Adds to a POST what its subscription asks for, and sends it."""

    async def post(self, sender: Sender, subscription: Subscription, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer to a POST."""
        return await sender.post(subscription.url, body, headers)
