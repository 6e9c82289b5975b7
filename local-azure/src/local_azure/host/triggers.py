"""Which listener serves which trigger. Each is imported only where it is used: the SDKs are slow to load."""

from local_azure.host.functions import Function
from local_azure.host.listener import Listener, Services

__all__ = ["make_listener"]


def make_listener(function: Function, services: Services) -> Listener | None:
    """The listener of a function; None for HTTP, which the server itself serves.

    Raises
    ------
    HostError
        A connection that the trigger needs is missing, or its schedule or path is wrong.
    """
    match function.trigger_type:
        case "httpTrigger":
            return None
        case "serviceBusTrigger":
            from local_azure.host.servicebus.listener import ServiceBusListener

            return ServiceBusListener(function, services)
        case "eventHubTrigger":
            from local_azure.host.eventhubs.listener import EventHubListener

            return EventHubListener(function, services)
        case "timerTrigger":
            from local_azure.host.timers.listener import TimerListener

            return TimerListener(function, services)
        case "eventGridTrigger":
            from local_azure.host.eventgrid.listener import EventGridListener

            return EventGridListener(function, services)
        case "blobTrigger":
            from local_azure.host.blobs.listener import BlobListener

            return BlobListener(function, services)
    raise NotImplementedError(function.trigger_type)
