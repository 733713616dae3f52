"""The parts that papers are made of. A network knows shapes and nothing of data, losses or training."""
