"""How work enters: one blueprint per family of triggers."""

from .api import api_blueprint
from .dead_letters import dead_letters_blueprint
from .lanes import lanes_blueprint
from .rotation import rotation_blueprint
from .services import Services
from .streams import streams_blueprint
from .timers import timers_blueprint

__all__ = [
    "Services",
    "api_blueprint",
    "dead_letters_blueprint",
    "lanes_blueprint",
    "rotation_blueprint",
    "streams_blueprint",
    "timers_blueprint",
]
