"""Which listener serves which trigger."""

from local.host.blobs.listener import BlobListener
from local.host.eventgrid.listener import EventGridListener
from local.host.eventhubs.listener import EventHubListener
from local.host.functions import Function
from local.host.listener import Listener, Services
from local.host.servicebus.listener import ServiceBusListener
from local.host.timers.listener import TimerListener

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
        case "serviceBusTrigger":
            return ServiceBusListener(function, services)
        case "eventHubTrigger":
            return EventHubListener(function, services)
        case "timerTrigger":
            return TimerListener(function, services)
        case "eventGridTrigger":
            return EventGridListener(function, services)
        case "blobTrigger":
            return BlobListener(function, services)
    raise NotImplementedError(function.trigger_type)
