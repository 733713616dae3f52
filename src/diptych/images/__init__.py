"""Images: their specification, files, geometry, colour, masks. Knows nothing of datasets."""
