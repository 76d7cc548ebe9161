"""Lambda authorizer: authenticate a request, and return an IAM policy with the caller as context."""

from common.runtime import lambda_init

# isort: split
import os
import time
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from botocore.config import Config

from common.runtime.metrics import Metric
from common.runtime.telemetry import Telemetry
from functions.authorizer.principal import Principals
from functions.authorizer.secret import SecretKeyList
from functions.authorizer.service import Authenticator, KeysUnavailable, digest_of
from functions.authorizer.settings import AuthorizerSettings

# Within the ten seconds of the function, so that the log says what failed.
SECRETS_MANAGER = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})

settings = AuthorizerSettings.from_env(os.environ)
telemetry = Telemetry.from_env(os.environ)
secrets = SecretsProvider(boto_config=SECRETS_MANAGER)
name_of = (
    Principals(settings.audience, clock=lambda: datetime.now(UTC), endpoint=settings.sts_endpoint).name_of
    if settings.audience
    else digest_of
)
authenticator = Authenticator(SecretKeyList(secrets, settings.keys_secret), name_of, clock=time.monotonic)

NOBODY = "nobody"  # the principal of a refused request


@telemetry.observe
def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Allow or deny the whole stage: API Gateway caches the policy by key, for all methods."""
    try:
        caller = authenticator.caller_of(event["authorizationToken"])
    except KeysUnavailable as error:
        telemetry.logger.error("Requests cannot be authenticated", extra={"cause": str(error)})  # noqa: TRY400  # the trace says no more
        telemetry.count(Metric.KEYS_UNAVAILABLE)
        raise
    if caller is None:
        telemetry.count(Metric.UNKNOWN_KEYS)
        # Not the error `Unauthorized`, of which API Gateway makes a 401 too, but `sam local` a 502.
        return _answer(event, NOBODY, "Deny", {})
    return _answer(event, caller.tenant, "Allow", caller.context())


def _answer(event: dict[str, Any], principal: str, effect: str, context: dict[str, str]) -> dict[str, Any]:
    # arn:aws:execute-api:eu-west-1:123456789012:abcdef/v1/GET/tasks
    api, stage = event["methodArn"].split("/")[:2]
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": f"{api}/{stage}/*"}
    return {
        "principalId": principal,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": context,
    }


lambda_init.complete()
