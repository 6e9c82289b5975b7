"""Gold: tables of aggregates that are computed from silver, as far as silver has changed."""

from .errors import WrongGold
from .refreshing import GoldTable, Place, Refreshed

__all__ = ["GoldTable", "Place", "Refreshed", "WrongGold"]
