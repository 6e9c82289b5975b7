"""The read models over HTTP: one row by its key, or the rows of a person by token, as far as the caller may see."""

from urllib.parse import urlencode

from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.responses import Response

from shared.classification import Classification, Tokenized
from shared.encryption import ProtectionError
from shared.http import error
from shared.messages import ErrorCode
from shared.privacy import access_level_of, masked
from shared.telemetry import log_event

from .services import Services

__all__ = ["Views"]

PAGE, MAX_PAGE = 50, 200
MAX_KEY = 128
MAX_VALUE = 256


class Views:
    """The endpoints of the read models."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def findable(self, view: str) -> dict[str, Tokenized]:
        """By JSON name the fields by which rows of a view are found."""
        return {name: marker for plan in self._services.registry.plans(view) for name, marker in plan.tokenized.items()}

    async def one(self, view: str, key: str, request: Request) -> Response:
        """One row of a read model."""
        services = self._services
        found = await services.views.get(view, key) if 1 <= len(key) <= MAX_KEY else None
        if found is None:
            return error(ErrorCode.NOT_FOUND, f"There is nothing under {view}/{key[:MAX_KEY]}.", now=services.now())
        try:
            return Response(await self._masked(view, key, found, request), media_type="application/json")
        except ProtectionError as failure:
            log_event("row unreadable", level=40, view=view, key=key, code=failure.code, reason=failure.message)
            return error(failure.code, "This row can't be opened.", now=services.now(), status=500)

    async def find(self, view: str, request: Request) -> Response:
        """The rows of a read model with one value in a tokenized field; for who may see such a field only."""
        services = self._services
        if _access_level(request) < Classification.RESTRICTED:
            return error(ErrorCode.FORBIDDEN, "Only an operator finds rows by such a value.", now=services.now())
        asked = _asked(request, self.findable(view))
        if isinstance(asked, str):
            return error(ErrorCode.BAD_REQUEST, asked, now=services.now())
        name, value, top, after = asked
        if services.fields is None:
            return error(ErrorCode.NOT_FOUND, "Rows are found so only where fields are sealed.", now=services.now())
        tokens = await services.fields.candidates(self.findable(view)[name], value)
        page = await services.views.find(view, name, tokens, top=top, after=after)
        rows = []
        for key, text in page.rows:
            try:
                rows.append(from_json(await self._masked(view, key, text, request)))
            except ProtectionError as failure:  # one row that was tampered with doesn't hide the others
                log_event("row unreadable", level=40, view=view, key=key, code=failure.code, reason=failure.message)
        body = {"value": rows, "count": len(rows)}
        if page.after is not None:
            body["nextLink"] = f"/api/{view}?{urlencode({name: value, 'top': top, 'after': page.after})}"
        return Response(to_json(body), media_type="application/json")

    async def _masked(self, view: str, key: str, text: str, request: Request) -> bytes:
        services = self._services
        plans = services.registry.plans(view)
        return await masked(text, plans, ("view", view, key), level=_access_level(request), fields=services.fields)


def _access_level(request: Request) -> Classification:
    caller = getattr(request.state, "caller", None)
    return access_level_of(None if caller is None else caller.roles)


def _asked(request: Request, findable: dict[str, Tokenized]) -> tuple[str, str, int, str] | str:
    """Field, value, page size and where to go on; or what is wrong with the question."""
    asked = request.query_params
    names = [name for name in findable if asked.get(name)]
    if len(names) != 1 or len(asked[names[0]]) > MAX_VALUE:
        return f"Ask by one of: {', '.join(findable)}; its value has 1 to {MAX_VALUE} characters."
    top, after = asked.get("top", str(PAGE)), asked.get("after", "")
    if not (top.isascii() and top.isdecimal() and len(top) <= 3 and 1 <= int(top) <= MAX_PAGE):
        return f"top: must be 1 to {MAX_PAGE}."
    if len(after) > MAX_KEY or not after.isprintable():
        return f"after: must be a key of at most {MAX_KEY} printable characters."
    return names[0], asked[names[0]], int(top), after
