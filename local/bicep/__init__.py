"""Bicep, read and worked out: what a template would deploy with given parameters, without a compiler or a network."""

from .deployment import Deployment, Module, deploy
from .errors import BicepError
from .parameters import read_parameters
from .syntax import Declaration, Document, read
from .values import Resource, Symbolic

__all__ = [
    "BicepError",
    "Declaration",
    "Deployment",
    "Document",
    "Module",
    "Resource",
    "Symbolic",
    "deploy",
    "read",
    "read_parameters",
]
