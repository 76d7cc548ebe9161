"""Work off a queue of tasks: what the worker of prompts and the worker of workflows have in common."""
