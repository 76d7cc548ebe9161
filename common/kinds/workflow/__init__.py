"""Runs of the workflows of this service."""
