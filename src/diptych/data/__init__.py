"""A user's data: paths -> layouts -> datasets -> loaders."""
