"""The tests of retries, once more: with the rights of infra/cache.yaml."""

from tests.integration.http.test_retry import *  # noqa: F403  # each is collected here too, with this folder's fixtures
