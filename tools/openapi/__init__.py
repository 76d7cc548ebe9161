"""Describe the API in OpenAPI 3.1, from the code: `python -m tools.openapi` writes functions/docs/openapi.json."""
