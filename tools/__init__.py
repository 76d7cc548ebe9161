"""Hold what an operator or a check runs by hand; nothing of it ships."""
