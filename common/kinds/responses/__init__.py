"""Responses, as POST /responses makes them."""
