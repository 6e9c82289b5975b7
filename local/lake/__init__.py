"""The operators' `lake` on a laptop: also of a stack that has ended, whose stores it starts for as long as it takes."""

from .stores import running_stores

__all__ = ["running_stores"]
