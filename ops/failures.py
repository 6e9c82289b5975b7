"""What an operator reads about a store, broker or vault that fails: the cause, and not the layers around it."""

__all__ = ["cause_of"]

_LONGEST = 300


def cause_of(error: BaseException) -> str:
    """The innermost cause of an error: its type, and what it says in one line."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        inner = getattr(cause, "inner_exception", None)  # of the SDKs
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
    lines = str(seen[-1]).strip().splitlines() or [""]
    return f"{type(seen[-1]).__name__}: {lines[0]}"[:_LONGEST].rstrip(": ")
