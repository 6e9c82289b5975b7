"""What `azd` runs before and after its own steps. Standard library and `az` only."""
