"""The tests of the API, once more: with the rights of infra/cache.yaml."""

from tests.integration.http.test_budgets import *  # noqa: F403  # each is collected here too, with this folder's fixtures
from tests.integration.http.test_cancel import *  # noqa: F403
from tests.integration.http.test_prefer_wait import *  # noqa: F403
from tests.integration.http.test_retry import *  # noqa: F403
from tests.integration.http.test_stream import *  # noqa: F403
from tests.integration.http.test_submit_and_status import *  # noqa: F403

# Those that name the server they run on.
del test_a_full_queue_refuses_calls_until_it_has_room  # noqa: F821
del test_a_large_batch_is_retried_whole  # noqa: F821
