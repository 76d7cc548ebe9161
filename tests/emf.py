"""Parse metrics in the embedded metric format from the output of a function, as CloudWatch does."""

import json
from typing import Any

type Sums = dict[tuple[str, ...], float]


def sums_in(printed: str) -> Sums:
    """Return the sum of each metric, by its name and the values of its dimensions, in the order of their names."""
    sums: Sums = {}
    for line in printed.splitlines():
        if '"_aws"' not in line:
            continue
        written: dict[str, Any] = json.loads(line)
        [directive] = written["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Sluice"
        for dimensions in directive["Dimensions"]:
            where = tuple(written[name] for name in sorted(dimensions))
            for metric in directive["Metrics"]:
                key = (metric["Name"], *where)
                sums[key] = sums.get(key, 0.0) + sum(written[metric["Name"]])
    return sums
