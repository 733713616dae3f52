"""A trained model: networks, and how to use them."""
