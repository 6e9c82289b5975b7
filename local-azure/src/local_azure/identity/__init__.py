"""An OpenID issuer in the shape of Entra ID, and the managed identity endpoint of App Service, on this machine."""

from local_azure.identity.client import (
    IdentityAddress,
    IdentityError,
    fetch_token,
    object_id,
    parse_identity,
    rotate_keys,
)
from local_azure.identity.registration import Registration, RegistrationError, open_registration, read_registration

__all__ = [
    "IdentityAddress",
    "IdentityError",
    "Registration",
    "RegistrationError",
    "fetch_token",
    "object_id",
    "open_registration",
    "parse_identity",
    "read_registration",
    "rotate_keys",
]
