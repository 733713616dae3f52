"""The networks that only metrics use."""
