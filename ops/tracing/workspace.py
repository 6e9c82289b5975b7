"""Spans from Application Insights, by the query API of its Log Analytics workspace."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from shared.telemetry.span_store import Found, StoredSpan

from .kql import find_query, found_of, newest_query, spans_of, trace_query
from .sources import MOST_SPANS, NoSpans

__all__ = ["ENDPOINT", "SCOPE", "WorkspaceSource", "sign_in"]

ENDPOINT = "https://api.loganalytics.azure.com"
SCOPE = "https://api.loganalytics.io/.default"
SECONDS = 60.0
LARGEST_ANSWER = 64 * 1024 * 1024


class WorkspaceSource:
    """Asks a workspace.

    Parameters
    ----------
    workspace:
        Its id, a GUID.
    token:
        Gives an access token for the query API.
    days:
        How far back is looked.
    """

    def __init__(self, workspace: str, token: Callable[[], str], *, endpoint: str = ENDPOINT, days: int = 30) -> None:
        self._url = f"{endpoint}/v1/workspaces/{workspace}/query"
        self._token = token
        self._days = days

    def find(self, text: str, *, most: int) -> list[Found]:
        """Traces that an id, or its beginning, names."""
        return found_of(self._ask(find_query(text, most=most)), text)

    def trace(self, trace: str) -> list[StoredSpan]:
        """The spans of a trace, and those that link to it."""
        return spans_of(self._ask(trace_query(trace, most=MOST_SPANS)))

    def newest(self, most: int) -> list[StoredSpan]:
        """The spans that ended last."""
        return spans_of(self._ask(newest_query(most)))

    def _ask(self, query: str) -> list[Mapping[str, Any]]:
        body = json.dumps({"query": query, "timespan": f"P{self._days}D"}).encode()
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        try:
            request = urllib.request.Request(self._url, data=body, headers=headers)  # noqa: S310 - Azure's, or a test's
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                whole = answer.read(LARGEST_ANSWER + 1)
            if len(whole) > LARGEST_ANSWER:
                raise NoSpans("the workspace's answer is larger than 64 MB: name a longer part of the id.")
            return _rows(json.loads(whole))
        except urllib.error.HTTPError as error:
            raise NoSpans(f"the workspace answers {error.code}: {_reason(error.read(65_536))}") from error
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise NoSpans(f"the workspace can't be asked: {type(error).__name__}: {error}") from error


def _rows(answer: Any) -> list[Mapping[str, Any]]:
    table = answer["tables"][0]
    names = [column["name"] for column in table["columns"]]
    return [dict(zip(names, row, strict=True)) for row in table["rows"]]


def _reason(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        inner = error.get("innererror", {}).get("message") or error.get("message")
        return f"{error.get('code')}: {inner}"[:300]
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:200].decode("utf-8", "replace")


def sign_in() -> Callable[[], str]:
    """Tokens of whoever is signed in on this machine, as the Azure CLI has it, or of a managed identity."""
    from azure.identity import DefaultAzureCredential

    credential = DefaultAzureCredential()
    return lambda: credential.get_token(SCOPE).token
