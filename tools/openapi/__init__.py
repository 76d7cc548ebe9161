"""Generate the OpenAPI 3.1 description from the code: `python -m tools.openapi` writes functions/docs/openapi.json."""
