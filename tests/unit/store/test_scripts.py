"""The folder of a Lua script decides how it is wrapped, and every file is used."""

from collections import Counter

from common.store.scripts import LIBRARY, WRAPPER, assemble, read_sources

SOURCES = {f"lib/{name}": f"-- {name}\n" for name in (*LIBRARY, WRAPPER)}


def test_a_command_is_run_behind_the_library_and_as_it_is() -> None:
    scripts = assemble({**SOURCES, "commands/grow": "return 1"})

    assert scripts == {"grow": "".join(SOURCES[f"lib/{name}"] for name in LIBRARY) + "return 1"}


def test_a_transition_is_wrapped_by_the_announcement() -> None:
    scripts = assemble({**SOURCES, "transitions/end": "return 1"})

    library = "".join(SOURCES[f"lib/{name}"] for name in LIBRARY)
    assert scripts["end"] == f"{library}local function transition()\nreturn 1\nend\n{SOURCES[f'lib/{WRAPPER}']}"


def test_every_file_of_the_library_is_part_of_a_script() -> None:
    files = {path.removeprefix("lib/") for path in read_sources() if path.startswith("lib/")}

    assert files == {*LIBRARY, WRAPPER}


def test_every_other_file_is_a_command_or_a_transition_with_a_name_of_its_own() -> None:
    paths = [path for path in read_sources() if not path.startswith("lib/")]
    names = Counter(path.rpartition("/")[2] for path in paths)

    assert {path.partition("/")[0] for path in paths} == {"commands", "transitions"}
    assert max(names.values()) == 1
    assert set(assemble(read_sources())) == set(names)
