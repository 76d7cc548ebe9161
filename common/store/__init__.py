"""Keep the tasks' records in Redis: one hash a task, one Lua script a transition."""
