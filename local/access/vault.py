"""`dev.py vault`: looks into the running local vault through the real SDK; only `get` prints a value."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from azure.core.exceptions import AzureError, HttpResponseError
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient

from local_azure.identity import IdentityAddress, IdentityError, RegistrationError, read_registration
from local_azure.identity.credential import DeveloperCredential

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]
_BYTES: Final = 32


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        secret_client, key_client = _connect(options.data_dir)
        with secret_client, key_client:
            return _run(options, secret_client, key_client)
    except HttpResponseError as error:
        print(f"dev.py: {error.message.splitlines()[0]}", file=sys.stderr)  # noqa: T201
        return 1
    except (RegistrationError, IdentityError, AzureError) as error:
        where = f"No local stack runs in {options.data_dir}: start one with `python3 dev.py run`."
        print(f"dev.py: {where} ({str(error).splitlines()[0]})", file=sys.stderr)  # noqa: T201
        return 2


def _run(options: argparse.Namespace, secret_client: SecretClient, key_client: KeyClient) -> int:
    match options.verb:
        case "list":
            rows = [("secret", each) for each in secret_client.list_properties_of_secrets()]
            rows += [("key", each) for each in key_client.list_properties_of_keys()]  # type: ignore[misc]
            for kind, each in rows:
                state = "enabled" if each.enabled else "disabled"
                expires = f"expires {each.expires_on:%Y-%m-%d %H:%M} UTC" if each.expires_on else "never expires"
                _say(f"{kind:<7}{each.name:<32}{state:<10}{each.updated_on:%Y-%m-%d %H:%M} UTC  {expires}")
        case "get":
            _say(secret_client.get_secret(options.name).value or "")
        case "set":
            value = sys.stdin.read().rstrip("\r\n") if options.value is None else options.value
            _say(str(secret_client.set_secret(options.name, value).properties.version))
        case "rotate" if options.key:
            _say(str(key_client.rotate_key(options.name).properties.version))
        case "rotate":
            secret_client.get_secret(options.name)  # a name that was mistyped makes no new secret
            made = secret_client.set_secret(options.name, secrets.token_urlsafe(_BYTES))
            _say(str(made.properties.version))
    return 0


def _connect(data: Path) -> tuple[SecretClient, KeyClient]:
    path = data / "app-settings.json"
    registration = read_registration(data / "identity")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["Values"]
        url, tenant, _ = values["SLUICE_AUTH_ISSUER"].rsplit("/", 2)
        vault, bundle = str(values["KeyVault__vaultUri"]), str(values["SSL_CERT_FILE"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RegistrationError(f"{path} does not say where a vault is") from None
    credential = DeveloperCredential(IdentityAddress(url, tenant), registration)
    options: dict[str, Any] = {"connection_verify": bundle, "retry_total": 1}
    return SecretClient(vault, credential, **options), KeyClient(vault, credential, **options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py vault", description="List, read, set or rotate what the running local vault holds."
    )
    parser.add_argument(
        "--data-dir", type=Path, default=_PROJECT / ".sluice", metavar="DIR", help="of the stack (default: .sluice)"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="names, states and times of secrets and keys")
    verbs.add_parser("get", help="print a secret's value").add_argument("name")
    setting = verbs.add_parser("set", help="add a version of a secret; print its id")
    setting.add_argument("name")
    setting.add_argument("value", nargs="?", help="read from standard input where it is left out")
    rotating = verbs.add_parser("rotate", help="add a version with a new random value; print its id")
    rotating.add_argument("name")
    rotating.add_argument("--key", action="store_true", help="the name is a key's")
    return parser


def _say(text: str) -> None:
    print(text)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
