"""Config.json: the official files are understood, wrong ones get one clear error."""

import contextlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_azure.broker.config import ConfigError, Namespace, parse_config, read_config
from local_azure.broker.entities import CorrelationFilter, FalseFilter, SqlAction, SqlFilter, TrueFilter


def service_bus(queues: Any = (), topics: Any = ()) -> dict[str, Any]:
    namespace = {"Name": "sbemulatorns", "Queues": list(queues), "Topics": list(topics)}
    return {"$schema": "x", "UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "File"}}}


def event_hubs(*entities: Any) -> dict[str, Any]:
    namespace = {"Type": "EventHub", "Name": "emulatorNs1", "Entities": list(entities)}
    return {"UserConfig": {"NamespaceConfig": [namespace], "LoggingConfig": {"Type": "File"}}}


def parse(document: object) -> Namespace:
    return parse_config(json.dumps(document))


def with_rule(**properties: Any) -> dict[str, Any]:
    rule = {"Name": "r", "Properties": properties}
    return service_bus(topics=[{"Name": "t", "Subscriptions": [{"Name": "s", "Rules": [rule]}]}])


QUEUE = "UserConfig.Namespaces[0].Queues[0]"


def test_the_official_service_bus_form_is_understood() -> None:
    namespace = parse(
        service_bus(
            queues=[
                {
                    "Name": "queue.1",
                    "Properties": {
                        "DeadLetteringOnMessageExpiration": True,
                        "DefaultMessageTimeToLive": "PT1H",
                        "DuplicateDetectionHistoryTimeWindow": "PT20S",
                        "ForwardDeadLetteredMessagesTo": "",
                        "ForwardTo": "",
                        "LockDuration": "PT30S",
                        "MaxDeliveryCount": 3,
                        "RequiresDuplicateDetection": True,
                        "RequiresSession": True,
                    },
                }
            ],
            topics=[
                {
                    "Name": "topic.1",
                    "Properties": {"DefaultMessageTimeToLive": "PT1H"},
                    "Subscriptions": [
                        {"Name": "plain"},
                        {
                            "Name": "ruled",
                            "Properties": {"MaxDeliveryCount": 5, "ForwardTo": "queue.1"},
                            "Rules": [
                                {
                                    "Name": "correlated",
                                    "Properties": {
                                        "FilterType": "Correlation",
                                        "CorrelationFilter": {"Label": "subject1", "Properties": {"prop1": 5}},
                                    },
                                },
                                {
                                    "Name": "sql",
                                    "Properties": {
                                        "FilterType": "Sql",
                                        "SqlFilter": {"SqlExpression": "sys.MessageId = '1'"},
                                        "Action": {"SqlExpression": "SET sys.To = 'Entity'"},
                                    },
                                },
                                {"Name": "all", "Properties": {"FilterType": "True"}},
                                {"Name": "none", "Properties": {"FilterType": "FalseFilter"}},
                            ],
                        },
                    ],
                }
            ],
        )
    )
    (queue,) = namespace.queues
    assert queue.name == "queue.1"
    assert queue.lock_duration == timedelta(seconds=30)
    assert queue.requires_session
    assert queue.forward_to is None
    plain, ruled = namespace.subscriptions
    assert [rule.filter for rule in plain.rules] == [TrueFilter()]
    assert ruled.description.topic_name == "topic.1"
    correlated, sql, everything, nothing = ruled.rules
    assert correlated.filter == CorrelationFilter(label="subject1", properties={"prop1": 5})
    assert sql.filter == SqlFilter(expression="sys.MessageId = '1'")
    assert sql.action == SqlAction(expression="SET sys.To = 'Entity'")
    assert (everything.filter, nothing.filter) == (TrueFilter(), FalseFilter())


@pytest.mark.parametrize("count", ["2", 2])
def test_the_official_event_hubs_form_is_understood(count: object) -> None:
    (hub,) = parse(event_hubs({"Name": "eh1", "PartitionCount": count, "ConsumerGroups": [{"Name": "cg1"}]})).event_hubs
    assert (hub.name, hub.partition_count) == ("eh1", 2)
    assert [group.name for group in hub.consumer_groups] == ["$Default", "cg1"]


def test_files_are_joined(tmp_path: Path) -> None:
    first, second = tmp_path / "sb.json", tmp_path / "eh.json"
    first.write_text(json.dumps(service_bus([{"Name": "q"}])), encoding="utf-8-sig")
    second.write_text(json.dumps(event_hubs({"Name": "h", "PartitionCount": 1})))
    namespace = read_config([first, second])
    assert (namespace.queues[0].name, namespace.event_hubs[0].name) == ("q", "h")
    with pytest.raises(ConfigError, match=r"sb\.json: UserConfig\.Namespaces\[0\]\.Queues\[0\]\.Name: \"q\""):
        read_config([first, second, first])


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: the file: .*expected a file that can be read"):
        read_config([tmp_path / "none.json"])


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ([], "", "object"),
        ({}, "UserConfig", "required"),
        ({"UserConfig": {}}, "UserConfig", "Namespaces"),
        ({"UserConfig": {"Namespaces": []}}, "UserConfig.Namespaces", "exactly one"),
        ({"UserConfig": {"Namespaces": {}}}, "UserConfig.Namespaces", "a list"),
        ({"UserConfig": {"Namespaces": [{}]}}, "UserConfig.Namespaces[0].Name", "required"),
        (service_bus([{}]), QUEUE + ".Name", "required"),
        (service_bus(["q"]), QUEUE, "an object"),
        (service_bus([{"Name": 5}]), QUEUE + ".Name", "text"),
        (service_bus([{"Name": "-q"}]), QUEUE + ".Name", "letter or digit"),
        (service_bus([{"Name": "q", "Propertys": {}}]), QUEUE + ".Propertys", "did you mean Properties?"),
        (
            service_bus([{"Name": "q", "Properties": {"lockduration": "PT1M"}}]),
            QUEUE + ".Properties.lockduration",
            "did you mean LockDuration?",
        ),
        (
            service_bus([{"Name": "q", "Properties": {"LockDuration": "1 minute"}}]),
            QUEUE + ".Properties.LockDuration",
            "ISO 8601",
        ),
        (
            service_bus([{"Name": "q", "Properties": {"LockDuration": "PT6M"}}]),
            QUEUE + ".Properties.LockDuration",
            "PT5M",
        ),
        (
            service_bus([{"Name": "q", "Properties": {"MaxDeliveryCount": 0}}]),
            QUEUE + ".Properties.MaxDeliveryCount",
            "1 to 2000",
        ),
        (
            service_bus([{"Name": "q", "Properties": {"RequiresSession": "yes"}}]),
            QUEUE + ".Properties.RequiresSession",
            "true or false",
        ),
        (service_bus([{"Name": "q", "Properties": {"Status": "On"}}]), QUEUE + ".Properties.Status", "Active"),
        (
            service_bus([{"Name": "q", "Properties": {"ForwardTo": "nowhere"}}]),
            QUEUE + ".Properties.ForwardTo",
            "queue or topic",
        ),
        (
            service_bus([{"Name": "q", "Properties": {"ForwardDeadLetteredMessagesTo": "x"}}]),
            QUEUE + ".Properties.ForwardDeadLetteredMessagesTo",
            "queue or topic",
        ),
        (
            service_bus([{"Name": "q", "Properties": {"ForwardTo": "Q"}}]),
            QUEUE + ".Properties.ForwardTo",
            "another entity",
        ),
        (service_bus([{"Name": "q"}, {"Name": "Q"}]), "UserConfig.Namespaces[0].Queues[1].Name", "name of its own"),
        (
            service_bus([{"Name": "a"}], [{"Name": "A"}]),
            "UserConfig.Namespaces[0].Topics[0].Name",
            "name of its own",
        ),
        (
            service_bus(topics=[{"Name": "t", "Subscriptions": [{"Name": "s"}, {"Name": "S"}]}]),
            "UserConfig.Namespaces[0].Topics[0].Subscriptions[1].Name",
            "name of its own",
        ),
        (
            event_hubs({"Name": "h", "PartitionCount": "many"}),
            "UserConfig.NamespaceConfig[0].Entities[0].PartitionCount",
            "whole number",
        ),
        (
            event_hubs({"Name": "h", "PartitionCount": 64}),
            "UserConfig.NamespaceConfig[0].Entities[0].PartitionCount",
            "1 to 32",
        ),
        (
            event_hubs({"Name": "h", "ConsumerGroups": [{"Name": "g"}, {"Name": "G"}]}),
            "UserConfig.NamespaceConfig[0].Entities[0].ConsumerGroups[1].Name",
            "name of its own",
        ),
    ],
)
def test_a_wrong_file_gets_one_error_with_place_and_expectation(document: object, path: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(document)
    assert caught.value.path == path
    assert expected in caught.value.expected
    assert "\n" not in str(caught.value)


def test_the_documentation_shows_files_that_work_and_the_error_that_comes() -> None:
    text = (Path(__file__).parents[4] / "docs" / "emulator.md").read_text(encoding="utf-8")
    files = [parse_config(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert [bool(file.queues) for file in files] == [True, False]
    with pytest.raises(ConfigError) as caught:
        parse(service_bus([{"Name": "q", "Properties": {"LockDuration": "PT6M"}}]))
    assert str(caught.value) in text


RULE = "UserConfig.Namespaces[0].Topics[0].Subscriptions[0].Rules[0]"


@pytest.mark.parametrize(
    ("properties", "path", "expected"),
    [
        ({}, RULE + ".Properties", "FilterType"),
        ({"FilterType": "Xml"}, RULE + ".Properties.FilterType", "Sql, Correlation"),
        ({"FilterType": "Sql"}, RULE + ".Properties.SqlFilter", "FilterType is Sql"),
        (
            {"FilterType": "Sql", "SqlFilter": {"SqlExpression": "a ="}},
            RULE + ".Properties.SqlFilter.SqlExpression",
            "valid SQL",
        ),
        (
            {"FilterType": "True", "Action": {"SqlExpression": "DROP x"}},
            RULE + ".Properties.Action.SqlExpression",
            "valid SQL",
        ),
        (
            {"FilterType": "Correlation", "CorrelationFilter": {}},
            RULE + ".Properties.CorrelationFilter",
            "at least one",
        ),
        (
            {"CorrelationFilter": {"Properties": {"p": []}}},
            RULE + ".Properties.CorrelationFilter.Properties.p",
            "text, a number",
        ),
    ],
)
def test_a_wrong_rule_gets_one_error(properties: dict[str, Any], path: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(with_rule(**properties))
    assert caught.value.path == path
    assert expected in caught.value.expected


def test_a_forwarding_cycle_is_refused_wherever_it_runs() -> None:
    subscription = {"Name": "s", "Properties": {"ForwardTo": "b"}}
    document = service_bus(
        queues=[{"Name": "a", "Properties": {"ForwardTo": "T"}}, {"Name": "b", "Properties": {"ForwardTo": "a"}}],
        topics=[{"Name": "t", "Subscriptions": [subscription]}],
    )
    with pytest.raises(ConfigError, match="does not lead back"):
        parse(document)


def test_a_long_forwarding_chain_is_no_cycle() -> None:
    queues: list[dict[str, Any]] = [{"Name": f"q{i}", "Properties": {"ForwardTo": f"q{i + 1}"}} for i in range(50)]
    assert len(parse(service_bus([*queues, {"Name": "q50"}])).queues) == 51


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "valid JSON"),
        ("{", "line 1 column 2"),
        ('{"UserConfig": {}, "UserConfig": {}}', "each key once"),
        ("[" * 100_000, "reasonable depth"),
        ('{"UserConfig": NaN}', "numbers that JSON knows"),
        ('{"UserConfig": ' + "9" * 5000 + "}", "reasonable depth and numbers"),
    ],
)
def test_malformed_json_gets_one_error(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_config(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["UserConfig", "Namespaces", "Name", "Queues", "Topics", "Properties", "Rules", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_namespace_or_the_one_error(value: object) -> None:
    for document in (value, service_bus([value]), service_bus(topics=[value]), event_hubs(value)):
        with contextlib.suppress(ConfigError):
            assert isinstance(parse(document), Namespace)
