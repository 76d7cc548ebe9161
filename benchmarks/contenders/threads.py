"""The tutorials' way: a pool of threads, and a client for each task."""

from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

from benchmarks.contenders.load import PROMPT, Clock, Load


def main() -> None:
    """Ask all prompts."""
    load = Load.from_arguments()

    def ask(_: int) -> None:
        with OpenAI(api_key="sk-made-up", base_url=load.url, max_retries=0) as client:
            answer = client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": PROMPT}])
        assert answer.choices[0].message.content  # noqa: S101  # an empty answer is no answer

    with ThreadPoolExecutor(load.in_flight) as pool:
        list(pool.map(ask, range(load.warm_up)))
        clock = Clock(load)
        clock.begin()
        list(pool.map(ask, range(load.prompts)))
        clock.end()


if __name__ == "__main__":
    main()
