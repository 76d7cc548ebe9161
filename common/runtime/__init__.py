"""Settings, metrics, logging and the initialisation of a Lambda environment."""
