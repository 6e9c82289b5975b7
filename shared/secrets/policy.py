"""How long a value is used, and how often the vault is asked: all in seconds."""

from dataclasses import dataclass
from math import isfinite

__all__ = ["Policy"]

EXPIRY = 1.25
"""Times the time-to-live after which a value isn't given any more without having asked the vault."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Checked when it is built.

    Parameters
    ----------
    ttl:
        A value is read again at the earliest after this long, be the answer good or bad: so the vault sees at most one
        read per secret and `ttl` from each instance.
    jitter:
        Up to this share of `ttl` is added at random, so that instances don't ask in step. Below 0.25, so that a
        refresh begins ahead of the expiry.
    stale:
        A value is given this long after it was read while the vault fails.
    negative:
        An unknown, disabled, expired or denied secret is asked for again after this long.
    patience:
        The longest that a caller waits whose value has expired and is being read; then it gets the one that is cached.
    timeout:
        The longest that a caller waits who has nothing, and that a read takes.
    first_retry, last_retry:
        The delay between tries for a secret of which nothing is cached begins with the one and doubles up to the other.
    overlap:
        The version before the current one is accepted for this long after the current one was made.
    """

    ttl: float = 300.0
    jitter: float = 0.1
    stale: float = 86_400.0
    negative: float = 15.0
    patience: float = 0.5
    timeout: float = 5.0
    first_retry: float = 1.0
    last_retry: float = 30.0
    overlap: float = 604_800.0

    def __post_init__(self) -> None:
        for name in ("ttl", "stale", "negative", "patience", "timeout", "first_retry", "last_retry", "overlap"):
            value = getattr(self, name)
            if isinstance(value, bool) or not (isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}, must be above 0")
        if not 0 <= self.jitter < EXPIRY - 1:
            raise ValueError(f"jitter is {self.jitter}, must be 0 or more and below {EXPIRY - 1}")
        if self.stale < self.ttl:
            raise ValueError(f"stale {self.stale} is below ttl {self.ttl}")
        if self.last_retry < self.first_retry:
            raise ValueError(f"last_retry {self.last_retry} is below first_retry {self.first_retry}")

    @property
    def refresh_period(self) -> float:
        """No caller is given an older value without the vault having been asked."""
        return EXPIRY * self.ttl

    @property
    def settling(self) -> float:
        """After this long every instance that can reach the vault knows a new version.

        Two seconds are for the vault's clock, which tells whole seconds, and for differences between clocks.
        """
        return self.refresh_period + self.timeout + 2.0
