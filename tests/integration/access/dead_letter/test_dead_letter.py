"""The tests of the dead-letter function, once more: with the rights of infra/cache.yaml."""

from tests.integration.dead_letter.test_handler import *  # noqa: F403  # each is collected here too
