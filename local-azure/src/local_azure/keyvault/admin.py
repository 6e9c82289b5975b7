"""The vault's administration, which Azure does not have: faults, counters, roles, subscriptions. No I/O."""

from __future__ import annotations

import json
from typing import Any, Final

from local_azure.keyvault.access import ROLES
from local_azure.keyvault.events import Subscription
from local_azure.keyvault.requests import Counters, Fault, Faults
from local_azure.keyvault.vault import Vault
from local_azure.keyvault.wire import Answer

__all__ = ["Administration"]

_DONE: Final = Answer(204)


class Administration:
    """Answers requests to the loopback address; bodies must be JSON, which no web page can send unasked."""

    def __init__(self, vault: Vault, faults: Faults, counters: Counters) -> None:
        self._vault = vault
        self._faults = faults
        self._counters = counters

    def answer(self, method: str, path: str, body: bytes, content_type: str) -> Answer:
        """Answer one request."""
        try:
            content = self._content(method, body, content_type)
            return self._route(method, path.strip("/").split("/"), content)
        except ValueError as error:
            return Answer(400, {"error": str(error)})

    def _content(self, method: str, body: bytes, content_type: str) -> Any:
        if method not in ("POST", "PUT"):
            return None
        if content_type != "application/json":
            raise ValueError("The content type must be application/json.")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise ValueError("The body is not JSON.") from None

    def _route(self, method: str, parts: list[str], content: Any) -> Answer:
        match method, parts:
            case "GET", ["health"]:
                return Answer(200, {"status": "healthy"})
            case "POST", ["faults"]:
                self._faults.add(Fault.read(_object(content)))
                return _DONE
            case "DELETE", ["faults"]:
                self._faults.clear()
                return _DONE
            case "GET", ["requests"]:
                return Answer(200, self._counters.snapshot())
            case "DELETE", ["requests"]:
                self._counters.clear()
                return _DONE
            case "GET", ["events"]:
                delivery = self._vault.delivery
                return Answer(200, dict(delivery.counts) if delivery is not None else {})
            case "PUT", ["subscriptions"]:
                if not isinstance(content, list):
                    raise ValueError("The body must be an array of subscriptions.")
                self._vault.subscribe([Subscription.read(_object(each)) for each in content])
                return _DONE
            case "PUT", ["access", object_id] if object_id:
                roles = _object(content).get("roles")
                if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
                    raise ValueError(f"roles must be an array of {', '.join(ROLES)}.")
                self._vault.access.grant(object_id, roles)
                return _DONE
        return Answer(404, {"error": "There is nothing here."})


def _object(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError("The body must be an object.")
    return content
