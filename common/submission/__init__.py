"""Accept calls: limits, admission, idempotency, the task queue, and the service that records batches."""
