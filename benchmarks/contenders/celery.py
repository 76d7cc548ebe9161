"""Celery with a pool of threads, Redis for broker and results, and one client for all tasks."""

import os

from celery import Celery
from openai import OpenAI

from benchmarks.contenders.load import PROMPT, Clock, Load

EXTRA = 100
"""Tasks beyond those that are measured: the queue is not empty before the clock has stopped."""


def ask_once(client: OpenAI, prompt: str, *, streamed: bool) -> str:
    """Ask once and return the text."""
    if not streamed:
        answer = client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": prompt}])
        return answer.choices[0].message.content or ""
    stream = client.chat.completions.create(
        model="gpt-5-mini",
        messages=[{"role": "user", "content": prompt}],
        stream=True,
        stream_options={"include_usage": True},
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def main() -> None:
    """Send all tasks, then work on them until the clock has stopped."""
    load = Load.from_arguments()
    app = Celery("bench", broker=load.redis_url, backend=load.redis_url)
    # Acknowledged when they are done: as it comes, a task is lost with its worker.
    app.conf.update(worker_hijack_root_logger=False, task_acks_late=True)
    client = OpenAI(api_key="sk-made-up", base_url=load.url, max_retries=0)
    clock = Clock(load)

    @app.task(name="ask")
    def ask(prompt: str) -> str:
        answer = ask_once(client, prompt, streamed=load.streamed)
        # Celery stops slowly, and nothing more is measured.
        clock.tick(lambda: os._exit(0))
        return answer

    for _ in range(load.warm_up + load.prompts + EXTRA):
        ask.delay(PROMPT)
    app.Worker(pool="threads", concurrency=load.in_flight, loglevel="ERROR", without_heartbeat=True, quiet=True).start()


if __name__ == "__main__":
    main()
