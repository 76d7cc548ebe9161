"""Tasks, messages, usage, prices, budgets and errors. Standard library only."""
