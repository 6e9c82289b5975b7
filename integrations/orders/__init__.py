"""Orders and credit notes of a shop, on their way to the warehouse, and the parcels that a carrier takes."""

from .handlers import orders
from .lake import daily_sales
from .shipping import shipping

__all__ = ["daily_sales", "orders", "shipping"]
