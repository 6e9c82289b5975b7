"""Query: the read models, how events become rows of them, and how rows are read."""

from .projector import Projector
from .reader import ViewReader, findable
from .views import ReadModels, ViewRow

__all__ = ["Projector", "ReadModels", "ViewReader", "ViewRow", "findable"]
