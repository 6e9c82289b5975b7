"""Why a signature doesn't count."""

__all__ = ["SignatureRefused"]


class SignatureRefused(Exception):
    """A request isn't signed as it must be. The text is for the log: a stranger learns nothing of it."""
