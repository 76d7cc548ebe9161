"""Write functions/docs/openapi.json."""

from tools.openapi.document import PATH, written

PATH.write_text(written(), encoding="utf-8")
