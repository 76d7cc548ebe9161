"""Test that an invalid variable stops the start with its name."""

import pytest

from common.domain.errors import SettingError
from functions.authorizer.settings import AuthorizerSettings


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(SettingError, match="API_KEYS_SECRET"):
        AuthorizerSettings.from_env({})


def test_callers_come_with_keys_unless_it_is_said_otherwise() -> None:
    assert AuthorizerSettings.from_env({"API_KEYS_SECRET": "keys", "AUTH_AUDIENCE": "sluice"}).audience is None


def test_callers_with_iam_principals_come_for_an_audience() -> None:
    environment = {"API_KEYS_SECRET": "keys", "AUTH_MODE": "iam"}

    assert AuthorizerSettings.from_env({**environment, "AUTH_AUDIENCE": "sluice"}).audience == "sluice"
    with pytest.raises(SettingError, match="AUTH_AUDIENCE"):
        AuthorizerSettings.from_env(environment)


def test_another_mode_is_refused() -> None:
    with pytest.raises(SettingError, match="AUTH_MODE must be api-key or iam"):
        AuthorizerSettings.from_env({"API_KEYS_SECRET": "keys", "AUTH_MODE": "none"})
