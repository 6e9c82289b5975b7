"""The demonstration: orders from a file or a seed, replayed through the API and reconciled from the stores."""

from local.demo.demonstration import DemoFailed, DemoOptions, load_invoices, run_demo
from local.demo.target import Target

__all__ = ["DemoFailed", "DemoOptions", "Target", "load_invoices", "run_demo"]
