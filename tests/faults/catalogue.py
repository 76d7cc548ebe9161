"""List all faults, in the order of the table."""

from tests.faults.catalogue_of_acceptance import ACCEPTANCE
from tests.faults.catalogue_of_kills import KILLS
from tests.faults.catalogue_of_leases import LEASES
from tests.faults.catalogue_of_limits import LIMITS
from tests.faults.catalogue_of_models import MODELS
from tests.faults.catalogue_of_openai import OPENAI
from tests.faults.catalogue_of_queues import QUEUES
from tests.faults.catalogue_of_redis import REDIS

FAULTS = [
    *KILLS.faults,
    *ACCEPTANCE.faults,
    *OPENAI.faults,
    *LEASES.faults,
    *REDIS.faults,
    *QUEUES.faults,
    *MODELS.faults,
    *LIMITS.faults,
]
