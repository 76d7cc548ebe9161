"""Build the spec of a task for tests that check each place which carries it."""

from typing import Final

from common.domain.task import TaskSpec

FULL_SPEC: Final = TaskSpec(model="small", custom_id="row-1")
"""A spec with a value in every field."""
