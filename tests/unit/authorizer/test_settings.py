"""A wrong environment stops the start, by the variable's name."""

import pytest

from common.errors import SettingError
from functions.authorizer.settings import AuthorizerSettings


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(SettingError, match="API_KEYS_SECRET"):
        AuthorizerSettings.from_env({})
