"""Authentication: who calls the API, by a token of an issuer or by an API key."""

import logging

from functions.callers import ApiKeySource
from shared.authentication import Authenticator, Fetcher, SigningKeys, TokenRules, TokenVerifier
from shared.authentication.settings import AuthenticationSettings
from shared.environment import WrongSettings
from shared.telemetry import log_event

from .capability import Capability
from .composition import Composition
from .secrets import secret_cache

__all__ = ["authenticator", "capability"]


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
    if settings.auth_issuer is None and settings.api_keys is None:
        raise WrongSettings(
            "Wrong settings: SLUICE_AUTH_ISSUER and SLUICE_API_KEYS are missing, so nobody could call the API: "
            "set one or both, or SLUICE_AUTH=none to let everybody in"
        )
    tokens = None
    if settings.auth_issuer is not None:
        rules = TokenRules(settings.auth_issuer, settings.audiences)
        fetcher = Fetcher()
        composition.on_close(fetcher.close)
        tokens = TokenVerifier(rules, SigningKeys(settings.auth_issuer, settings.auth_jwks_uri, fetcher))
    keys = None
    if settings.api_keys is not None:
        keys = ApiKeySource(settings.api_keys, lambda: composition.get(secret_cache))
    made = Authenticator(tokens, keys)
    composition.on_close(made.close)
    return made


def capability(composition: Composition) -> Capability:
    """Settings alone: the API asks the authenticator."""
    return Capability(
        name="authentication",
        settings=AuthenticationSettings.variables(),
    )
