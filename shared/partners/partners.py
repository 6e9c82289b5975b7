"""Every partner of the app: its clients, made when they are first called, and closed with the app."""

from collections import Counter
from collections.abc import Iterable, Mapping

from .calls import Calls
from .client import Caller, Client, Surroundings
from .kept_answers import KeptAnswers
from .partner import Partner
from .sessions import Session

__all__ = ["Partners"]


class Partners:
    """The clients of this process, one for each partner.

    Parameters
    ----------
    declared:
        The partners of the app.
    urls:
        Name → base URL of this stage, in place of the one that the partner declares.
    proxies:
        Whether the environment's proxies are used.
    answers:
        Where answers are written down; without it `once=True` is refused.
    """

    def __init__(
        self,
        declared: Iterable[Partner],
        *,
        urls: Mapping[str, str],
        proxies: bool = False,
        answers: KeptAnswers | None = None,
        around: Surroundings,
    ) -> None:
        self._declared = frozenset(declared)
        self._urls = dict(urls)
        self._proxies = proxies
        self._answers = answers
        self._around = around
        self._clients: dict[Partner, Client] = {}

    def calls(self, partner: Partner, caller: Caller, numbers: Counter[str]) -> Calls:
        """Calls to a partner for one message.

        Raises
        ------
        LookupError
            Nobody declares the partner, or nobody says where it is.
        """
        client = self._clients.get(partner)
        if client is None:
            client = self._clients[partner] = self._made(partner)
        return Calls(client, caller, self._answers, numbers)

    def _made(self, partner: Partner) -> Client:
        if partner not in self._declared:
            raise LookupError(f"the partner {partner.name} isn't declared at the top level of an integration's module")
        url = self._urls.get(partner.name) or partner.base_url
        if not url:
            raise LookupError(f"nobody says where {partner.name} is: name it in SLUICE_PARTNER_URLS")
        session = Session(partner, url.rstrip("/"), proxies=self._proxies, clock=self._around.clock)
        return Client(partner, session, self._around)

    async def close(self) -> None:
        """Close every connection."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()
