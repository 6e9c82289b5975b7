"""The ordered lane: parked keys, and the messages that wait behind them for their turn."""

from .parking import Parking
from .rows import ParkedKey, Turn, delivery_of, waiting_columns

__all__ = ["ParkedKey", "Parking", "Turn", "delivery_of", "waiting_columns"]
