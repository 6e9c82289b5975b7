"""The table of functions that the host prints, in the form of Core Tools."""

from collections.abc import Sequence

from local_azure.host.functions import Function
from local_azure.host.http.server import http_methods, route_of

__all__ = ["function_table"]

_ORDER = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


def function_table(functions: Sequence[Function], *, base_url: str, prefix: str, disabled: frozenset[str]) -> list[str]:
    """HTTP functions with their methods and URLs first, then the others as `name: trigger type`."""
    http = [each for each in functions if each.trigger_type == "httpTrigger"]
    lines = ["Functions:", ""]
    for function in (*http, *(each for each in functions if each not in http)):
        what = _address(function, base_url, prefix) if function in http else function.trigger_type
        note = " (disabled)" if function.name in disabled else ""
        lines += [f"\t{function.name}{note}: {what}", ""]
    return lines


def _address(function: Function, base_url: str, prefix: str) -> str:
    methods = http_methods(function)
    shown = f"[{','.join(sorted(methods, key=_position))}] " if methods else ""
    return f"{shown}{base_url}/{route_of(function, prefix)}"


def _position(method: str) -> int:
    return _ORDER.index(method) if method in _ORDER else len(_ORDER)
