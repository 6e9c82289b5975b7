"""Webhooks: what others tell, by a route of its own for each source."""

from functions.webhooks import Webhooks
from shared.authentication import Fetcher
from shared.environment import WrongSettings
from shared.secrets import SecretCache, UnknownSecret

from .capability import Capability
from .claims import CLAIMS
from .composition import Composition
from .declaring import ROUTES, Access, Need, Vault
from .ingestion import intake
from .secrets import secret_cache
from .sending import to_lanes

__all__ = ["capability", "webhooks"]


def fetcher(composition: Composition) -> Fetcher:
    """Gets the certificates of senders that name them by their address."""
    return composition.closing(Fetcher())


def webhooks(composition: Composition) -> Webhooks:
    """The endpoints of the sources of all integrations."""
    settings = composition.settings

    async def fetch(url: str) -> bytes:
        return await composition.get(fetcher)(url)

    def secrets() -> SecretCache:
        try:
            return composition.get(secret_cache)
        except WrongSettings:  # senders repeat it until there is one
            raise UnknownSecret("webhook", "the app has no key vault: set KeyVault__vaultUri") from None

    return Webhooks(
        composition.registry,
        lambda: composition.get(intake),
        secrets,
        fetch,
        max_body=settings.max_body_bytes,
        public_url=settings.public_url,
        now=composition.now,
    )


def capability(composition: Composition) -> Capability:
    """Routes for the sources of all integrations; none without sources."""
    routes = composition.get(webhooks).routes()
    if not routes:
        return Capability(name="webhooks")
    return Capability(
        name="webhooks",
        routes=routes,
        needs=[
            *to_lanes("Webhooks are put here, by their lane."),
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps large webhooks before they are answered.", by=[ROUTES]),
            Need(access=Access.SECRETS, to=Vault(), why="Reads the secrets that senders sign with.", by=[ROUTES]),
        ],
    )
