"""Synthetic data sets drawn from a seed."""
