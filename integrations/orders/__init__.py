"""Orders and credit notes of a shop, on their way to the warehouse, and the parcels that a carrier takes."""

from . import lake
from .handlers import orders
from .shipping import shipping

__all__ = ["lake", "orders", "shipping"]
