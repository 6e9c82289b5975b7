"""Mutation tests (`dev.py check --mutation`): whether a package's own tests notice that its code does another thing."""

from .report import Equivalent, Mutant, Report
from .targets import TARGETS, Target

__all__ = ["TARGETS", "Equivalent", "Mutant", "Report", "Target"]
