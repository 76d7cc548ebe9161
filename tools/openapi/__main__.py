"""Write functions/docs/openapi.json, compare it with the last release, or store it as a release."""

import sys
from collections.abc import Sequence

from tools.openapi.document import PATH, document, written
from tools.openapi.release import ReleaseProblem, judge, keep


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    match list(arguments):
        case [] | ["write"]:
            PATH.write_text(written(), encoding="utf-8")
        case ["check"]:
            may_go_out, lines = judge(document())
            print("\n".join(lines), file=sys.stdout if may_go_out else sys.stderr)
            return 0 if may_go_out else 1
        case ["release"]:
            PATH.write_text(written(), encoding="utf-8")
            try:
                print(f"Wrote {keep(document(), written()).name}; commit it with the release.")
            except ReleaseProblem as problem:
                print(f"make openapi: {problem}", file=sys.stderr)
                return 1
        case _:
            print("usage: python -m tools.openapi [write | check | release]", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
