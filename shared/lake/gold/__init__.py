"""Gold: tables of aggregates that are computed from silver, as far as silver has changed."""

from .errors import WrongGold
from .refreshing import GoldTable, Refreshed

__all__ = ["GoldTable", "Refreshed", "WrongGold"]
