"""Queues through the official administration client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio.management import ServiceBusAdministrationClient as AsyncAdministrationClient
from azure.servicebus.management import (
    AccessRights,
    ApiVersion,
    AuthorizationRule,
    EntityStatus,
    ServiceBusAdministrationClient,
)

from integration.broker_admin.certificate import Certificate


def test_a_new_queue_has_the_defaults_of_the_service(admin: ServiceBusAdministrationClient, name: str) -> None:
    queue = admin.create_queue(name)
    assert queue.name == name
    assert queue.lock_duration == timedelta(minutes=1)
    assert queue.max_delivery_count == 10
    assert queue.duplicate_detection_history_time_window == timedelta(minutes=10)
    assert isinstance(queue.default_message_time_to_live, timedelta)
    assert queue.default_message_time_to_live > timedelta(days=10_000_000)
    assert queue.status == EntityStatus.ACTIVE
    assert queue.enable_batched_operations
    assert not queue.requires_session
    assert queue.forward_to is None


def test_a_queue_keeps_what_it_was_given(admin: ServiceBusAdministrationClient, name: str) -> None:
    target = f"{name}/target"
    admin.create_queue(target)
    admin.create_queue(
        name,
        lock_duration="PT45S",
        max_delivery_count=3,
        default_message_time_to_live=timedelta(hours=2, seconds=1.5),
        dead_lettering_on_message_expiration=True,
        requires_duplicate_detection=True,
        duplicate_detection_history_time_window=timedelta(minutes=1),
        auto_delete_on_idle=timedelta(days=1),
        max_size_in_megabytes=2048,
        forward_dead_lettered_messages_to=target,
        user_metadata="<tag> & ümläut",
        max_message_size_in_kilobytes=1024,
    )
    queue = admin.get_queue(name.upper())
    assert queue.lock_duration == timedelta(seconds=45)
    assert queue.max_delivery_count == 3
    assert queue.default_message_time_to_live == timedelta(hours=2, seconds=1.5)
    assert queue.dead_lettering_on_message_expiration
    assert queue.requires_duplicate_detection
    assert queue.duplicate_detection_history_time_window == timedelta(minutes=1)
    assert queue.auto_delete_on_idle == timedelta(days=1)
    assert queue.max_size_in_megabytes == 2048
    assert queue.forward_dead_lettered_messages_to is not None
    assert queue.forward_dead_lettered_messages_to.endswith("/" + target)
    assert queue.user_metadata == "<tag> & ümläut"
    assert queue.max_message_size_in_kilobytes == 1024


def test_a_queue_can_be_changed_and_deleted(admin: ServiceBusAdministrationClient, name: str) -> None:
    queue = admin.create_queue(name, user_metadata="old")
    queue.max_delivery_count = 5
    queue.status = EntityStatus.SEND_DISABLED
    admin.update_queue(queue, user_metadata="new")
    changed = admin.get_queue(name)
    assert (changed.max_delivery_count, changed.status, changed.user_metadata) == (5, "SendDisabled", "new")
    admin.delete_queue(name)
    with pytest.raises(ResourceNotFoundError):
        admin.get_queue(name)


def test_refusals_are_the_exceptions_of_the_sdk(admin: ServiceBusAdministrationClient, name: str) -> None:
    queue = admin.create_queue(name)
    with pytest.raises(ResourceExistsError):
        admin.create_queue(name.upper())
    with pytest.raises(ResourceExistsError):
        admin.create_topic(name)
    with pytest.raises(ResourceNotFoundError):
        admin.delete_queue(name + "-missing")
    with pytest.raises(ResourceNotFoundError):
        admin.get_queue_runtime_properties(name + "-missing")
    queue.name = name + "-missing"
    with pytest.raises(ResourceNotFoundError):
        admin.update_queue(queue)


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"lock_duration": timedelta(minutes=6)}, "LockDuration"),
        ({"max_delivery_count": 0}, "MaxDeliveryCount"),
        ({"forward_to": "no-such-entity"}, "does not exist"),
        ({"default_message_time_to_live": timedelta(0)}, "DefaultMessageTimeToLive"),
    ],
)
def test_a_wrong_queue_is_refused_with_the_reason(
    admin: ServiceBusAdministrationClient, name: str, properties: dict[str, object], problem: str
) -> None:
    with pytest.raises(HttpResponseError, match=problem) as caught:
        admin.create_queue(name, **properties)  # type: ignore[arg-type]
    assert caught.value.status_code == 400
    with pytest.raises(ResourceNotFoundError):
        admin.get_queue(name)


def test_sessions_cannot_be_turned_on_later(admin: ServiceBusAdministrationClient, name: str) -> None:
    queue = admin.create_queue(name)
    with pytest.raises(HttpResponseError) as caught:
        admin.update_queue(queue, requires_session=True)
    assert caught.value.status_code == 400
    assert not admin.get_queue(name).requires_session


def test_a_forwarding_cycle_is_refused(admin: ServiceBusAdministrationClient, name: str) -> None:
    first = admin.create_queue(f"{name}-a")
    admin.create_queue(f"{name}-b", forward_to=f"{name}-a")
    with pytest.raises(HttpResponseError, match="lead back"):
        admin.update_queue(first, forward_to=f"{name}-b")


def test_lists_come_in_pages(admin: ServiceBusAdministrationClient, name: str) -> None:
    made = {f"{name}-{number:03}" for number in range(120)}
    for each in made:
        admin.create_queue(each)
    assert {queue.name for queue in admin.list_queues()} >= made
    assert {queue.name for queue in admin.list_queues_runtime_properties(max_page_size=7)} >= made
    names = [queue.name for queue in admin.list_queues(start_index=1)]
    assert len(names) == len(list(admin.list_queues())) - 1
    for each in made:
        admin.delete_queue(each)
    assert not {queue.name for queue in admin.list_queues()} & made


def test_counts_follow_the_messages(admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    admin.create_queue(name)
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name, max_wait_time=5) as receiver:
        sender.send_messages([ServiceBusMessage(f"m{number}") for number in range(4)])
        sender.schedule_messages(ServiceBusMessage("later"), datetime.now(UTC) + timedelta(hours=1))
        first, second, _ = receiver.receive_messages(max_message_count=3, max_wait_time=5)
        receiver.dead_letter_message(first, reason="test")
        receiver.complete_message(second)
    counts = admin.get_queue_runtime_properties(name)
    assert counts.active_message_count == 2
    assert counts.dead_letter_message_count == 1
    assert counts.scheduled_message_count == 1
    assert counts.transfer_message_count == 0
    assert counts.total_message_count == 4
    assert counts.size_in_bytes
    for time in (counts.created_at_utc, counts.updated_at_utc, counts.accessed_at_utc):
        assert time is not None
        assert time >= before


def test_a_disabled_queue_takes_no_messages(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, name: str
) -> None:
    queue = admin.create_queue(name)
    admin.update_queue(queue, status=EntityStatus.SEND_DISABLED)
    with pytest.raises(Exception, match=r"(?i)disabled"), client.get_queue_sender(name) as sender:
        sender.send_messages(ServiceBusMessage("no"))


def test_the_namespace_tells_its_name(admin: ServiceBusAdministrationClient) -> None:
    properties = admin.get_namespace_properties()
    assert properties.name
    assert properties.messaging_sku == "Standard"


def test_the_older_api_version_is_understood(admin_connection_string: str, certificate: Certificate, name: str) -> None:
    with ServiceBusAdministrationClient.from_connection_string(
        admin_connection_string, api_version=ApiVersion.V2017_04, connection_verify=str(certificate.certificate)
    ) as admin:
        admin.create_queue(name)
        assert name in [queue.name for queue in admin.list_queues()]


async def test_the_asynchronous_client_speaks_the_same(
    admin_connection_string: str, certificate: Certificate, name: str
) -> None:
    async with AsyncAdministrationClient.from_connection_string(
        admin_connection_string, connection_verify=str(certificate.certificate)
    ) as admin:
        queue = await admin.create_queue(name)
        queue.max_delivery_count = 7
        await admin.update_queue(queue)
        assert (await admin.get_queue(name)).max_delivery_count == 7
        assert (await admin.get_queue_runtime_properties(name)).total_message_count == 0
        assert name in [queue.name async for queue in admin.list_queues()]
        await admin.delete_queue(name)
        with pytest.raises(ResourceNotFoundError):
            await admin.get_queue(name)


def test_authorization_rules_are_kept_and_returned(admin: ServiceBusAdministrationClient, name: str) -> None:
    """With their rights and keys, of queues and topics; an update replaces them."""
    rules = [
        AuthorizationRule(
            type="SharedAccessAuthorizationRule",
            claim_type="SharedAccessKey",
            claim_value="None",
            rights=[AccessRights.SEND],
            key_name="sender",
            primary_key="cHJpbWFyeQ==",
            secondary_key="c2Vjb25kYXJ5",
        ),
        AuthorizationRule(
            type="SharedAccessAuthorizationRule",
            rights=[AccessRights.MANAGE, AccessRights.SEND, AccessRights.LISTEN],
            key_name="owner",
            primary_key="b3duZXI=",
        ),
    ]
    admin.create_queue(name, authorization_rules=rules)
    admin.create_topic(f"{name}-topic", authorization_rules=rules[:1])
    kept = admin.get_queue(name).authorization_rules
    assert kept is not None
    first, second = kept
    assert (first.type, first.claim_type, first.claim_value) == (
        "SharedAccessAuthorizationRule",
        "SharedAccessKey",
        "None",
    )
    assert (first.key_name, first.primary_key, first.secondary_key) == ("sender", "cHJpbWFyeQ==", "c2Vjb25kYXJ5")
    assert first.rights == [AccessRights.SEND]
    assert first.created_at_utc is not None
    assert second.rights == [AccessRights.MANAGE, AccessRights.SEND, AccessRights.LISTEN]
    topic_rules = admin.get_topic(f"{name}-topic").authorization_rules
    assert topic_rules is not None
    assert [rule.key_name for rule in topic_rules] == ["sender"]
    changed = admin.get_queue(name)
    changed.max_delivery_count = 3
    admin.update_queue(changed)
    assert len(admin.get_queue(name).authorization_rules or []) == 2
    changed.authorization_rules = kept[1:]
    admin.update_queue(changed)
    assert [rule.key_name for rule in admin.get_queue(name).authorization_rules or []] == ["owner"]


def test_authorization_rules_that_the_service_refuses(admin: ServiceBusAdministrationClient, name: str) -> None:
    """Manage without Send and Listen, no right at all, and more than twelve."""
    for rule in (AuthorizationRule(key_name="k", rights=[AccessRights.MANAGE]), AuthorizationRule(key_name="k")):
        with pytest.raises(HttpResponseError) as refused:
            admin.create_queue(name, authorization_rules=[rule])
        assert refused.value.status_code == 400
    many = [AuthorizationRule(key_name=f"k{number}", rights=[AccessRights.SEND]) for number in range(13)]
    with pytest.raises(HttpResponseError):
        admin.create_queue(name, authorization_rules=many)
