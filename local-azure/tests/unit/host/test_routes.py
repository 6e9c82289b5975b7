"""Route templates as ASP.NET matches them, tried in the order of function names."""

import pytest

from local_azure.host.http.paths import BadPath, read_path
from local_azure.host.http.routes import RouteTable, RouteTemplate


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("api/orders", "/api/orders", {}),
        ("api/orders", "/API/Orders/", {}),
        ("api/orders", "/api/orders/1", None),
        ("api/orders/{id}", "/api/orders/a b", {"id": "a b"}),
        ("api/orders/{id}", "/api/orders/", None),
        ("api/orders/{id?}", "/api/orders", {}),
        ("api/orders/{id:int}", "/api/orders/12", {"id": "12"}),
        ("api/orders/{id:int}", "/api/orders/x", None),
        ("api/orders/{id:int?}", "/api/orders", {}),
        ("api/{*path}", "/api", {}),
        ("api/{*path}", "/api/a/b/c", {"path": "a/b/c"}),
        ("{*path}", "/anything/at/all", {"path": "anything/at/all"}),
        ("api/{kind=all}", "/api", {"kind": "all"}),
        ("api/v{version}.json", "/api/v1.2.json", {"version": "1.2"}),
        ("api/{code:length(2)}", "/api/gb", {"code": "gb"}),
        ("api/{code:length(2)}", "/api/gbr", None),
        ("api/{n:range(1,9)}", "/api/10", None),
        ("api/{id:guid}", "/api/9d3b2f0e-0000-0000-0000-000000000000", {"id": "9d3b2f0e-0000-0000-0000-000000000000"}),
        (r"api/{sku:regex(^\d{{3}}[a-z]$)}", "/api/123A", {"sku": "123A"}),
        (r"api/{sku:regex(^\d{{3}}[a-z]$)}", "/api/12A", None),
        ("api/{a:alpha:minlength(2)}", "/api/x", None),
        ("api/{a}-{b}", "/api/left-right", {"a": "left", "b": "right"}),
        ("", "/", {}),
    ],
)
def test_match(template: str, path: str, expected: dict[str, str] | None) -> None:
    assert RouteTemplate(template).match(path) == expected


@pytest.mark.parametrize("template", ["a/{x", "a/{*x}/b", "a/{x}/{X}", "a/{x:nonsense}", "a/x}", "a/{x:length(a)}"])
def test_refuses_a_malformed_template(template: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RouteTemplate(template)


def test_the_first_function_by_name_wins_not_the_most_specific_route() -> None:
    """A trap of the platform: `{id}` of function `details` takes what `list` was meant for."""
    table = RouteTable([(RouteTemplate("p/{id}"), None, "details"), (RouteTemplate("p/list"), None, "list")])
    assert table.find("GET", "/p/list") == ("details", {"id": "list"})


def test_a_method_that_does_not_fit_is_no_match_at_all() -> None:
    table = RouteTable([(RouteTemplate("p"), frozenset({"POST"}), "create"), (RouteTemplate("p"), None, "any")])
    assert table.find("POST", "/p") == ("create", {})
    assert table.find("PUT", "/p") == ("any", {})
    assert RouteTable([(RouteTemplate("p"), frozenset({"POST"}), "create")]).find("GET", "/p") is None


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("/a%20b", "/a b"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb%41", "/a%2fbA"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/../../b/.", "/b/"),
        ("/a//b", "/a//b"),
        ("/%ff", "/%ff"),
        ("/%C3%A9", "/é"),
        ("/", "/"),
    ],
)
def test_paths_are_decoded_but_for_slashes(raw: str, decoded: str) -> None:
    assert read_path(raw) == decoded


def test_a_null_character_is_refused() -> None:
    with pytest.raises(BadPath):
        read_path("/a%00b")


def test_an_empty_segment_fits_nothing_and_an_empty_catch_all_is_absent() -> None:
    table = RouteTable([(RouteTemplate("api/{*path}"), None, "all")])
    assert table.find("GET", "/api//a") is None
    assert table.find("GET", "/api/a//") is None
    assert table.find("GET", "/api/a/") == ("all", {"path": "a/"})
    assert table.find("GET", "/api/") == ("all", {})
