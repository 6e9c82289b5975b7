"""Query: the read models and how facts become rows."""

from .projector import Projector, StreamEvent
from .views import ReadModels, ViewRow

__all__ = ["Projector", "ReadModels", "StreamEvent", "ViewRow"]
