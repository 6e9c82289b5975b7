#!/usr/bin/env python3
"""The developer's one door: sets the machine up as far as a command needs, then hands over to it.

Needs nothing but Python 3.11 to 3.14. What needs packages lives in `local/` and runs in `.venv`.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent
OLDEST, NEWEST = (3, 11), (3, 14)

DEPLOYED = ("requirements.txt",)
LOCAL = (*DEPLOYED, "local/requirements.txt")
TESTS = (*LOCAL, "tests/requirements.txt")

USAGE = """\
usage: python3 dev.py COMMAND [options]

  run       start a whole local Azure with the app in it, replay orders, print a reconciled summary
  test      run the tests; everything after `test` goes to pytest
  check     lint, format, types, the direction of imports, the field's words,
            the doctor, and the rehearsal of a deployment
  bench     run the benchmarks: [NAME...] [--json FILE]
  emulator  start only the Service Bus and Event Hubs emulator
  token     print a bearer token for the running local stack: [--roles producer,reader,operator] [--client NAME]
  api-key   make an API key for a client: CLIENT [--roles producer]
  vault     look into the running local Key Vault: list | get NAME | set NAME [VALUE] | rotate NAME [--key]
  dead-letters  list, group, show, edit, replay, archive or discard what could not be processed
  trace     show a message's whole way, with its waits: ID, or the beginning of one [--follow]
            [--json | --mermaid | --kql]; or --topology; [--workspace GUID] asks an app in Azure
  pause     stop a lane, an integration or a partner on all instances: KIND NAME --reason WHY
  resume    end a pause; what waited is done: KIND NAME
  pauses    list what is paused, what waits, and what was paused lately
  declare   write what the code declares for infrastructure, emulator, gateway and docs: [--check]
  doctor    check that code, settings, host.json, emulator and infrastructure say the same: [--json FILE] [--only RULE]
  rehearse  play azd up and a delivery against a stand-in of Azure, and say what it would refuse: [--stage STAGE]
  package   build the one zip that is deployed, with a bill of materials: [--out FILE] [--with-packages]
            or, with --local-azure, the wheel of local-azure for other projects
  plan      what a load needs in Azure and what it costs: [--rate 5000/s --size 2KB --peak 3x --json …]
  audit     list what operators did, or check that nobody changed the list: list | verify [--known NUMBER:HASH] [--json]
  jobs      show when each scheduled job ran, how that went, and when it runs next: [--json]
  lake      look into the lake: status | query SQL | export TABLE | catch-up | rebuild [TABLE]; [--json FILE]
  erase     forget a person: SUBJECT [--kind customer] [--dry-run] --by WHO --reason WHY
  export    everything that is known of a person: SUBJECT [--kind customer] --out FOLDER --reason WHY
  shares    what is shared of the lake: list | token RECIPIENT --shares A,B --out FILE --reason WHY | withdraw ID
  captures  show how far changes of databases were captured; NAME --reset --reason WHY reads its tables anew
  polls     show how far each poll of a partner has come; NAME --to POSITION --reason WHY has it begin elsewhere
  views     make a view anew from its events, or go back: rebuild NAME [--to VERSION] | rollback NAME | drop NAME
  distrust-key  take no token under a signing key from now on, on all instances: KID --reason WHY; alone it lists them
  trust-key     take tokens under it again: KID
  partners  record what a partner answers, replay it, report how it differs: record | replay | contract
  fuzz      send hostile input to a stack of its own: requests | messages [--seed N] [--count N] [--first N]
  chaos     break a running stack on purpose and prove that nothing was lost: [--messages N] [--kills N] [--seed N]
            [--partners [--away S]] has orders shipped by a carrier that fails too

`python3 dev.py COMMAND --help` tells more about one of them. All that read a stack take --data-dir DIR, where that
stack keeps its data (default: .sluice)."""


class Verb(NamedTuple):
    """What a command needs installed, and the command line it becomes."""

    requirements: tuple[str, ...]
    azurite: bool
    command: Callable[[list[str]], list[str]]
    in_project: bool = False


def module(name: str) -> Callable[[list[str]], list[str]]:
    """A command that is `python -m name` with everything the user gave after it."""
    return lambda arguments: ["-m", name, *arguments]


def tests(arguments: list[str]) -> list[str]:
    """The suite, its files side by side; what the user names runs in one process, as pytest does it.

    Two processes more than there are cores, since tests of a whole stack wait a lot. What takes long comes first, as
    tests/conftest.py orders it, so that no core waits at the end for one long file.
    """
    workers = str((os.cpu_count() or 1) + 2)
    return ["-m", "pytest", *(arguments or ["-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"])]


def emulator(arguments: list[str]) -> list[str]:
    """The emulator, with the project's own entities unless the user names others."""
    if not any(part == "--config" or part.startswith("--config=") for part in arguments):
        configs = ("servicebus.json", "eventhubs.json")
        defaults = [part for name in configs for part in ("--config", str(PROJECT / "local" / "config" / name))]
        arguments = [*defaults, *arguments]
    return ["-m", "local_azure.broker", *arguments]


def partners(arguments: list[str]) -> list[str]:
    """Contracts are read from the app's code; what is exchanged isn't."""
    if arguments[:1] == ["contract"]:
        return ["-m", "ops.contracts", *arguments[1:]]
    return ["-m", "local.partners", *arguments]


def operate(verb: str) -> Callable[[list[str]], list[str]]:
    """An operator's verb on the stack that ran last in the project's own data folder, unless settings are named."""

    def command(arguments: list[str]) -> list[str]:
        arguments = [*from_here(arguments)]
        kept = PROJECT / ".sluice" / "app-settings.json"
        named = any(part.partition("=")[0] in ("--settings", "--data-dir") for part in arguments)
        settings = ["--settings", str(kept)] if kept.exists() and not named else []
        return ["-m", "ops", verb, *settings, *arguments]

    return command


def from_here(arguments: list[str]) -> Iterator[str]:
    """The arguments with the paths of a stack or its settings as they are seen from the user's folder."""
    names, before = ("--settings", "--data-dir"), ""
    for part in arguments:
        name, given, value = part.partition("=")
        if before in names:
            yield os.path.abspath(part)
        elif given and name in names:
            yield f"{name}={os.path.abspath(value)}"
        else:
            yield part
        before = part


VERBS = {
    "run": Verb(LOCAL, True, module("local.stack")),
    "test": Verb(TESTS, True, tests, in_project=True),
    "check": Verb(TESTS, False, module("local.checks"), in_project=True),
    "bench": Verb(TESTS, True, module("bench")),
    "emulator": Verb(LOCAL, False, emulator),
    "token": Verb(LOCAL, False, module("local.access.token")),
    "api-key": Verb(LOCAL, False, lambda arguments: ["-m", "ops", "api-key", *arguments]),
    "vault": Verb(LOCAL, False, module("local.access.vault")),
    "dead-letters": Verb(LOCAL, False, operate("dead-letters"), in_project=True),
    "declare": Verb(LOCAL, False, module("local.declaring")),
    "doctor": Verb(LOCAL, False, module("local.doctor")),
    "rehearse": Verb(LOCAL, False, module("local.rehearsal")),
    "package": Verb(LOCAL, False, module("local.packaging")),
    "plan": Verb(LOCAL, False, lambda arguments: ["-m", "ops", "plan", *arguments]),
    "audit": Verb(LOCAL, False, operate("audit"), in_project=True),
    "jobs": Verb(LOCAL, False, operate("jobs"), in_project=True),
    "lake": Verb(LOCAL, True, lambda arguments: ["-m", "local.lake", *operate("lake")(arguments)[3:]]),
    "erase": Verb(LOCAL, False, operate("erase"), in_project=True),
    "export": Verb(LOCAL, False, operate("export"), in_project=True),
    "shares": Verb(LOCAL, False, operate("shares"), in_project=True),
    "pause": Verb(LOCAL, False, operate("pause"), in_project=True),
    "resume": Verb(LOCAL, False, operate("resume"), in_project=True),
    "pauses": Verb(LOCAL, False, operate("pauses"), in_project=True),
    "captures": Verb(LOCAL, False, operate("captures"), in_project=True),
    "polls": Verb(LOCAL, False, operate("polls"), in_project=True),
    "distrust-key": Verb(LOCAL, False, operate("distrust-key"), in_project=True),
    "trace": Verb(LOCAL, False, operate("trace"), in_project=True),
    "trust-key": Verb(LOCAL, False, operate("trust-key"), in_project=True),
    "views": Verb(LOCAL, False, operate("views"), in_project=True),
    "chaos": Verb(LOCAL, True, module("local.chaos")),
    "fuzz": Verb(LOCAL, True, module("local.fuzz")),
    "partners": Verb(LOCAL, False, partners),
}


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit code."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        version = ".".join(map(str, sys.version_info[:3]))
        return fail(f"Sluice needs Python 3.11 to 3.14 and this is {version}: start it with python3.11 dev.py.")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if arguments else 2
    verb = VERBS.get(arguments[0])
    if verb is None:
        return fail(f"{arguments[0]} is not a command: use one of {', '.join(VERBS)}.")
    if {"-h", "--help"} & {*arguments[1:]}:
        return explain(arguments)
    try:
        python = prepare(verb)
    except KeyboardInterrupt:
        return fail("stopped; the next start goes on from here.", code=130)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        return fail("the disk is full: free about 1 GB and run this again." if full else str(error))
    if python is None:
        return 2
    return hand_over(python, verb, arguments[1:])


def prepare(verb: Verb) -> Path | None:
    """Install what the command needs and lacks; return the interpreter, or None after saying why."""
    sys.path.insert(0, str(PROJECT))
    from local.setup import Environment, SetupError, install_azurite

    environment = Environment(PROJECT)
    try:
        environment.ensure(verb.requirements)
        if verb.azurite:
            install_azurite(environment)
    except SetupError as error:
        fail(str(error))
        return None
    return environment.python


def explain(arguments: list[str]) -> int:
    """A command's own help where it is installed, else what is known here; nothing is installed for it."""
    sys.path.insert(0, str(PROJECT))
    from local.setup import Environment

    verb, environment = VERBS[arguments[0]], Environment(PROJECT)
    if environment.holds(verb.requirements):
        return hand_over(environment.python, verb, arguments[1:])
    lines = iter(USAGE.splitlines())
    told = [next(line for line in lines if line.startswith(f"  {arguments[0]} "))]
    for line in lines:
        if not line.startswith("     "):
            break
        told.append(line)
    print("\n".join([f"usage: python3 dev.py {arguments[0]} [options]", "", *told, ""]))
    print("Its packages aren't installed yet; the first use installs them, and then --help shows every option.")
    return 0


def hand_over(python: Path, verb: Verb, arguments: list[str]) -> int:
    """Become the command, so that signals and the exit code are its own."""
    # -P keeps a stray module in the user's folder from hiding ours.
    command = [str(python), "-P", *verb.command(arguments)]
    folders = (str(PROJECT), str(PROJECT / "local-azure" / "src"), os.environ.get("PYTHONPATH"))
    path = os.pathsep.join(part for part in folders if part)
    environment = {**os.environ, "PYTHONPATH": path}
    if verb.in_project:
        os.chdir(PROJECT)
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(command[0], command, environment)
    process = subprocess.Popen(command, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the command has got it too, and ends in its own time


def fail(reason: str, code: int = 2) -> int:
    """Say in one sentence what is missing or wrong."""
    print(f"dev.py: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
