"""Health: liveness, and readiness from what a monitor finds of every dependency."""

from .check import Check, Degraded, Probe
from .component import Component, Status, overall
from .draining import on_terminate
from .monitor import Monitor
from .objectives import Objectives
from .readiness import VERSION, Health, Identity
from .reports import Reports

__all__ = [
    "VERSION",
    "Check",
    "Component",
    "Degraded",
    "Health",
    "Identity",
    "Monitor",
    "Objectives",
    "Probe",
    "Reports",
    "Status",
    "on_terminate",
    "overall",
]
