"""Health: liveness and readiness."""

from .checks import Health, Probe

__all__ = ["Health", "Probe"]
