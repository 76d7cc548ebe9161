"""The stack on a laptop: the application's own template on an AWS of this machine, with a Valkey and a model."""
