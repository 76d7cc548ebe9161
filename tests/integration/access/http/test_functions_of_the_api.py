"""The tests of the API, once more: with the rights of infra/cache.yaml."""

from tests.integration.http.test_budgets import *  # noqa: F403  # each is collected here too, with this folder's fixtures
from tests.integration.http.test_cancel import *  # noqa: F403
from tests.integration.http.test_prefer_wait import *  # noqa: F403
from tests.integration.http.test_stream import *  # noqa: F403
from tests.integration.http.test_submit_and_status import *  # noqa: F403
