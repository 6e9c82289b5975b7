"""The demonstration: orders from a file or from a seed, replayed through the API and reconciled from the stores."""
