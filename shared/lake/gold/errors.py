"""What is wrong with a gold table beside what the Delta library and its store say: its declaration."""

from shared.lake.tables import LakeError

__all__ = ["WrongGold"]


class WrongGold(LakeError):
    """Its SQL, its function or its sources don't fit what is declared: it fails until somebody changes them.

    The text holds no data: an error about a value is only named.
    """
