"""The tools that make a data set: each reads what a person has and writes a folder of its own."""
