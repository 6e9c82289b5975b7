"""Every partner of the app: its clients, made when they are first called, and closed with the app."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping

from .authenticators import Authenticators, Means, Secrets
from .calls import Calls
from .client import Client
from .guard import Caller, Guard, Surroundings
from .kept_answers import KeptAnswers
from .partner import Partner, Target, has_address
from .sessions import Connection, Session

__all__ = ["Partners"]


class Partners:
    """The clients of this process, one for each partner.

    Parameters
    ----------
    declared:
        The partners of the app.
    urls:
        Name → base URL of this stage, in place of the one that is declared; a target's name is `partner.target`.
    secrets, identity:
        What authentication needs: see `Means`.
    connect:
        What is called in place of the partners, without address and proofs: for tests.
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
        secrets: Secrets | None = None,
        identity: Callable[[str], Awaitable[tuple[str, float]]] | None = None,
        connect: Callable[[Partner], Connection] | None = None,
        around: Surroundings,
    ) -> None:
        self._declared = frozenset(declared)
        self._urls = dict(urls)
        self._proxies = proxies
        self._answers = answers
        self._secrets = secrets
        self._identity = identity
        self._connect = connect
        self._around = around
        self._clients: dict[tuple[Partner, Target | None], Client] = {}

    def calls(
        self,
        partner: Partner,
        caller: Caller,
        numbers: Counter[str],
        *,
        region: str | None = None,
        tier: str | None = None,
        customer: str | None = None,
    ) -> Calls:
        """Calls to a partner for one message, at the target for a region, tier or customer.

        Raises
        ------
        UnknownTarget
            The partner has none for them.
        LookupError
            Nobody declares the partner, or nobody says where it is.
        """
        target = partner.target(region=region, tier=tier, customer=customer)
        client = self._clients.get((partner, target))
        if client is None:
            client = self._clients[partner, target] = self._made(partner, target)
        return Calls(client, caller, self._answers, numbers)

    def knows(self, partner: Partner) -> bool:
        """Whether the partner, or one of its targets, has an address on this stage."""
        return self._connect is not None or has_address(partner, self._urls)

    def _made(self, partner: Partner, target: Target | None) -> Client:
        if partner not in self._declared:
            raise LookupError(f"the partner {partner.name} isn't declared at the top level of an integration's module")
        name, auth = partner.name, partner.authentication
        url = partner.base_url
        if target is not None:
            name, url = f"{name}.{target.name}", target.base_url or url
            auth = auth if target.auth is None else target.auth
        url = self._urls.get(name) or url
        if self._connect is None and not url:
            raise LookupError(f"nobody says where {name} is: name it in SLUICE_PARTNER_URLS")

        def session(base_url: str) -> Session:
            return Session(partner, base_url, proxies=self._proxies, clock=self._around.clock)

        means = Means(
            secrets=self._secrets,
            identity=self._identity,
            session=session,
            clock=self._around.clock,
            now=self._around.now,
        )
        breaker, limit = partner.breaker, partner.limit
        if target is not None:
            breaker, limit = target.breaker or breaker, target.limit or limit
        base_url = (url or f"https://{name}").rstrip("/")
        guard = Guard(partner, name, breaker=breaker, limit=limit, around=self._around)
        return Client(
            partner,
            guard,
            session(base_url) if self._connect is None else self._connect(partner),
            Authenticators(
                partner.name,
                auth if self._connect is None else (),
                means,
                guarded=guard.beside,
                base_url=base_url,
                key_header=partner.idempotency_header,
            ),
            self._around,
            base_url=base_url,
        )

    async def close(self) -> None:
        """Close every connection."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()
