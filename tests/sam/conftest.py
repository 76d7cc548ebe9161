"""Share the build with tests/artefacts."""

from tests.artefacts.conftest import artefacts

__all__ = ["artefacts"]
