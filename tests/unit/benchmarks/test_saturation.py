"""Test the table of saturated resources."""

from benchmarks.saturation import Resource, saturation

MODEL = Resource("a model", 100, 150, "its limit")
WORKERS = Resource("workers", 10, 40, "MaxWorkers")
QUEUE = Resource("a queue", 1000, 500, "its quota")
REDIS = Resource("Redis", 1000, 30, "its nodes")


def test_the_first_to_be_saturated_comes_first() -> None:
    _, table, words = saturation([REDIS, MODEL, QUEUE, WORKERS])

    names = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]]
    assert names == ["workers", "a model", "a queue", "Redis"]
    assert words == (
        "Saturated at the peak: workers (raise MaxWorkers); a model (raise its limit). Next: a queue, 50 % used. "
        "Farthest from its limit: Redis, 3 % used."
    )


def test_nothing_is_called_saturated_that_is_not() -> None:
    assert saturation([REDIS])[-1] == "Nothing is saturated at the peak. Next: Redis, 3 % used."


def test_all_may_be_saturated() -> None:
    assert saturation([MODEL])[-1] == "Saturated at the peak: a model (raise its limit)."
