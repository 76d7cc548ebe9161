"""Keep the tasks' records in Redis: one hash a task, one Lua script a transition."""

from common.store.connection import connect
from common.store.task_store import TaskStore

__all__ = ["TaskStore", "connect"]
