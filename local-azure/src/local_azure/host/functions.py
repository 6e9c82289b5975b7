"""What the host knows about one function of the app, once it has been read and checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

__all__ = ["Function", "Parameter", "RetryPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One bound parameter, or the return value under the name `$return`.

    `converter` is the binding type whose converter applies, or `generic` for a parameter annotated with
    `str` or `bytes`; `binding` holds the decorator's values under their function.json names.
    """

    name: str
    converter: str
    annotation: Any
    binding: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """A retry policy of the platform. `max_retry_count` -1 retries for ever."""

    strategy: Literal["fixed_delay", "exponential_backoff"]
    max_retry_count: int
    delay: timedelta = timedelta(0)
    minimum: timedelta = timedelta(0)
    maximum: timedelta = timedelta(0)

    def delay_before(self, attempt: int) -> float:
        """Seconds to wait before a retry, the first being attempt 1.

        Exponential backoff doubles from the minimum interval up to the maximum.
        """
        if self.strategy == "fixed_delay":
            return self.delay.total_seconds()
        low, high = self.minimum.total_seconds(), self.maximum.total_seconds()
        return min(high, low * 2.0 ** min(attempt - 1, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function: what is called, what starts it, what it may give back."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    wants_context: bool
    directory: str
    trigger: Parameter
    outputs: tuple[Parameter, ...] = ()
    returns: Parameter | None = None
    retry: RetryPolicy | None = None
    streams_http: bool = False

    @property
    def trigger_type(self) -> str:
        """The trigger's type in function.json, such as `serviceBusTrigger`."""
        return str(self.trigger.binding["type"])

    def setting(self, name: str, default: str = "") -> str:
        """A text value of the trigger's binding, such as `queueName`."""
        value = self.trigger.binding.get(name)
        return default if value is None else str(value)

    @property
    def is_batch(self) -> bool:
        """Whether the function takes many messages at once. The host's own default is one."""
        return self.setting("cardinality", "one").lower() == "many"
