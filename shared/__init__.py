"""The toolkit: one package per capability; knows nothing of functions/ or integrations/."""
