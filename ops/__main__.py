"""`python -m ops VERB`: hands over to the verb's own command line, and loads no other."""

import sys
from collections.abc import Sequence
from importlib import import_module

from .settings_file import NoStack, settings_first

__all__ = ["VERBS", "main"]

VERBS = {
    "api-key": ("ops.api_key:main", "make an API key for a client"),
    "dead-letters": (
        "ops.dead_letters:main",
        "list, group, show, edit, replay, archive or discard what could not be processed",
    ),
    "audit": ("ops.auditing:main", "list what operators did, and check that nobody changed the list"),
    "plan": ("ops.planning:main", "what a load needs in Azure, which limit it meets first, and what it costs"),
    "lake": ("ops.lake:main", "what is in the lake; SQL over it, tables as files, catching up, rebuilding"),
    "jobs": ("ops.jobs:main", "show when each job ran, and runs next"),
    "erase": ("ops.erasing:main", "forget a person"),
    "export": ("ops.exporting:main", "everything that is known of a person, as JSON and CSV"),
    "shares": ("ops.shares:main", "list what is shared of the lake, make and withdraw recipients' tokens"),
    "pause": ("ops.pausing:pause", "stop a lane, an integration or a partner on all instances"),
    "resume": ("ops.pausing:resume", "end a pause; what waited is done"),
    "pauses": ("ops.pausing:pauses", "list what is paused, what waits, and what was paused lately"),
    "captures": (
        "ops.captures:main",
        "show how far changes of databases were captured, or have their tables read anew",
    ),
    "polls": ("ops.polls:main", "show or set how far each poll of a partner has come"),
    "distrust-key": ("ops.distrusting:distrust", "take no token under a signing key from now on"),
    "trace": ("ops.tracing:main", "show a message's whole way, with its waits"),
    "views": ("ops.views:main", "make a view anew from its events, serve it, or go back to the version before"),
    "trust-key": ("ops.distrusting:trust", "take tokens under it again"),
}
"""Each verb's command line, as `module:function`, and what it is for."""
_OF_AZURE = {"--workspace", "--kql"}
"""Options of `trace` that ask nothing of a stack."""
_WITHOUT_AN_APP = ("api-key", "plan")


def main(arguments: Sequence[str]) -> int:
    """Run the verb that the arguments begin with; return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_usage())
        return 0 if arguments else 2
    verb = VERBS.get(arguments[0])
    if verb is None:
        sys.stderr.write(f"ops: {arguments[0]} is not a verb: use one of {', '.join(VERBS)}.\n")
        return 2
    module, _, function = verb[0].partition(":")
    try:
        alone = arguments[0] in _WITHOUT_AN_APP or bool(_OF_AZURE & {one.partition("=")[0] for one in arguments[1:]})
        rest = list(arguments[1:]) if alone else settings_first(arguments[1:])
    except NoStack as error:
        sys.stderr.write(f"{arguments[0]}: {error}\n")
        return 2
    code: int = getattr(import_module(module), function)(rest)
    return code


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {meaning}" for name, (_, meaning) in VERBS.items()]
    ending = "All that read an app take --settings FILE, or --data-dir DIR of a local stack."
    return "\n".join(["usage: python -m ops VERB [options]", "", *lines, "", ending, ""])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
