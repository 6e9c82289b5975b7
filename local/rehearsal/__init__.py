"""`dev.py rehearse`: a deployment played against a stand-in of Azure, before Azure sees it."""

from .playing import play
from .rows import Row, Told
from .rules import OWN_RULES, Rules, read_rules
from .state import State, read_state

__all__ = ["OWN_RULES", "Row", "Rules", "State", "Told", "play", "read_rules", "read_state"]
