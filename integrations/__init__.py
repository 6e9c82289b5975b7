"""The business: one module or package per integration. Add yours here; nothing else changes."""
