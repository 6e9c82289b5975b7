"""A partner's API on this machine: it answers as a script says, and tells what it was asked."""

from local_azure.partner.book import Asked, Book
from local_azure.partner.script import Behaviour, Rule, Script, WrongScript

__all__ = ["Asked", "Behaviour", "Book", "Rule", "Script", "WrongScript"]
