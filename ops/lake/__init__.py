"""The operator's lake: what is in it, SQL over it, tables as files, and rebuilding."""

from .command_line import main

__all__ = ["main"]
