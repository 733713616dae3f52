"""The network of a model in other runtimes: files of graphs, what runs them, and how they compare with the model."""
