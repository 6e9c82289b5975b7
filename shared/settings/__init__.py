"""Settings: the slices of all packages in one model, read once from the environment and validated at start."""

from .model import Settings

__all__ = ["Settings"]
