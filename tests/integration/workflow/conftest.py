from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from common.runtime.settings import RedisSettings
from functions.workflow.workflow import Workflow
from local.model import StandIn
from tests.integration.worker.conftest import Line, aws, line, model, valkey, worker_settings
from tests.integration.worker.environment import running_handler
from tests.integration.workflow.environment import WorkflowEnvironment

__all__ = ["aws", "line", "model", "valkey", "worker_settings"]

type Start = Callable[..., AbstractContextManager[WorkflowEnvironment]]


@pytest.fixture
def start(worker_settings: pytest.MonkeyPatch, line: Line, model: tuple[str, StandIn], valkey: RedisSettings) -> Start:
    """Start environments of the workflow worker, with the workflows that ship or with a test's own, on one queue."""
    worker_settings.setenv("DEFAULT_MODEL", "gpt-test")

    @contextmanager
    def started(*workflows: Workflow[Any]) -> Iterator[WorkflowEnvironment]:
        if workflows:
            worker_settings.setattr("functions.workflow.chains.WORKFLOWS", workflows)
        with running_handler("workflow") as handler:
            yield WorkflowEnvironment(handler, line.sqs, line.url, model[1], valkey)

    return started
