"""The HTTP side of the emulator: the management API that Service Bus SDKs speak, and the status page.

`AdminApi` answers requests without any I/O of its own; `start_admin` serves it, and the status page, on a port.
"""

from local_azure.broker.admin.api import AdminApi, AdminRequest, AdminResponse
from local_azure.broker.admin.server import AdminServer, start_admin

__all__ = ["AdminApi", "AdminRequest", "AdminResponse", "AdminServer", "start_admin"]
