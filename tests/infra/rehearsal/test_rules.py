"""Rules are data: what the language says, and that a new rule is one entry."""

from __future__ import annotations

import json
import re
from collections import ChainMap
from pathlib import Path
from typing import Any

import pytest

from local.bicep import Symbolic, deploy, read_parameters
from local.rehearsal.conditions import UNKNOWN, BadCondition, Condition
from local.rehearsal.functions import FUNCTIONS
from local.rehearsal.judging import judge
from local.rehearsal.order import order_of
from local.rehearsal.plan import Plan
from local.rehearsal.rules import OWN_RULES, BadRule, Rules, read_rules
from local.rehearsal.state import Kept, State, read_state
from tests.infra.rehearsal.planted import PLANTED

TEMPLATE = """
param location string = 'westeurope'
param many int = 3

resource bus 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: 'bus'
  location: location
  sku: { name: 'Standard' }
  properties: { publicNetworkAccess: 'Enabled' }
}

resource queues 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = [for i in range(0, many): {
  parent: bus
  name: 'q${i}'
  properties: { lockDuration: 'PT${i}M', forwardTo: i == 0 ? 'q2' : 'none' }
}]

resource lock 'Microsoft.Authorization/locks@2020-05-01' = {
  name: 'keep'
  scope: bus
  properties: { level: 'CanNotDelete', notes: bus.properties.serviceBusEndpoint }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'topic'
  properties: { source: bus.id, topicType: 'Microsoft.ServiceBus.Namespaces' }
}
"""

RULE = """
[[rule]]
id = "mine"
type = {type}
{condition}
text = "{text}"
do = "Mend it."
source = "https://example.com"
date = 2026-11-30
"""


def ruled(tmp_path: Path, kind: str, condition: str, text: str = "{name}", **state: Any) -> list[str]:
    """What a rule says of the template."""
    (tmp_path / "main.bicep").write_text(TEMPLATE)
    (tmp_path / "mine.toml").write_text(RULE.format(type=json.dumps(kind), condition=condition, text=text))
    rules = read_rules([tmp_path / "mine.toml"])
    plan = Plan(order_of(deploy(tmp_path / "main.bicep")), State(**state), rules.tables, stage="dev")
    return [one.text for one in judge(plan, rules.rules).refusals]


QUEUE, BUS = "Microsoft.ServiceBus/namespaces/queues", "Microsoft.ServiceBus/namespaces"


@pytest.mark.parametrize(
    ("kind", "condition", "told"),
    [
        (QUEUE, 'refuse = "seconds(properties.lockDuration) > 60"', ["bus/q2"]),
        ("microsoft.servicebus/*", "refuse = \"sku.NAME == 'standard'\"", ["bus"]),
        (QUEUE, "refuse = \"parent.sku.name == 'Standard' and last(name) in ['q1', 'Q2']\"", ["bus/q1", "bus/q2"]),
        (QUEUE, 'one_at_a_time = "parent.name"', ["bus/q1", "bus/q2"]),
        (QUEUE, 'unique = "properties.forwardTo"', ["bus/q2"]),
        (QUEUE, 'per = "parent.name"\nat_most = "2"', ["bus/q2"]),
        (QUEUE, 'per = "parent.name"\nat_most = 3', []),
        (
            QUEUE,
            "after = \"[one for one in resources('*/queues') if last(one.name) == properties.forwardTo]\"",
            ["bus/q0"],
        ),
        (BUS, "refuse = \"len(children(this, 'queues')) == 3\"", ["bus"]),
        ("*", "refuse = \"target(properties.source).name == 'bus'\"", ["topic"]),
        ("*/locks", "refuse = \"scope.sku.name == 'Standard' and waits(this, scope)\"", ["keep"]),
        ("*/locks", "refuse = \"properties.notes == 'https://x'\"", []),
        ("*/locks", "refuse = \"not properties.notes == 'https://x'\"", []),
        ("*/locks", "refuse = \"has(properties.notes, 'Endpoint')\"", ["keep"]),
        (BUS, "refuse = \"stage == 'dev' and apiVersion >= '2024-01-01'\"", ["bus"]),
        (BUS, "when = \"sku.name == 'Premium'\"\nrefuse = true", []),
    ],
)
def test_a_rule_looks_at_what_it_names(tmp_path: Path, kind: str, condition: str, told: list[str]) -> None:
    """Type, fields, parents, scopes, siblings, counts, order; what only Azure knows is not guessed."""
    assert ruled(tmp_path, kind, condition) == told


def test_a_rule_looks_at_the_subscription(tmp_path: Path) -> None:
    """What was there before, and who calls."""
    was = (Kept(BUS, "bus", {"sku": {"name": "Premium"}}),)
    assert ruled(tmp_path, BUS, 'refuse = "was.sku.name != sku.name"', resources=was) == ["bus"]
    assert ruled(tmp_path, BUS, 'when = "was"\nrefuse = "was.sku.name != sku.name"') == []
    assert ruled(tmp_path, BUS, "refuse = \"'Owner' not in state.roles\"", roles=("Reader",)) == ["bus"]


def test_a_rule_of_a_users_own_asks_for_what_the_file_says(tmp_path: Path) -> None:
    """Abilities of regions and quotas that no rule here knows."""
    (tmp_path / "state.toml").write_text("[regions.'West Europe']\nqueues = 2\n[quotas]\nbuses = 0\n")
    state = read_state(tmp_path / "state.toml")
    given: dict[str, Any] = {"regions": state.regions, "quotas": state.quotas}
    more = "refuse = \"len(children(this, 'queues')) > region(location).queues\""
    assert ruled(tmp_path, BUS, more, **given) == ["bus"]
    assert ruled(tmp_path, BUS, more) == []
    assert ruled(tmp_path, BUS, f"refuse = \"len(resources('{BUS}')) > state.quotas.buses\"", **given) == ["bus"]


def test_a_text_shows_values(tmp_path: Path) -> None:
    """Of the resource, of what was found, and of the other one."""
    told = ruled(tmp_path, QUEUE, 'one_at_a_time = "parent.name"', "{last(name)} and {other.name} of {parent.sku.name}")
    assert told[0] == "q1 and bus/q0 of Standard"
    told = ruled(tmp_path, BUS, 'refuse = "[one.name for one in children(this)]"', "{found[0]}, {len(found)}")
    assert told == ["bus/q0, 4"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 < 2 <= 2", True),
        ("'a' in 'CAB'", True),
        ("nothing.at['all'] == null", True),
        ("nothing > 1", False),
        ("not nothing", True),
        ("azure == 'x'", UNKNOWN),
        ("azure == azure", True),
        ("azure == null", False),
        ("azure == 'x' or true", True),
        ("azure == 'x' and false", False),
        ("azure == 'x' and true", UNKNOWN),
        ("any(one == 'x' for one in [azure, 'x'])", True),
        ("any(one == 'x' for one in [azure, 'y'])", UNKNOWN),
        ("all(one == 'x' for one in [azure, 'y'])", False),
        ("[one for one in unknown]", UNKNOWN),
        ("len([one for one in numbers if one > 1])", 2),
        ("sum(numbers) + max(numbers) // 2", 7),
        ("[a + b for a in numbers for b in [10] if a > 2]", [13]),
        ("{'a': 1}['A']", 1),
        ("'x' if numbers[0] == 1 else 'y'", "x"),
        ("numbers[7]", None),
        ("seconds('P1DT2H')", 93_600.0),
        ("prefix('10.0.0.0/26') + power(2, 3)", 34),
        ("inside('10.0.0.0/26', '10.0.0.0/24') and not overlaps('10.0.0.0/26', '10.0.1.0/24')", True),
        ("kql_names('let long = 1; T | extend a=2, b = 3 | where c == 4')", ["long", "a", "b"]),
        ("last_step('T | where x | project a // | y')", " project a "),
        ("[one.tag for one in elements('<policies><inbound><base /></inbound></policies>')]", ["inbound", "base"]),
        ("elements('<a') == null", True),
        ("occurrences('{{a}} {{b}}', '[{][{]([a-z])[}][}]')", ["a", "b"]),
    ],
)
def test_the_language(text: str, value: object) -> None:
    """Three-valued, without case, and null all the way down."""
    names: ChainMap[str, Any] = ChainMap({"numbers": [1, 2, 3], "azure": Symbolic("[x].id"), "this": {}}, FUNCTIONS)
    assert Condition(text, frozenset(FUNCTIONS)).value(names) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 +", "is no expression"),
        ("x = 1", "is no expression"),
        ("lambda: 1", "uses Lambda"),
        ("__import__('os')", "calls __import__"),
        ("name.upper()", "isn't a function's name"),
        ("f'{name}'", "uses JoinedStr"),
        ("[1][0:1]", "Slice"),
        ("len(name, key=1)", "names an argument"),
        (" + ".join(["1"] * 400), "too long"),
    ],
)
def test_what_is_no_condition_is_told(text: str, told: str) -> None:
    """When it is read, before anything is played."""
    with pytest.raises(BadCondition, match=re.escape(told)):
        Condition(text, frozenset(FUNCTIONS))


@pytest.mark.parametrize(("text", "told"), [("2 ** 3", "Pow"), ("table('nowhere')", "no table nowhere")])
def test_a_condition_that_can_not_be_asked_names_its_rule(tmp_path: Path, text: str, told: str) -> None:
    """And the resource that it met."""
    with pytest.raises(BadCondition, match=f"mine on .*ServiceBus/namespaces:bus.*{told}"):
        ruled(tmp_path, BUS, f'refuse = "{text}"')


@pytest.mark.parametrize(
    ("text", "told"),
    [("name < 1", "not supported between"), ("1 // 0", "zero"), ("seconds(name)", "'bus' is no duration")],
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """With the rule that it was compared by: a planted `'ten'` for 10 is no crash of the rehearsal."""
    (found,) = ruled(tmp_path, BUS, f'refuse = "{text}"')
    assert found.startswith("bus: a value has another type or form")
    assert told in found


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ('refuse = "true"\nunique = "name"', "has one of refuse"),
        ('at_most = "1"', "or at_most with per"),
        ("", "has one of refuse"),
        ('refuse = "true"\nseverity = "bad"', "severity is refused, broken or risk"),
        ('refuse = "true"\nremedy = "x"', "has remedy, which rules don't have"),
        ('refuse = "nowhere(name)"', "calls nowhere, which there isn't"),
    ],
)
def test_what_is_no_rule_is_told(tmp_path: Path, changed: str, told: str) -> None:
    """With file and rule."""
    with pytest.raises(BadRule, match=re.escape(told)) as error:
        ruled(tmp_path, BUS, changed)
    assert "mine.toml: mine" in str(error.value)


def test_the_example_of_the_documentation_is_a_rule(project: Path, tmp_path: Path) -> None:
    """It is read, and refuses what it says."""
    text = (project / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(\[\[rule\]\].*?)```", text, re.S)
    assert example is not None
    (tmp_path / "rule.toml").write_text(example[1])
    (rule,) = read_rules([tmp_path / "rule.toml"]).rules
    (tmp_path / "main.bicep").write_text(
        TEMPLATE.replace("lockDuration: 'PT${i}M'", "defaultMessageTimeToLive: i == 1 ? 'P91D' : 'P90D'")
    )
    plan = Plan(order_of(deploy(tmp_path / "main.bicep")), State(), {}, stage="dev")
    assert [str(one.resource) for one in judge(plan, [rule]).refusals] == ["bus/q1"]


def test_every_rule_of_the_documentation_can_be_played(project: Path, tmp_path: Path) -> None:
    """One of each kind, on the project's own infrastructure."""
    text = (project / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(\[\[rule\]\].*?)```", text, re.S)
    (tmp_path / "rules.toml").write_text("\n".join(examples))
    rules = read_rules([tmp_path / "rules.toml"])
    assert {one.kind for one in rules.rules} == {"refuse", "one_at_a_time", "after", "unique", "at_most"}
    deployment = deploy(project / "infra/main.bicep", read_parameters(project / "infra/params/dev.bicepparam", {}))
    found = judge(Plan(order_of(deployment), State(), {}, stage="dev"), rules.rules)
    assert {one.rule.id for one in found.refusals} == {"queues-one-by-one"}


@pytest.fixture(scope="module")
def own() -> Rules:
    """The project's rules."""
    return read_rules([OWN_RULES])


def test_own_rules_have_a_source_each(own: Rules) -> None:
    """A page or a thread that says so."""
    assert len(own.rules) > 100
    for rule in own.rules:
        assert rule.source.startswith("https://") or rule.source.startswith("docs/"), rule.id


def test_the_documentation_lists_every_planted_fault(project: Path) -> None:
    """Fault, rule and what is planted."""
    text = (project / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (\d+) \| `([\w -]+)` \| (.+) \|$", text, re.MULTILINE)
    assert listed == [(str(one.number), one.rule, one.what) for one in PLANTED]


def test_the_documentation_names_tests_that_are_there(project: Path) -> None:
    """For faults that no template carries."""
    text = (project / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    named = re.findall(r"\| `(tests/[\w/]+\.py)(?:::(\w+))?` \|$", text, re.MULTILINE)
    assert len(named) >= 8
    for file, test in named:
        assert f"def {test}" in (project / file).read_text(encoding="utf-8")


def test_the_documentation_names_every_function(project: Path) -> None:
    """What a condition may call."""
    text = (project / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    assert [name for name in (*FUNCTIONS, "any", "all") if not re.search(rf"`{name}[`(]", text)] == []
