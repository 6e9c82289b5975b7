"""Templates worked out without Azure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.bicep import BicepError, Deployment, Resource, Symbolic, deploy, read, read_parameters

MAIN = """
targetScope = 'subscription'
import { lanes } from 'types.bicep'

@description('Where.')
param location string
@allowed(['Standard', 'Premium'])
param tier string = 'Standard'
param private bool = false
param extra string?

var names = [for lane in lanes: 'lane-${lane}']

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${uniqueString(subscription().id)}'
  location: location
}

module bus 'modules/bus.bicep' = {
  name: 'bus'
  scope: group
  params: {
    tier: tier
    capacity: tier == 'Premium' ? 2 : 0
    public: !private
  }
}

module links 'modules/bus.bicep' = [for (name, index) in names: if (private) {
  scope: group
  params: { tier: 'Premium', capacity: index, public: false }
}]

output endpoint string = bus.outputs.endpoint
output queues array = bus.outputs.queues
output extra string? = extra ?? 'none'
"""

BUS = """
param tier string
param capacity int
param public bool
param when bool = empty(resourceGroup().tags)
var queues = loadJsonContent('../queues.json').Namespaces[0].Queues

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: 'sbns'
  sku: { name: tier, capacity: capacity }
  properties: {
    publicNetworkAccess: public ? 'Enabled' : 'Disabled'
    'quoted.key': 'it\\'s \\${plain} ${tier}'
  }
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = [for one in queues: {
  parent: namespace
  name: one.Name
  properties: {
    lockDuration: one.Properties.LockDuration
    enablePartitioning: one.Properties.?Partitioned ?? false
  }
}]

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (when) {
  name: guid(namespace.id, tier)
  scope: queue[0]
  properties: { principalId: namespace.identity.principalId, description: '''
as is ${tier}'''
  }
}

resource off 'Microsoft.Insights/components@2020-02-02' = if (tier == 'None') {
  name: 'x'
}

output endpoint string = namespace.properties.serviceBusEndpoint
output queues array = [for (one, i) in queues: queue[i].name]
"""


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """A small template with two modules, a table of its own and a file of queues."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "main.bicep").write_text(MAIN)
    (tmp_path / "types.bicep").write_text("@export()\nvar lanes = ['high', 'low']\n")
    (tmp_path / "modules/bus.bicep").write_text(BUS)
    queues = [{"Name": name, "Properties": {"LockDuration": "PT30S"}} for name in ("lane-high", "lane-low")]
    (tmp_path / "queues.json").write_text(json.dumps({"Namespaces": [{"Queues": queues}]}))
    return tmp_path / "main.bicep"


def only(deployment: Deployment, kind: str) -> Resource:
    """The one resource of a type."""
    (found,) = deployment.of_type(kind)
    return found


def test_conditions_loops_and_parameters_are_worked_out(main: Path) -> None:
    """What depends on parameters alone has a value."""
    small = deploy(main, {"location": "westeurope"})
    namespace = only(small, "microsoft.servicebus/namespaces")
    assert namespace.get("sku.capacity") == 0
    assert namespace.properties["publicNetworkAccess"] == "Enabled"
    assert namespace.properties["quoted.key"] == "it's ${plain} Standard"
    large = deploy(main, {"location": "westeurope", "tier": "Premium", "private": True})
    capacities = [one.get("sku.capacity") for one in large.of_type("Microsoft.ServiceBus/namespaces")]
    assert capacities == [2, 0, 1]
    assert [module.symbol for module in large.modules] == ["bus", "links[0]", "links[1]"]


def test_entities_come_from_the_file_they_are_read_from(main: Path) -> None:
    """Names hold the parent's; a property that the file lacks takes its default."""
    queues = deploy(main, {"location": "x"}).of_type("Microsoft.ServiceBus/namespaces/queues")
    assert [queue.name for queue in queues] == ["sbns/lane-high", "sbns/lane-low"]
    assert queues[0].properties == {"lockDuration": "PT30S", "enablePartitioning": False}
    assert queues[1].module == "bus"


def test_what_only_azure_knows_stays_readable_text(main: Path) -> None:
    """A resource's property, a parameter without value, a condition on either."""
    deployment = deploy(main)
    assert deployment.value("location") == Symbolic("parameters.location")
    endpoint = deployment.outputs["endpoint"]
    assert isinstance(endpoint, Symbolic)
    assert endpoint == "[Microsoft.ServiceBus/namespaces:sbns].properties.serviceBusEndpoint"
    grant = only(deployment, "Microsoft.Authorization/roleAssignments")
    assert not grant.certain
    assert isinstance(grant.scope, Resource)
    assert grant.scope.name == "sbns/lane-high"
    assert grant.properties["principalId"] == "[Microsoft.ServiceBus/namespaces:sbns].identity.principalId"
    assert grant.properties["description"] == "as is ${tier}"
    assert deployment.of_type("Microsoft.Insights/components") == ()


def test_outputs_and_optional_parameters(main: Path) -> None:
    """Outputs reach through modules."""
    deployment = deploy(main, {"location": "x"})
    assert deployment.outputs["queues"] == ["lane-high", "lane-low"]
    assert deployment.outputs["extra"] == "none"
    assert dict(deploy(main, {"location": "x", "extra": "y"}).outputs)["extra"] == "y"


def test_declarations_tell_types_defaults_and_decorators(main: Path) -> None:
    """What a template asks for, without working anything out."""
    parameters = read(main).of_kind("param")
    assert parameters["location"].description == "Where."
    assert not parameters["location"].has_default
    assert parameters["tier"].has_default
    assert parameters["extra"].has_default
    assert parameters["tier"].kind_of == "string"
    assert "allowed" in parameters["tier"].decorators


def test_a_parameters_file_is_read_with_its_environment(tmp_path: Path) -> None:
    """Plain values, variables between them, and what the environment says."""
    file = tmp_path / "dev.bicepparam"
    file.write_text(
        "using 'main.bicep'\n\n// why\nvar few = 2\nparam count = few\n"
        "param name = readEnvironmentVariable('NAME', 'sluice')\n"
        "param names = [readEnvironmentVariable('NAME', 'x'), 'y']\nparam sizes = {\n  api: few\n  rest: [1, 2]\n}\n"
    )
    assert read_parameters(file, {}) == {
        "count": 2,
        "name": "sluice",
        "names": ["x", "y"],
        "sizes": {"api": 2, "rest": [1, 2]},
    }
    assert read_parameters(file, {"NAME": "other"})["name"] == "other"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("param x string =\n= y", ":2: is not Bicep"),
        ("var a = missing", ":1: there is nothing called missing"),
        ("var b = { c: 1 }\nvar a = b.d", ":2: b.d: there is no property d"),
        ("var a = loadJsonContent('none.json')", ":1: none.json can't be read"),
        ("var a = int('x')", ":1: int:"),
        ("func f(a string) string => a", ":1: user_defined_function is not supported"),
    ],
)
def test_what_can_not_be_read_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    """File, line and reason."""
    file = tmp_path / "main.bicep"
    file.write_text(text)
    with pytest.raises(BicepError) as caught:
        deploy(file).value("a")
    assert says in str(caught.value)


def test_an_unknown_parameter_is_refused(main: Path) -> None:
    """A value that no parameter takes is a mistake."""
    with pytest.raises(BicepError, match="there is no parameter size"):
        deploy(main, {"size": 1})


@pytest.mark.parametrize(
    ("text", "comes_to"),
    [
        ("one.x + one.y * 2", 5),
        ("(one.x + one.y) * 2", 6),
        ("one.x == 1 && one.y == 2", True),
        ("one.x == 2 || !one.no", True),
        ("!empty(one.list) ? one.list[1].z : one.y", 3),
        ("empty(one.list) ? one.list : one.y", 2),
        ("one.?missing ?? one.y", 2),
        ("-one.y + 5 - 1 - 1", 1),
        ("one.y > one.x && one.y >= 2", True),
        ("contains(one, 'x') && one.x != one.y", True),
        ("1 + length(one.list)", 3),
        ("one['x']", 1),
        ("one.no ? 'a' : one.x == 1 ? 'b' : 'c'", "b"),
        ("[one['x'], one.list[0].z, one.list[1].z + 1, length(one.list)]", [1, 2, 4, 2]),
        ("[for (n, i) in one.list: '${i}-${n.z}']", ["0-2", "1-3"]),
    ],
)
def test_operators_bind_as_in_bicep(tmp_path: Path, text: str, comes_to: object) -> None:
    """Members before signs, signs before comparisons, comparisons before logic, logic before a choice."""
    file = tmp_path / "main.bicep"
    file.write_text(f"var one = {{ x: 1, y: 2, no: false, list: [{{ z: 2 }}, {{ z: 3 }}] }}\nvar a = {text}\n")
    assert deploy(file).value("a") == comes_to


TYPED = """
import { Size } from 'types.bicep'
type Level = 'low' | 'high'
@minLength(2)
@maxLength(4)
param name string = 'abc'
@allowed(['a', 'b'])
param choice string = 'a'
param level Level = 'low'
@minValue(1)
param count int = 1
param size Size = { memory: 512, groups: [{ name: 'x' }] }
param more Level[]?
param free object = {}
"""

SIZES = """
type Group = { name: string }
@export()
type Size = {
  @minValue(512)
  memory: int
  groups: Group[]
  note: string?
}
"""


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({}, None),
        ({"name": "abcde"}, "name is 'abcde': maxLength is 4"),
        ({"name": "a"}, "name is 'a': minLength is 2"),
        ({"name": 3}, "name is 3, no string"),
        ({"choice": "c"}, "choice is 'c', not one of a, b"),
        ({"level": "middle"}, "level is 'middle', not one of low, high"),
        ({"count": 0}, "count is 0: minValue is 1"),
        ({"count": True}, "count is True, no int"),
        ({"size": {"memory": 512}}, "size.groups is missing"),
        ({"size": {"memory": 1, "groups": []}}, "size.memory is 1: minValue is 512"),
        ({"size": {"memory": 512, "groups": [{"name": 1}]}}, r"size.groups\[0\].name is 1, no string"),
        ({"size": {"memory": 512, "groups": [], "note": None}}, None),
        ({"more": ["low", "high"]}, None),
        ({"more": ["none"]}, r"more\[0\] is 'none'"),
        ({"more": None, "free": {"anything": 1}}, None),
        ({"level": Symbolic("parameters.x")}, None),
    ],
)
def test_a_value_that_does_not_fit_its_parameter_is_refused(
    tmp_path: Path, given: dict[str, object], refused: str | None
) -> None:
    """By type, union, limits and members, imported types too; what only Azure knows fits."""
    (tmp_path / "types.bicep").write_text(SIZES)
    (tmp_path / "main.bicep").write_text(TYPED)
    deployment = deploy(tmp_path / "main.bicep", given)
    names = ("name", "choice", "level", "count", "size", "more", "free")
    if refused is None:
        assert [deployment.value(name) for name in names]
        return
    with pytest.raises(BicepError, match=f"the value of parameter {refused}"):
        _ = [deployment.value(name) for name in names]


def test_a_circle_is_refused(tmp_path: Path) -> None:
    """With the names that lead around."""
    (tmp_path / "main.bicep").write_text("var a = b\nvar b = '${c}'\nvar c = a\n")
    with pytest.raises(BicepError, match="a → b → c → a is a circle"):
        deploy(tmp_path / "main.bicep").value("a")
