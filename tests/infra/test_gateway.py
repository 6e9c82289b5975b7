"""The gateway: what it lets in, and how often."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from local.bicep import Deployment, Resource, deploy
from shared.messages import ErrorCode

APIM = "Microsoft.ApiManagement/service"
TOO_MANY = "TOO_MANY_REQUESTS"


def gateway(infra: Path, **changed: Any) -> Deployment:
    """The gateway alone, with some parameters changed."""
    given = {
        "name": "apim",
        "location": "westeurope",
        "tags": {},
        "sku": "StandardV2",
        "capacity": 1,
        "publisherEmail": "team@example.com",
        "publisherName": "Team",
        "blueUri": "https://blue",
        "greenUri": "",
        "issuer": "https://issuer",
        "audience": "api://sluice",
        "moreIssuers": [],
        "callsPerMinute": 65,
        "callsPerDay": 1000,
        "bodyLimit": 8_388_608,
        "allowedRanges": [],
        "behindFrontDoor": False,
        "frontDoorId": "",
        "subnetId": "",
        "componentName": "appi",
        "workspaceId": "log",
        **changed,
    }
    return deploy(infra / "modules/apim.bicep", given)


def only(deployment: Deployment, kind: str, name: str) -> Resource:
    """The resource of a type and last name."""
    (found,) = [one for one in deployment.of_type(kind) if one.name.endswith(name)]
    return found


def fragment(deployment: Deployment, name: str) -> ElementTree.Element:
    """A policy fragment as XML."""
    return ElementTree.fromstring(only(deployment, f"{APIM}/policyFragments", f"/sluice-{name}").properties["value"])


@pytest.mark.parametrize(
    "file",
    ["api.xml", "errors.xml", "callers.xml", "limits.xml", "limits-v2.xml", "limits-consumption.xml", "product.xml"],
)
def test_policies_are_well_formed(infra: Path, file: str) -> None:
    """A mistake here is told by Azure only, half an hour into a deployment."""
    assert ElementTree.parse(infra / "policies" / file).getroot().tag in ("policies", "fragment")


def test_tokens_are_checked_where_there_is_an_issuer(infra: Path) -> None:
    """Issuer, audience, expiry and signature."""
    guarded = gateway(infra)
    check = fragment(guarded, "callers").find(".//validate-jwt")
    assert check is not None
    assert check.get("require-signed-tokens") == check.get("require-expiration-time") == "true"
    assert check.find("openid-config") is not None
    assert [one.text for one in check.iterfind(".//required-claims//value")] == ["producer", "reader", "operator"]
    values = {one.name.rsplit("/", 1)[-1]: one.properties["value"] for one in guarded.of_type(f"{APIM}/namedValues")}
    assert values["sluice-openid-url"] == "https://issuer/.well-known/openid-configuration"


def test_more_issuers_are_let_through_with_their_own_audiences(infra: Path) -> None:
    """Which role their tokens give is asked by the app, which knows in which claim it is."""
    more = [{"name": "partner", "issuer": "https://partner", "audiences": ["one", "two"], "roles": "realm.roles"}]
    check = fragment(gateway(infra, moreIssuers=more), "callers").find(".//validate-jwt")
    assert check is not None
    assert [one.get("url") for one in check.iterfind("openid-config")] == [
        "{{sluice-openid-url}}",
        "https://partner/.well-known/openid-configuration",
    ]
    assert [one.text for one in check.iterfind("audiences/audience")] == ["{{sluice-audience}}", "one", "two"]
    assert [one.text for one in check.iterfind("issuers/issuer")] == ["{{sluice-issuer}}", "https://partner"]
    assert check.find("required-claims") is None


CREDENTIALS: dict[str, set[str]] = {
    "a token": {"Authorization"}, "an API key": {"x-api-key"}, "both": {"Authorization", "x-api-key"}, "nothing": set(),
}  # fmt: skip
IS_CHECKED = re.compile(
    r'@\(!System\.Text\.RegularExpressions\.Regex\.IsMatch\(context\.Request\.Method \+ " " '
    r'\+ context\.Request\.OriginalUrl\.Path, @"(?P<open>.+)"\) '
    r'&& \(context\.Request\.Headers\.ContainsKey\("Authorization"\) '
    r'\|\| !context\.Request\.Headers\.ContainsKey\("x-api-key"\)\)\)'
)
"""When a token is asked for, to the letter; what it means is worked out beside it."""


def asks_for_a_token(deployment: Deployment, method: str, path: str, headers: set[str]) -> bool:
    """Whether the gateway refuses a request that brings no valid token."""
    when = fragment(deployment, "callers").find("choose/when")
    if when is None:
        return False
    found = IS_CHECKED.fullmatch(when.get("condition", ""))
    assert found is not None, when.get("condition")
    assert when.find("validate-jwt") is not None
    open_route = re.search(found["open"], f"{method} {path}") is not None
    return not open_route and ("Authorization" in headers or "x-api-key" not in headers)


def routes_of(infra: Path) -> list[dict[str, Any]]:
    """The routes that the app declares, and one of each other kind that it may."""
    declared: list[dict[str, Any]] = json.loads((infra / "declarations.json").read_text(encoding="utf-8"))["routes"]
    assert len(declared) >= 14
    return declared


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_who_comes_through_the_gateway(infra: Path, credential: str) -> None:
    """Every route with every credential: a role is asked for by token or key, everything else is let through.

    Recipients of shares have tokens of their own, which the app alone knows.
    """
    guarded, headers = gateway(infra), CREDENTIALS[credential]
    for route in routes_of(infra):
        asked = asks_for_a_token(guarded, route["method"], re.sub(r"\{\w+\}", "x", route["path"]), headers)
        guards = isinstance(route["callers"], list) and route["callers"] != ["recipient"]
        assert asked is (guards and headers != {"x-api-key"}), route


@pytest.mark.parametrize(
    "request_line", ["GET /api/healthy", "POST /api/health", "GET /api/openapixjson", "GET /api/nowhere", "GET /"]
)
def test_what_no_route_has_is_not_open(infra: Path, request_line: str) -> None:
    """An open path is open for its own method, and to the letter."""
    method, _, path = request_line.partition(" ")
    assert asks_for_a_token(gateway(infra), method, path, set())


def test_issuers_that_end_with_a_slash_are_found_and_odd_audiences_are_escaped(infra: Path) -> None:
    more = [{"name": "auth", "issuer": "https://auth/", "audiences": ["https://api?a=1&b=2"]}]
    resources = gateway(infra, issuer="https://issuer/", moreIssuers=more)
    check = fragment(resources, "callers").find(".//validate-jwt")
    assert check is not None
    assert check.findall("openid-config")[1].get("url") == "https://auth/.well-known/openid-configuration"
    assert [one.text for one in check.iterfind("issuers/issuer")][1] == "https://auth/", "as its tokens name it"
    assert [one.text for one in check.iterfind("audiences/audience")][1] == "https://api?a=1&b=2"


def test_without_an_issuer_the_app_alone_checks(infra: Path) -> None:
    """It knows the keys' hashes; nobody needs a subscription besides, but in the tier that counts by nothing else."""
    keyed = gateway(infra, issuer="", audience="")
    for route in routes_of(infra):
        assert not asks_for_a_token(keyed, route["method"], route["path"], {"x-api-key"})
    assert only(keyed, f"{APIM}/apis", "/sluice").properties["subscriptionRequired"] is False
    small = gateway(infra, sku="Consumption", capacity=0)
    assert only(small, f"{APIM}/apis", "/sluice").properties["subscriptionRequired"] is True


def test_every_route_is_an_operation(infra: Path) -> None:
    """By the description, or by itself where that leaves it out: to all else the gateway answers 404."""
    described = json.loads((infra / "openapi.json").read_text(encoding="utf-8"))["paths"]
    known = {(method.upper(), path) for path, methods in described.items() for method in methods}
    own = gateway(infra).of_type(f"{APIM}/apis/operations")
    known |= {(one.properties["method"], one.properties["urlTemplate"]) for one in own}
    routes = {(one["method"], one["path"]) for one in routes_of(infra)}
    assert {one for one in known if one[0] != "HEAD"} == routes
    assert {path for method, path in known if method == "HEAD"} == {
        path for method, path in routes if method == "GET" and path in described
    }


def test_the_description_can_be_imported(infra: Path) -> None:
    """What API Management's import doesn't take (its page on restrictions of API formats, March 2022 and after)."""
    text = (infra / "openapi.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert len(text.encode()) < 4 * 1024 * 1024
    assert document["openapi"].startswith(("3.0.", "3.1."))
    assert not [ref for ref in re.findall(r'"\$ref": "([^"]+)"', text) if not ref.startswith("#/")]
    operations = [(path, one) for path, methods in document["paths"].items() for one in methods.values()]
    names = [re.sub(r"[^a-z0-9]+", "-", one["operationId"].lower()).strip("-") for _, one in operations]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 76 for name in names)
    for path, one in operations:
        assert not [each for each in one["parameters"] if each.get("in") == "cookie"], path
    imported = only(gateway(infra), f"{APIM}/apis", "/sluice")
    assert imported.properties["translateRequiredQueryParameters"] == "query"  # else it is made a part of the path
    schemas = document["components"]["schemas"]
    refers = {name: set(re.findall(r"#/components/schemas/(\w+)", json.dumps(one))) for name, one in schemas.items()}
    for name in refers:
        reached, left = set(), [*refers[name]]
        while left:
            reached.add(one_more := left.pop())
            left += refers[one_more] - reached
        assert name not in reached, f"{name} refers to itself"


TIERS = {
    "rate-limit": {"Consumption", "BasicV2", "StandardV2", "Premium"},
    "rate-limit-by-key": {"BasicV2", "StandardV2", "Premium"},
    "quota": {"Consumption", "BasicV2", "StandardV2", "Premium"},
    "quota-by-key": {"Premium"},
}
"""Policy → the tiers that have it (API Management policy reference, 2026). A `quota` is for the scope of a product."""


@pytest.mark.parametrize("sku", ["Consumption", "BasicV2", "StandardV2", "Premium"])
def test_a_tier_has_the_limits_that_it_knows(infra: Path, sku: str) -> None:
    """Azure refuses a policy that a tier or a scope hasn't, half an hour into a deployment."""
    deployed = gateway(infra, sku=sku, capacity=0 if sku == "Consumption" else 1)
    here = {one.tag for one in fragment(deployed, "limits")}
    assert here
    assert "quota" not in here
    assert all(sku in TIERS[tag] for tag in here)
    assert ("rate-limit-by-key" in here) is (sku != "Consumption")
    policies = {one.name.split("/")[-2]: one for one in deployed.of_type(f"{APIM}/products/policies")}
    for product, (minute, day) in {"standard": ("65", "1000"), "trial": ("7", "100")}.items():
        inbound = ElementTree.fromstring(policies[product].properties["value"]).find("inbound")
        assert inbound is not None
        limits = {one.tag: one.get("calls") for one in inbound if one.tag != "base"}
        assert limits == {"rate-limit": minute, "quota": day}
        assert all(sku in TIERS[tag] for tag in limits)


def test_consumption_is_without_pool_and_logs(infra: Path) -> None:
    """It counts by subscription, so everybody needs one."""
    small = gateway(infra, sku="Consumption", capacity=0, greenUri="https://green")
    assert not [one for one in small.of_type(f"{APIM}/backends") if "pool" in one.properties]
    assert only(small, "Microsoft.Insights/diagnosticSettings", "to-workspace").properties["logs"] == []
    assert only(small, f"{APIM}/apis", "/sluice").properties["subscriptionRequired"] is True


def test_addresses_are_let_in_by_range(infra: Path) -> None:
    """All where none is named."""
    ranges = [{"first": "192.0.2.0", "last": "192.0.2.255"}, {"first": "198.51.100.7", "last": "198.51.100.7"}]
    found = fragment(gateway(infra, allowedRanges=ranges), "addresses").findall("./ip-filter/address-range")
    assert [(one.get("from"), one.get("to")) for one in found] == [(one["first"], one["last"]) for one in ranges]
    assert list(fragment(gateway(infra), "addresses")) == []


def test_requests_go_to_a_backend_that_is_there(infra: Path) -> None:
    """One colour by itself, two by a pool."""
    for green in ("", "https://green"):
        deployed = gateway(infra, greenUri=green)
        policy = ElementTree.fromstring(only(deployed, f"{APIM}/apis/policies", "/policy").properties["value"])
        backend = policy.find(".//set-backend-service")
        assert backend is not None
        assert backend.get("backend-id") == ("sluice-colours" if green else "sluice-blue")
        assert backend.get("backend-id") in {
            one.name.rsplit("/", 1)[-1] for one in deployed.of_type(f"{APIM}/backends")
        }
        included = [one.get("fragment-id") for one in policy.iterfind(".//include-fragment")]
        assert list(dict.fromkeys(included)) == [
            one.name.rsplit("/", 1)[-1] for one in deployed.of_type(f"{APIM}/policyFragments")
        ]
        for section in ("outbound", "on-error"):
            found = [one.get("fragment-id") for one in policy.iterfind(f"./{section}//include-fragment")]
            assert found == ["sluice-errors"], section


def test_the_gateway_refuses_in_the_apis_own_words(infra: Path) -> None:
    """Codes are those of the API's one list, and of a limit that only the gateway has."""
    source = "".join((infra / "policies" / name).read_text() for name in ("api.xml", "errors.xml"))
    known = {str(code) for code in ErrorCode} | {TOO_MANY}
    used = set(re.findall(r'"([A-Z][A-Z_]{5,})"', source))
    assert used <= known
    assert used >= {"UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "PAYLOAD_TOO_LARGE", "UNAVAILABLE", TOO_MANY}
    for field in ("messageId", "status", "timestamp", "error", "code", "message", "details", "retryable", "retryAfter"):
        assert f'new JProperty("{field}"' in source


def test_what_the_platform_answers_first_gets_the_apis_format(infra: Path) -> None:
    """An answer of 400 or more that is no JSON isn't the app's."""
    policy = ElementTree.parse(infra / "policies/api.xml")
    condition = policy.find("./outbound/choose/when")
    assert condition is not None
    asked = condition.get("condition", "")
    assert "StatusCode >= 400" in asked
    assert '"Content-Type"' in asked
    assert '"^application/(json|x-ndjson|graphql-response)"' in asked


def test_what_only_the_platform_may_say_is_taken_away(infra: Path) -> None:
    """Headers that the host believes whoever sent them, and the gateway's own key."""
    inbound = ElementTree.parse(infra / "policies/api.xml").getroot().find("inbound")
    assert inbound is not None
    gone = {one.get("name") for one in inbound.iter("set-header") if one.get("exists-action") == "delete"}
    assert gone == {"x-ms-invocation-id", "Ocp-Apim-Subscription-Key"}


def test_a_body_over_the_limit_ends_at_the_gateway(infra: Path) -> None:
    """By its length, before the host would read it and before any token is looked at."""
    policy = ElementTree.fromstring(only(gateway(infra), f"{APIM}/apis/policies", "/policy").properties["value"])
    inbound = policy.find("inbound")
    assert inbound is not None
    steps = [one.get("fragment-id") or one.tag for one in inbound]
    assert steps.index("choose") < steps.index("sluice-callers")
    when = inbound.find("choose/when")
    assert when is not None
    assert re.fullmatch(r"@\(long\.Parse\(.*\"Content-Length\", \"0\"\)\) > 8388608\)", when.get("condition", ""))
    answer = when.find("return-response")
    assert answer is not None
    assert [one.get("code") for one in answer.iter("set-status")] == ["413"]
    assert "8388608 bytes" in (answer.findtext("set-body") or "")
