"""Networks that are used by metrics alone."""
