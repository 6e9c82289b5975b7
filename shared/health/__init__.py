"""Health: liveness and readiness."""

from .checks import Health

__all__ = ["Health"]
