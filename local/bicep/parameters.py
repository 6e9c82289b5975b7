"""The values that a `.bicepparam` file gives."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tree_sitter import Node

from .evaluation import Evaluator
from .syntax import read_text

__all__ = ["read_parameters"]

_PARAM = re.compile(r"^param (\w+) *=", re.MULTILINE)
_USING = re.compile(r"^using .*$", re.MULTILINE)


def read_parameters(file: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a parameters file gives, name → value; `readEnvironmentVariable` looks in `environment`.

    Raises
    ------
    BicepError
        It can't be read.
    """
    source = file.read_text(encoding="utf-8")
    names = _PARAM.findall(source)
    # The grammar knows no parameters files; without `using` one reads like a template that declares variables.
    document = read_text(file, _PARAM.sub(r"var \1 =", _USING.sub("", source)))
    evaluator = _Environment(file, document.declarations, os.environ if environment is None else environment)
    return {name: evaluator.named(name) for name in names}


class _Environment(Evaluator):
    """An evaluator that also reads environment variables, as only parameters files may."""

    def __init__(self, file: Path, declarations: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        super().__init__(file, self.named)
        self._declarations = declarations
        self._environment = environment

    def named(self, name: str) -> Any:
        return self.value(self._declarations[name].value)

    def called(self, name: str, values: list[Any], node: Node) -> Any:
        if name != "readEnvironmentVariable":
            return super().called(name, values, node)
        variable, *default = values
        return self._environment.get(variable, default[0] if default else "")
