"""Query: the read models, how events become rows of them, and how rows are read."""

from .projector import Projector
from .views import Page, ReadModels, ViewRow

__all__ = ["Page", "Projector", "ReadModels", "ViewRow"]
