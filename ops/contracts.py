"""`dev.py partners contract`: the contracts of the declared partners as JSON, or what has changed since."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from shared.messages import Registry, discover
from shared.partners import Partner, PartnerModel
from shared.partners.contract import VERSION, changes, contract_of

__all__ = ["contracts", "main"]

PROGRAM = "dev.py partners contract"
OK, CHANGED, WRONG = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Print the contracts, or with `--check` how they differ from those of a file."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument("name", nargs="?", help="the partner; all without")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare with what was printed before")
    known = parser.parse_args(arguments)
    import integrations  # the users' modules declare partners

    found = contracts(discover(integrations), [*sys.modules.values()])
    if known.name is not None and known.name not in found:
        return _fail(f"there is no partner {known.name}; there are: {', '.join(found) or 'none'}")
    if known.name is not None:
        found = {known.name: found[known.name]}
    if known.check is None:
        content = {"contracts": VERSION, "partners": found}
        sys.stdout.write(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        return OK
    try:
        before = json.loads(known.check.read_text(encoding="utf-8"))
        if before["contracts"] != VERSION:
            return _fail(f"{known.check} has version {before['contracts']}: this reads {VERSION}")
        earlier = {name: one for name, one in before["partners"].items() if known.name in (None, name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return _fail(f"{known.check} holds no contracts ({type(error).__name__})")
    differ = list(changes(earlier, json.loads(json.dumps(found))))
    sys.stdout.write("".join(f"{line}\n" for line in differ) or "nothing has changed\n")
    return CHANGED if differ else OK


def contracts(registry: Registry, modules: Sequence[ModuleType]) -> dict[str, dict[str, Any]]:
    """Each partner's contract, with the models of the module that declares it."""
    return {
        one.name: contract_of(one, _models(one, modules))
        for one in sorted(registry.declared(Partner), key=lambda one: one.name)
    }


def _models(partner: Partner, modules: Sequence[ModuleType]) -> Iterator[type[PartnerModel]]:
    homes = {
        module.__name__
        for module in modules
        if any(value is partner for value in list(getattr(module, "__dict__", {}).values()))
    }
    for module in modules:
        if module.__name__ in homes:
            for value in list(vars(module).values()):
                if isinstance(value, type) and issubclass(value, PartnerModel) and value.__module__ == module.__name__:
                    yield value


def _fail(reason: str) -> int:
    sys.stderr.write(f"{PROGRAM}: {reason}\n")
    return WRONG


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
