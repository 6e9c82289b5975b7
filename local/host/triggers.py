"""Which listener serves which trigger."""

from local.host.functions import Function
from local.host.listener import Listener, Services

__all__ = ["make_listener"]


def make_listener(function: Function, services: Services) -> Listener | None:
    """The listener of a function; None for HTTP, which the server itself serves.

    Raises
    ------
    SettingError
        A connection that the trigger needs is missing.
    """
    match function.trigger_type:
        case "httpTrigger":
            return None
    raise NotImplementedError(function.trigger_type)
