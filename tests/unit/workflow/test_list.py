from tools.workflows import TARGET, listed


def test_the_api_tells_of_the_workflows_as_the_chains_are_now() -> None:
    assert TARGET.read_text(encoding="utf-8") == listed(), "run `make workflows`"
