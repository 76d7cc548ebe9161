"""Accept calls: limits, admission, idempotency, and the service that records and sends batches of tasks."""
