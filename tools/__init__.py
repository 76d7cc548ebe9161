"""Tools for operators and checks; none of them is deployed."""
