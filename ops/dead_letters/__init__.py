"""Dead letters at an operator's hands: look at them, play them again, settle them for good."""

from .command_line import main, redrive_of

__all__ = ["main", "redrive_of"]
