"""Read the workflow worker's settings: those of the worker, and the default model of chains."""

from dataclasses import dataclass

from common.runtime.settings import Environment, text
from common.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class WorkflowSettings:
    """Settings of the workflow worker."""

    worker: WorkerSettings
    default_model: str

    @property
    def chain_seconds(self) -> float:
        """Return the timeout of one run of a chain in seconds: the time of an invocation for calls."""
        return self.worker.worker_timeout_seconds - self.worker.margin_seconds

    @classmethod
    def from_env(cls, env: Environment) -> "WorkflowSettings":
        """Read the environment; raise SettingError with the name of a missing or invalid variable."""
        return cls(WorkerSettings.from_env(env), text(env, "DEFAULT_MODEL"))
