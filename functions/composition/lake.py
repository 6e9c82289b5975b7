"""The lake: its containers, and the store of its tables, which bronze, silver and gold share."""

from shared.environment import WrongSettings
from shared.lake.settings import LakeSettings
from shared.lake.tables import LakeStore

from .capability import Capability
from .composition import Composition
from .declaring import LakeContainer
from .platform import platform

__all__ = ["BRONZE", "TABLES", "capability", "lake_store"]

BRONZE = LakeContainer(name="%SLUICE_BRONZE_CONTAINER%")
TABLES = LakeContainer(name="%SLUICE_LAKE_CONTAINER%")


def lake_store(composition: Composition) -> LakeStore:
    """The Delta tables.

    Raises
    ------
    WrongSettings
        There is no lake, or its connection string can't be read.
    """
    try:
        options = composition.get(platform).lake_options()
    except (LookupError, ValueError) as error:
        raise WrongSettings(f"Wrong settings: Lake: {error}") from None
    store = LakeStore(f"az://{composition.settings.lake_container}", options)

    async def close() -> None:
        store.close()

    composition.on_close(close)
    return store


def capability(composition: Composition) -> Capability:
    """The containers; who writes and reads them says so itself, where the settings name a lake."""
    if composition.settings.lake is None:
        return Capability(name="lake", settings=LakeSettings.variables())
    composition.get(lake_store)  # a connection that can't be read stops the start
    return Capability(name="lake", resources=[BRONZE, TABLES], settings=LakeSettings.variables())
