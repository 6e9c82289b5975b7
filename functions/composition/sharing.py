"""Sharing: tables of the lake by the Delta Sharing protocol, and the tokens of recipients that open them."""

from functions.sharing import SharingEndpoints
from shared.blobs import LentKey, ReadLinks
from shared.sharing import PREFIX, AzureLakeFiles, ShareTokens, SharingServer
from shared.sharing.settings import SharingSettings

from .capability import Capability, Command
from .composition import Composition
from .datasets import column_levels
from .declaring import ROUTES, Access, LakeAccount, Need
from .lake import TABLES, lake_store
from .platform import platform
from .state import STATE

__all__ = ["capability", "share_credentials", "share_tokens", "sharing_server"]


def share_tokens(composition: Composition) -> ShareTokens:
    """Who holds which token."""
    table = composition.get(platform).table(STATE.name)
    made = ShareTokens(table, now=composition.now)
    composition.on_close(table.close)
    return composition.closing(made)


def share_credentials(composition: Composition) -> "tuple[bytes, ShareTokens] | None":
    """How share tokens begin, and who knows them; None where nothing is shared."""
    return (PREFIX.encode(), composition.get(share_tokens)) if composition.settings.shares else None


def sharing_server(composition: Composition) -> SharingServer:
    """Answers what recipients ask of tables."""
    settings, clients = composition.settings, composition.get(platform)
    by_identity = settings.lake is not None and settings.lake.connection_string is None
    container = clients.lake_container(settings.lake_container)
    links = ReadLinks(container, LentKey(clients.lake_service) if by_identity else None)
    lake = AzureLakeFiles(composition.get(lake_store), container, links, now=composition.now)
    composition.on_close(lake.close)
    return SharingServer(
        lake,
        levels=composition.get(column_levels),
        link_seconds=settings.share_link_seconds,
        now=composition.now,
    )


def capability(composition: Composition) -> Capability:
    """Routes, which no token opens where nothing is shared, and the operator's command."""
    shares = composition.settings.shares
    endpoints = SharingEndpoints(shares, lambda: composition.get(sharing_server), now=composition.now)
    needs = [
        Need(access=Access.READ, to=TABLES, why="Reads the logs of shared tables.", by=[ROUTES], when="SLUICE_SHARES"),
        Need(
            access=Access.DELEGATE,
            to=LakeAccount(),
            why="Signs links with which recipients read the files of shared tables.",
            by=[ROUTES],
            when="SLUICE_SHARES",
        ),
        Need(access=Access.READ, to=STATE, why="Knows the share tokens and which were withdrawn.", by=[ROUTES]),
    ]
    return Capability(
        name="sharing",
        routes=endpoints.routes(),
        commands=[
            Command(name="shares", summary="list what is shared, make and withdraw share tokens", module="ops.shares")
        ],
        needs=needs if composition.settings.lake is not None else [],
        settings=SharingSettings.variables(),
    )
