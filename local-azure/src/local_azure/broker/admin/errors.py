"""How a refused request is answered: a status, and a detail with the service's sub-code."""

__all__ = ["RequestError", "bad_request", "not_found"]


class RequestError(Exception):
    """A request that cannot be met. `sub_code` is the service's finer code, such as 40400."""

    def __init__(self, status: int, sub_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.sub_code = sub_code
        self.detail = detail


def bad_request(detail: str) -> RequestError:
    """HTTP 400: the request itself is wrong."""
    return RequestError(400, 40000, detail)


def not_found(detail: str) -> RequestError:
    """HTTP 404: no such entity."""
    return RequestError(404, 40400, detail)
