"""Where lines go: the host's own with a time in front, the app's unchanged, one per record."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

__all__ = ["HOST_LOGGER", "capture_app_logs", "configure_host_log", "keep_app_logs_single", "say"]

HOST_LOGGER = logging.getLogger("local_azure.host")


class _HostFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return f"[{moment.removesuffix('+00:00')}Z] {super().format(record)}"


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, so that whoever reads the log reads all of it one way."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname.lower(), "event": record.getMessage(), "logger": record.name}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _AppHandler(logging.StreamHandler[TextIO]):
    """Passes the app's records through as the platform's log stream would show them."""


def say(line: str) -> None:
    """One line of the host to whoever started it, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def configure_host_log(*, quiet: bool, as_json: bool = False) -> None:
    """Set up the host's own log; quiet keeps warnings and errors only."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter() if as_json else _HostFormatter("%(message)s"))
    HOST_LOGGER.handlers[:] = [handler]
    HOST_LOGGER.propagate = False
    HOST_LOGGER.setLevel(logging.WARNING if quiet else logging.INFO)


def capture_app_logs(*, as_json: bool = False) -> None:
    """Root records from INFO up appear as they are, as the worker sends them; SDK chatter stays out."""
    root = logging.getLogger()
    handler = _AppHandler(sys.stdout)
    if as_json:
        handler.setFormatter(_JsonFormatter())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for library in ("azure", "aiohttp.access", "uamqp"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # Malformed requests are answered with 400; the server's stack traces of them help nobody.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


def keep_app_logs_single() -> None:
    """Step back where the app has set up its own output, so that no line appears twice."""
    root = logging.getLogger()
    own = [handler for handler in root.handlers if isinstance(handler, _AppHandler)]
    if len(root.handlers) > len(own):
        for handler in own:
            root.removeHandler(handler)
