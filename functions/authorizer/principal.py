"""Authenticate a caller by its IAM principal: it presigns a request to AWS STS, and we send the request.

The bearer token is `k8s-aws-v1.` and, in base64url, the presigned URL of STS' GetCallerIdentity, as `aws eks get-token`
makes it. Only the response of STS says who signed it. The URL is untrusted: it is requested only if it is this one
operation, of STS itself, signed for this deployment (the header `x-k8s-aws-id` names it).
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import EAI_NONAME, gaierror
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from functions.authorizer.service import CallerUnknown, KeysUnavailable

PREFIX: Final = "k8s-aws-v1."
AUDIENCE: Final = "x-k8s-aws-id"

LONGEST_SECONDS: Final = 15 * 60
"""How long STS accepts a signature; an older one is not sent."""

SKEW_SECONDS: Final = 5 * 60
"""How far ahead a caller's clock may be, as for STS."""

REQUEST_TIMEOUT_SECONDS: Final = 2.0
"""STS answers in some 50 ms; the authorizer has ten seconds for all it does."""

MOST_BYTES: Final = 65_536
"""More than any response of STS."""

_STS: Final = re.compile(r"sts(\.[a-z]{2}(-[a-z]+)+-[0-9])?\.amazonaws\.com(\.cn)?")
_VISIBLE: Final = re.compile(r"[!-~]+")
"""What a URL consists of: http.client refuses to send anything else."""

_ARN: Final = re.compile(r"<Arn>(arn:[!-~]+?)</Arn>")
_ROLE: Final = re.compile(r"arn:([a-z-]+):sts::([0-9]{12}):assumed-role/([^/]+)/[^/]+")

# Each once, and nothing else: a second Action, in whatever case, could be the one that STS reads.
_PARAMETERS: Final = {"action": "GetCallerIdentity", "version": "2011-06-15", "x-amz-algorithm": "AWS4-HMAC-SHA256"}
_SIGNED: Final = ("x-amz-credential", "x-amz-date", "x-amz-signedheaders", "x-amz-signature")
_OPTIONAL: Final = ("x-amz-expires", "x-amz-security-token")


@dataclass(frozen=True, slots=True)
class StsRequest:
    """Hold a request to STS; the target is path and query, which are the caller's credentials."""

    scheme: str
    host: str
    target: str = field(repr=False)


def sts_request_in(token: str, *, now: datetime, endpoint: str | None = None) -> StsRequest | None:
    """Parse a token; None unless it is a request to STS, signed for an audience, and recent.

    `endpoint` is the address of an emulator of STS, such as http://127.0.0.1:5000; None on AWS.
    """
    try:
        text = urlsafe_b64decode(token.removeprefix(PREFIX) + "===").decode("ascii")
        url = urlsplit(text)
        pairs = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True)
        given = {name.lower(): value for name, value in pairs}
        signed_at = datetime.strptime(given["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (ValueError, KeyError):
        return None
    is_sts = f"{url.scheme}://{url.netloc}" == endpoint if endpoint else _is_sts(url.scheme, url.netloc)
    is_request = (
        token.startswith(PREFIX)
        and _VISIBLE.fullmatch(text) is not None
        and (url.path, url.fragment) == ("/", "")
        and len(pairs) == len(given)
        and {*_PARAMETERS, *_SIGNED} <= given.keys() <= {*_PARAMETERS, *_SIGNED, *_OPTIONAL}
        and all(given[name] == value for name, value in _PARAMETERS.items())
        and AUDIENCE in given["x-amz-signedheaders"].split(";")
    )
    age = (now - signed_at).total_seconds()
    if not (is_sts and is_request and -SKEW_SECONDS <= age <= LONGEST_SECONDS):
        return None
    return StsRequest(url.scheme, url.netloc, f"/?{url.query}")


def principal_in(answer: str) -> str | None:
    """Parse the response of STS; a role's sessions are all that role, as `arn:aws:iam::123456789012:role/name`."""
    match = _ARN.search(answer)
    if match is None:
        return None
    role = _ROLE.fullmatch(match[1])
    return f"arn:{role[1]}:iam::{role[2]}:role/{role[3]}" if role else match[1]


class Principals:
    """Authenticate callers by their IAM principal."""

    def __init__(self, audience: str, *, clock: Callable[[], datetime], endpoint: str | None = None) -> None:
        """Create it.

        Args:
            audience: the name that tokens are signed for.
            clock: returns the time in UTC.
            endpoint: the address of an emulator of STS, None on AWS.

        """
        self._audience = audience
        self._clock = clock
        self._endpoint = endpoint

    def name_of(self, token: str) -> str:
        """Return the ARN of the principal that signed a token.

        Raises:
            CallerUnknown: the token is malformed, STS does not accept it, or its region does not exist.
            KeysUnavailable: STS does not answer.

        """
        request = sts_request_in(token, now=self._clock(), endpoint=self._endpoint)
        if request is None:
            raise CallerUnknown
        status, answer = self._ask(request)
        principal = principal_in(answer) if status == 200 else None  # noqa: PLR2004  # HTTP's
        if principal is not None:
            return principal
        if 400 <= status < 500 and status != 429:  # noqa: PLR2004  # HTTP's
            raise CallerUnknown
        raise KeysUnavailable(f"STS answered {status}")

    def _ask(self, request: StsRequest) -> tuple[int, str]:
        # Not urllib, which follows redirects and heeds proxies.
        kind = HTTPSConnection if request.scheme == "https" else HTTPConnection
        connection = kind(request.host, timeout=REQUEST_TIMEOUT_SECONDS)
        try:
            connection.request("GET", request.target, headers={AUDIENCE: self._audience})
            response = connection.getresponse()
            return response.status, response.read(MOST_BYTES).decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            # `from None`: the text of the error may quote the URL, which is as good as the caller's credentials.
            if isinstance(error, gaierror) and error.errno == EAI_NONAME:
                raise CallerUnknown from None  # the caller has named a region that does not exist
            raise KeysUnavailable("STS does not answer") from None
        finally:
            connection.close()


def _is_sts(scheme: str, host: str) -> bool:
    return scheme == "https" and _STS.fullmatch(host) is not None
