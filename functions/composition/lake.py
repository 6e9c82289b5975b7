"""The lake: its account and containers, which bronze, silver and gold share."""

from shared.environment import WrongSettings
from shared.lake import LakeAccount
from shared.lake.settings import LakeSettings

from .capability import Capability
from .composition import Composition
from .declaring import LakeContainer

__all__ = ["BRONZE", "TABLES", "capability", "lake_account"]

BRONZE = LakeContainer(name="%SLUICE_BRONZE_CONTAINER%")
TABLES = LakeContainer(name="%SLUICE_LAKE_CONTAINER%")


def lake_account(composition: Composition) -> LakeAccount:
    """Where the Delta tables are.

    Raises
    ------
    WrongSettings
        There is no lake, or its connection string can't be read.
    """
    settings = composition.settings
    if settings.lake is None:
        raise WrongSettings("Wrong settings: Lake: is missing")
    try:
        return LakeAccount.of(settings.lake, settings.lake_container)
    except ValueError as error:
        raise WrongSettings(f"Wrong settings: Lake: {error}") from None


def capability(composition: Composition) -> Capability:
    """The containers; who writes and reads them says so itself, where the settings name a lake."""
    if composition.settings.lake is None:
        return Capability(name="lake", settings=LakeSettings.variables())
    composition.get(lake_account)  # a connection that can't be read stops the start
    return Capability(name="lake", resources=[BRONZE, TABLES], settings=LakeSettings.variables())
