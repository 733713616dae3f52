"""Campaigns: thousands of hostile or damaged inputs, each a function of a seed and a number. Not part of the test suite."""
