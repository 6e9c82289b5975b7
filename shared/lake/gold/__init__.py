"""Gold: tables of aggregates that are computed from silver, as far as silver has changed."""

from .errors import GoldConflict, GoldError, WrongGold
from .refreshing import GoldTable, Refreshed

__all__ = ["GoldConflict", "GoldError", "GoldTable", "Refreshed", "WrongGold"]
