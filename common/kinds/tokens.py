"""Hold what the estimates of all kinds share. Standard library only."""

from typing import Final

DEFAULT_ANSWER_TOKENS: Final = 256
"""The length that is expected of an answer when nothing says how long it will be."""

CHARACTERS_PER_TOKEN: Final = 4
"""OpenAI's own rule of thumb for English."""

MEDIA_TOKENS: Final = 1_000
"""What an image, a sound or a file counts: about an image of a megapixel. Its bytes are no text that a model reads."""
