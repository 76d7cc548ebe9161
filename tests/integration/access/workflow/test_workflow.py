"""The tests of the workflow worker, once more: with the rights of infra/cache.yaml."""

from tests.integration.workflow.test_handler import *  # noqa: F403  # each is collected here too, with this folder's fixtures
