"""The lake: every event as it came (bronze), typed tables of them (silver), and what is counted from those (gold)."""

from .account import LakeAccount

__all__ = ["LakeAccount"]
