"""Webhooks: the model, the events and their publisher."""
