"""Authentication: who calls the API, by a token of an issuer or by an API key."""

import logging

from functions.callers import ApiKeySource
from shared.authentication import (
    Authenticator,
    DistrustedKeys,
    Fetcher,
    SeveralIssuers,
    SigningKeys,
    TokenRules,
    TokenVerifier,
)
from shared.authentication.settings import AuthenticationSettings
from shared.environment import WrongSettings
from shared.health import Check, Degraded
from shared.telemetry import log_event

from .capability import Capability, Command
from .composition import Composition
from .declaring import ROUTES, Access, Need
from .platform import platform
from .secrets import secret_cache
from .sharing import share_credentials
from .state import STATE

__all__ = ["authenticator", "capability", "distrusted_keys", "more_signing_keys", "signing_keys"]

_PROBE_SECONDS = 3.0


def distrusted_keys(composition: Composition) -> DistrustedKeys:
    """The signing keys that an operator distrusts."""
    table = composition.get(platform).table(STATE.name)
    made = DistrustedKeys(table, now=composition.now)
    composition.on_close(table.close)
    composition.on_close(made.close)
    return made


def signing_keys(composition: Composition) -> SigningKeys | None:
    """The keys of the issuer; None where no tokens are taken."""
    settings = composition.settings
    if settings.auth == "none" or settings.auth_issuer is None:
        return None
    fetcher = Fetcher()
    composition.on_close(fetcher.close)
    kept = settings.auth_keys_kept_seconds
    return SigningKeys(settings.auth_issuer, settings.auth_jwks_uri, fetcher, kept_seconds=kept)


def more_signing_keys(composition: Composition) -> dict[str, SigningKeys]:
    """The keys of the issuers beside the first, by their names."""
    settings = composition.settings
    if settings.auth == "none" or not settings.more_issuers:
        return {}
    fetcher = Fetcher()
    composition.on_close(fetcher.close)
    kept = settings.auth_keys_kept_seconds
    return {one.name: SigningKeys(one.issuer, one.jwks, fetcher, kept_seconds=kept) for one in settings.more_issuers}


def _verifiers(composition: Composition) -> list[TokenVerifier]:
    """One for each issuer."""
    settings, signing = composition.settings, composition.get(signing_keys)
    known = settings.more_issuers
    found: list[tuple[TokenRules, SigningKeys]] = []
    if settings.auth_issuer is not None and signing is not None:
        names = tuple(one.name for one in known)
        found.append((TokenRules(settings.auth_issuer, settings.audiences, others=names), signing))
    more = composition.get(more_signing_keys)
    found += [(TokenRules(one.issuer, one.audiences, one.roles, one.name), more[one.name]) for one in known]
    return [TokenVerifier(rules, keys, distrusted=composition.get(distrusted_keys).known) for rules, keys in found]


def authenticator(composition: Composition) -> Authenticator | None:
    """Finds out who calls; None where callers aren't checked.

    Raises
    ------
    WrongSettings
        Nothing says how callers are known.
    """
    settings = composition.settings
    if settings.auth == "none":
        log_event("callers aren't checked", level=logging.WARNING, setting="SLUICE_AUTH")
        return None
    if settings.auth_issuer is None and settings.api_keys is None and not settings.more_issuers:
        raise WrongSettings(
            "Wrong settings: SLUICE_AUTH_ISSUER and SLUICE_API_KEYS are missing, so nobody could call the API: "
            "set one or both, or SLUICE_AUTH=none to let everybody in"
        )
    verifiers = _verifiers(composition)
    tokens = verifiers[0] if len(verifiers) == 1 else SeveralIssuers(verifiers) if verifiers else None
    keys = None
    if settings.api_keys is not None:
        keys = ApiKeySource(settings.api_keys, lambda: composition.get(secret_cache))
    shares = composition.get(share_credentials)
    return composition.closing(Authenticator(tokens, keys, None if shares is None else (shares[0], shares[1].caller)))


def capability(composition: Composition) -> Capability:
    """Whether the issuer answers, and the operators' commands; the API asks the authenticator."""
    signing = composition.get(signing_keys)
    every = {} if signing is None else {"issuer": signing}
    every |= {f"issuer-{name}": keys for name, keys in composition.get(more_signing_keys).items()}
    return Capability(
        name="authentication",
        probes={name: _check(keys) for name, keys in every.items()},
        commands=[
            Command(name="distrust-key", summary="take no token under a signing key", module="ops.distrusting"),
            Command(name="trust-key", summary="take tokens under it again", module="ops.distrusting"),
        ],
        needs=[
            Need(access=Access.READ, to=STATE, why="Knows the signing keys that an operator distrusts.", by=[ROUTES])
        ],
        settings=AuthenticationSettings.variables(),
    )


def _check(keys: SigningKeys) -> Check:
    async def issuer() -> None:
        if not await keys.ask(_PROBE_SECONDS):
            left = keys.kept_for
            meanwhile = (
                f"known keys stay valid for {left:.0f} s" if left else "callers with tokens are answered with 503"
            )
            raise Degraded(f"The issuer doesn't answer: {meanwhile}.")

    return Check(ask=issuer, interval=30, timeout=_PROBE_SECONDS + 1, threshold=1, weight=0.5)
