"""The one error of this package."""

__all__ = ["PackageError"]


class PackageError(Exception):
    """No package was written; the message is one sentence that says why and what to do."""
