"""One connection string for everything: the AMQP port answers administration clients too."""

from __future__ import annotations

from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.management import ServiceBusAdministrationClient

from integration.broker.process import EmulatorProcess
from integration.broker_admin.certificate import Certificate


def test_messages_and_administration_share_a_port(broker: EmulatorProcess, certificate: Certificate, name: str) -> None:
    trusted = str(certificate.certificate)
    with ServiceBusAdministrationClient.from_connection_string(
        broker.connection_string, connection_verify=trusted
    ) as admin:
        admin.create_queue(name)
        with ServiceBusClient.from_connection_string(broker.connection_string) as client:
            with client.get_queue_sender(name) as sender:
                sender.send_messages(ServiceBusMessage("x"))
            assert admin.get_queue_runtime_properties(name).active_message_count == 1
