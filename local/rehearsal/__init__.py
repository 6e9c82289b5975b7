"""`dev.py rehearse`: a deployment played against a stand-in of Azure, before Azure sees it."""

from .playing import play
from .rows import Finding, Row
from .rules import OWN_RULES, Rules, read_rules
from .state import State, read_state

__all__ = ["OWN_RULES", "Finding", "Row", "Rules", "State", "play", "read_rules", "read_state"]
