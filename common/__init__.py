"""Hold what at least two functions need: the layer of the stack."""
