"""What is wrong with a gold table: its declaration, its sources, or what its SQL returns."""

__all__ = ["GoldConflict", "GoldError", "WrongGold"]


class GoldError(Exception):
    """A gold table can't be computed; the message names it, and holds no data."""


class WrongGold(GoldError):
    """Its SQL, its function or its sources don't fit what is declared: it fails until somebody changes them."""


class GoldConflict(GoldError):
    """Somebody else has written the table at the same time; the next run sees what they wrote."""
