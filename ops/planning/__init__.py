"""The capacity planner: from a load to units, instances, settings, the first limit that is met, and what it costs."""

from .command_line import main

__all__ = ["main"]
