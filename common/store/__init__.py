"""Keep the tasks' records in Redis, and the flow that workers share: one Lua script a transition."""

from common.store.connection import connect
from common.store.flow_store import FlowStore
from common.store.task_store import TaskStore

__all__ = ["FlowStore", "TaskStore", "connect"]
