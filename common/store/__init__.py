"""Keep the tasks' records in Redis, and the flow that workers share: one Lua script a transition."""

from common.store.connection import connect
from common.store.flow_store import FlowStore
from common.store.task_store import TaskStore
from common.store.wakes import Wakes

__all__ = ["FlowStore", "TaskStore", "Wakes", "connect"]
