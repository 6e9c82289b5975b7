"""What is wrong with a pause.

PauseError
├── UnknownName
├── NotPaused
└── TooManyPauses
"""

__all__ = ["NotPaused", "PauseError", "TooManyPauses", "UnknownName"]


class PauseError(ValueError):
    """A pause can't be begun or ended; the message says why, and what there is."""


class UnknownName(PauseError):
    """Nothing that could be paused has this name."""


class NotPaused(PauseError):
    """There is no such pause to end."""


class TooManyPauses(PauseError):
    """One row keeps all pauses, so that every instance reads them in one request."""
