"""Sign STS requests as the AWS CLI does, and answer them as STS does, with the signer's ARN."""

import hashlib
import hmac
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

SECRET_OF = {"AKIDROLE": "role's secret", "AKIDUSER": "user's secret"}
ARN_OF = {
    "AKIDROLE": "arn:aws:sts::123456789012:assumed-role/acme/session-1",
    "AKIDUSER": "arn:aws:iam::123456789012:user/staff/jo",
}


def token(  # each is one thing to get wrong
    endpoint: str = "https://sts.eu-west-1.amazonaws.com",
    *,
    access_key: str = "AKIDROLE",
    secret: str | None = None,
    audience: str = "sluice",
    now: datetime | None = None,
    change: Mapping[str, str] | None = None,
) -> str:
    """Make a token as `aws eks get-token --cluster-name sluice` does; `change` is made after the signing."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    query = {
        "Action": "GetCallerIdentity",
        "Version": "2011-06-15",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{access_key}/{stamp[:8]}/eu-west-1/sts/aws4_request",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host;x-k8s-aws-id",
    }
    host = urlsplit(endpoint).netloc
    query["X-Amz-Signature"] = signature(query, host, audience, secret or SECRET_OF[access_key])
    return encoded(f"{endpoint}/?{urlencode({**query, **(change or {})}, quote_via=quote)}")


def encoded(url: str) -> str:
    return "k8s-aws-v1." + urlsafe_b64encode(url.encode()).decode().rstrip("=")


def signature(query: Mapping[str, str], host: str, audience: str, secret: str) -> str:
    """Compute AWS' fourth version of signatures over a GET without a body."""
    canonical = "\n".join(
        [
            *("GET", "/", urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")),
            *(f"host:{host}", f"x-k8s-aws-id:{audience}", "", "host;x-k8s-aws-id", hashlib.sha256(b"").hexdigest()),
        ]
    )
    _, *scope = query["X-Amz-Credential"].split("/")
    text = "\n".join(
        ["AWS4-HMAC-SHA256", query["X-Amz-Date"], "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = f"AWS4{secret}".encode()
    for part in [*scope, text]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


class Sts(BaseHTTPRequestHandler):
    """Tell who has signed a request."""

    status = 200

    def do_GET(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        given, access_key = query.pop("X-Amz-Signature", ""), query["X-Amz-Credential"].split("/")[0]
        secret = SECRET_OF.get(access_key, "nobody's")
        wanted = signature(query, self.headers["Host"], self.headers.get("x-k8s-aws-id", ""), secret)
        status = self.status if given == wanted or self.status != 200 else 403
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        if status == 200:
            self.wfile.write(f"<GetCallerIdentityResult><Arn>{ARN_OF[access_key]}</Arn></…>".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def sts(status: int = 200) -> Iterator[str]:
    """Serve a stand-in for STS, and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Sts,), {"status": status})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
