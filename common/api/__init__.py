"""Shared parts of the HTTP API: responses, authentication context, long polling, serializers, pagination."""
