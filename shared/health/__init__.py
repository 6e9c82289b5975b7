"""Health: liveness and readiness."""

from .checks import Degraded, Health, Probe

__all__ = ["Degraded", "Health", "Probe"]
