"""Read the workflow worker's settings: the worker's, and the model of chains that name none."""

from dataclasses import dataclass

from common.runtime.settings import Environment, text
from common.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class WorkflowSettings:
    """Say how the workflow worker works."""

    worker: WorkerSettings
    default_model: str

    @property
    def chain_seconds(self) -> float:
        """Return what one run of a chain may take: all that an invocation has for calls."""
        return self.worker.worker_timeout_seconds - self.worker.margin_seconds

    @classmethod
    def from_env(cls, env: Environment) -> "WorkflowSettings":
        """Read the environment; raise SettingError with the name of what is missing or wrong."""
        return cls(WorkerSettings.from_env(env), text(env, "DEFAULT_MODEL"))
