"""Query: the read models and how facts become rows."""

from .projector import Projector, StreamEvent
from .views import Page, ReadModels, ViewRow

__all__ = ["Page", "Projector", "ReadModels", "StreamEvent", "ViewRow"]
