"""Readers at the edge: each turns one source into facts."""

from local.doctor.readers.project import CannotExamine, read_app, read_facts

__all__ = ["CannotExamine", "read_app", "read_facts"]
