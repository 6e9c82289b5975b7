"""What is raised when a template can't be read or worked out."""

from pathlib import Path

__all__ = ["BicepError"]


class BicepError(ValueError):
    """A template that can't be read; the message begins with `file:line:`."""

    def __init__(self, file: Path, line: int, message: str) -> None:
        super().__init__(f"{file}:{line}: {message}")
        self.file = file
        self.line = line
