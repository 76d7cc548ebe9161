"""Test the rules for a webhook address, before and after the lookup of its host."""

import ipaddress

import pytest

from common.webhooks.model import BadAddress, Target, Webhook, is_allowed, target_of


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example", Target("hooks.example", 443, "/")),
        ("https://hooks.example:8443/a/b?c=d&e", Target("hooks.example", 8443, "/a/b?c=d&e")),
        ("https://HOOKS.example./x", Target("hooks.example", 443, "/x")),
        ("https://93.184.216.34/", Target("93.184.216.34", 443, "/")),
        ("https://[2606:4700::1111]/", Target("2606:4700::1111", 443, "/")),
        ("https://xn--bcher-kva.example/", Target("xn--bcher-kva.example", 443, "/")),
    ],
)
def test_a_public_https_address_is_taken(url: str, target: Target) -> None:
    assert target_of(url, allow_loopback=False) == target


REFUSED = [
    "",
    "hooks.example",
    "http://hooks.example/",
    "ftp://hooks.example/",
    "https://",
    "https:///path",
    "https://user@hooks.example/",
    "https://user:password@hooks.example/",
    "https://@hooks.example/",
    "https://hooks.example/#here",
    "https://hooks.example/a b",
    "https://hooks.example/\r\nHost: other",
    "https://hooks.example\\@other.example/",
    "https://bücher.example/",
    "https://hooks.example:0/",
    "https://hooks.example:22/",
    "https://hooks.example:65536/",
    "https://hooks.example:x/",
    "https://localhost/",
    "https://intranet/",
    "https://-a.example/",
    "https://a..example/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://a.0x7f/",
    "https://10.1.2.3/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[fe80::1%25eth0]/",
    "https://[v1.x]/",
    "https://hooks.example/" + "a" * 2048,
]


@pytest.mark.parametrize("url", REFUSED, ids=lambda url: url[:40])
def test_any_other_address_is_refused_by_its_rule_without_being_quoted(url: str) -> None:
    with pytest.raises(BadAddress) as caught:
        target_of(url, allow_loopback=False)

    assert not url or url not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:8080/x", Target("127.0.0.1", 8080, "/x", is_tls=False)),
        ("http://localhost", Target("localhost", 80, "/", is_tls=False)),
        ("https://[::1]:9/", Target("::1", 9, "/")),
    ],
)
def test_on_a_laptop_this_machine_may_be_called_by_http(url: str, target: Target) -> None:
    assert target_of(url, allow_loopback=True) == target


@pytest.mark.parametrize("url", ["http://hooks.example/", "https://10.1.2.3/", "https://169.254.169.254/"])
def test_on_a_laptop_too_no_other_machine_is(url: str) -> None:
    with pytest.raises(BadAddress):
        target_of(url, allow_loopback=True)


@pytest.mark.parametrize("text", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2001:4860:4860::8888"])
def test_a_public_address_may_be_dialled(text: str) -> None:
    assert is_allowed(ipaddress.ip_address(text), allow_loopback=False)


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.2.1"),
        *("192.88.99.1", "192.168.0.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::8.8.8.8", "::ffff:8.8.8.8", "::ffff:169.254.169.254", "64:ff9b::8.8.8.8", "64:ff9b:1::1"),
        *("100::1", "2001::1", "2001:db8::1", "2002:a9fe:a9fe::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1"),
        *("fec0::1", "ff02::1"),
    ],
)
def test_no_other_address_is(text: str) -> None:
    assert not is_allowed(ipaddress.ip_address(text), allow_loopback=False)


def test_loopback_alone_is_what_a_laptop_adds() -> None:
    allowed = [is_allowed(ipaddress.ip_address(text), allow_loopback=True) for text in ("127.0.0.1", "::1", "10.0.0.1")]

    assert allowed == [True, True, False]


def test_a_webhook_comes_back_as_it_went_in_and_shows_no_address() -> None:
    webhook = Webhook("https://hooks.example/?token=t")

    assert Webhook.decode(webhook.encode()) == webhook
    assert "token" not in repr(webhook)
