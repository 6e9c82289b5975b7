"""Query: the read models, how events become rows of them, and how rows are read."""

from .projector import Projector
from .reader import MaskedPage, ViewReader, findable
from .views import Page, ReadModels, ViewRow

__all__ = ["MaskedPage", "Page", "Projector", "ReadModels", "ViewReader", "ViewRow", "findable"]
