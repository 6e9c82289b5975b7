"""Orders and credit notes of a shop, on their way to the warehouse."""

from .handlers import orders

__all__ = ["orders"]
