"""The client of Sluice, an asynchronous LLM task API."""
