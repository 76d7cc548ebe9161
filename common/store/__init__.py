"""Keep the tasks' records in Redis, and the flow that workers share: one Lua script a transition."""

from common.store.client import connect
from common.store.pubsub import TaskNotifications
from common.store.rate_limits import RateLimitStore
from common.store.tasks import TaskStore

__all__ = ["RateLimitStore", "TaskNotifications", "TaskStore", "connect"]
