"""What every client of an Azure service is made with: the app's credentials, and whether there is a proxy."""

from .credentials import Credentials, proxied

__all__ = ["Credentials", "proxied"]
