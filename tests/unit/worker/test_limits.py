"""The operator's limits, and the provider's headers."""

import pytest

from common.domain.errors import SettingError
from common.domain.rate_limits import NO_LIMIT, Limit
from common.worker.limits import ProviderLimits, RateLimitSettings


def test_without_settings_nothing_is_limited() -> None:
    limits = RateLimitSettings.from_env({"MODEL_LIMITS": "", "TENANT_IN_FLIGHT": "0"})

    assert limits == RateLimitSettings({})
    assert limits.of("gpt-5-mini") == NO_LIMIT


def test_each_model_has_its_own_limit_or_the_one_of_all_others() -> None:
    limits = RateLimitSettings.from_env({"MODEL_LIMITS": "gpt-5-mini=500/200000, ft:gpt-5:acme=/90000, *=60/"})

    assert limits.of("gpt-5-mini") == Limit(500, 200_000)
    assert limits.of("ft:gpt-5:acme") == Limit(0, 90_000)
    assert limits.of("another") == Limit(60, 0)


def test_a_tenants_limits_are_read() -> None:
    limits = RateLimitSettings.from_env(
        {"TENANT_REQUESTS_PER_MINUTE": "60", "TENANT_TOKENS_PER_MINUTE": "1000", "TENANT_IN_FLIGHT": "5"}
    )

    assert (limits.of_tenant, limits.tenant_in_flight) == (Limit(60, 1_000), 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_LIMITS", "gpt-5-mini"),
        ("MODEL_LIMITS", "gpt-5-mini=500"),
        ("MODEL_LIMITS", "gpt-5-mini=0/1"),
        ("MODEL_LIMITS", "gpt-5-mini=-1/"),
        ("MODEL_LIMITS", "=1/1"),
        ("MODEL_LIMITS", "a=1/1,a=2/2"),
        ("MODEL_LIMITS", "a=1/1;b=2/2"),
        ("TENANT_REQUESTS_PER_MINUTE", "many"),
        ("TENANT_TOKENS_PER_MINUTE", "-1"),
        ("TENANT_IN_FLIGHT", "1.5"),
    ],
)
def test_a_wrong_limit_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        RateLimitSettings.from_env({name: value})

    assert caught.value.name == name


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1s", 1), ("20ms", 0.02), ("6m0s", 360), ("1h2m3.5s", 3_723.5), ("1d", 86_400), ("soon", 0), ("", 0)],
)
def test_the_wait_until_a_used_up_limit_starts_anew_is_read(reset: str, seconds: float) -> None:
    provider = ProviderLimits.of(
        {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": reset,
        }
    )

    assert provider is not None
    assert provider.limit == Limit(500, 0)
    assert provider.request_wait == pytest.approx(seconds)
    assert provider.token_wait == 0


def test_while_something_is_left_nothing_has_to_wait() -> None:
    provider = ProviderLimits.of(
        {
            "x-ratelimit-limit-tokens": "30000",
            "x-ratelimit-remaining-tokens": "1",
            "x-ratelimit-reset-tokens": "10s",
        }
    )

    assert provider == ProviderLimits(Limit(0, 30_000))


@pytest.mark.parametrize("headers", [{}, {"x-ratelimit-limit-requests": "many"}, {"x-ratelimit-limit-tokens": "²"}])
def test_headers_that_say_nothing_are_nothing(headers: dict[str, str]) -> None:
    assert ProviderLimits.of(headers) is None
