"""Fuzz: hostile input made from a seed, sent to the running app; each case can be repeated by its number."""

from .report import Case, Kind, Options, Report

__all__ = ["Case", "Kind", "Options", "Report"]
