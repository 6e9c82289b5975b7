"""The ordered lane: whose turn it is, parked keys, the messages that wait behind them, and how those are processed."""

from .drain import ParkingDrain
from .parking import Parking
from .rows import delivery_of, waiting_columns
from .turns import OrderedKeys

__all__ = ["OrderedKeys", "Parking", "ParkingDrain", "delivery_of", "waiting_columns"]
