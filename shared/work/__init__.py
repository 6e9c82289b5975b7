"""Work: what a handler gets beside its model, the unit of work that is committed in one transaction or not at all."""

from .work import Aggregate, LoadRows, Secrets, Work

__all__ = ["Aggregate", "LoadRows", "Secrets", "Work"]
