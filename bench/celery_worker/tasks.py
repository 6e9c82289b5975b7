"""The same insert as a Celery task, on kombu's transport for Service Bus; runs in an environment of its own.

The transport only takes namespaces of the cloud, so it is told the emulator's addresses here: messages on the AMQP
port, queues made over https on the administration port. Nothing else of it is touched.
"""

import json
import os
from functools import cached_property
from typing import Any

from azure.data.tables import TableClient
from azure.servicebus.management import ServiceBusAdministrationClient
from celery import Celery
from kombu.transport import azureservicebus


class Channel(azureservicebus.Channel):
    def _try_parse_connection_string(self) -> None:
        self._connection_string = os.environ["ServiceBus"]

    @cached_property
    def queue_mgmt_service(self) -> ServiceBusAdministrationClient:
        return ServiceBusAdministrationClient.from_connection_string(os.environ["ServiceBusAdministration"])


azureservicebus.Transport.Channel = Channel

app = Celery("orders", broker="azureservicebus://policy:key@local")
app.conf.task_acks_late = True  # at least once, as the others
app.conf.worker_prefetch_multiplier = 16
app.conf.task_ignore_result = True
app.conf.broker_transport_options = {"wait_time_seconds": 1}
tables: list[TableClient] = []


@app.task
def place(body: str) -> None:
    if not tables:
        tables.append(TableClient.from_connection_string(os.environ["State"], "celery"))
    order: dict[str, Any] = json.loads(body)["data"]
    tables[0].create_entity({"PartitionKey": order["country"], "RowKey": order["orderId"], "value": json.dumps(order)})
