"""What operators do, on a laptop's stack or in Azure: one module or package a verb, `python -m ops VERB`.

It is part of the package that is deployed, so that whoever operates a release has the commands of exactly that release;
the app never imports it.
"""

__all__: list[str] = []
