"""Test delivery: retries for a day, a new signature and a receipt for each try."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Final, override

import pytest
from aws_lambda_powertools.utilities.parameters import GetParameterError
from openai import InvalidWebhookSignatureError, OpenAI
from openai.types.webhooks import (
    BatchCompletedWebhookEvent,
    ResponseCancelledWebhookEvent,
    ResponseCompletedWebhookEvent,
    ResponseFailedWebhookEvent,
    ResponseIncompleteWebhookEvent,
)
from pydantic import BaseModel
from standardwebhooks import Webhook, WebhookVerificationError

from common.domain.errors import MessageTooNew, MessageUnreadable
from common.domain.task import new_batch_id
from common.webhooks.events import DeliveryReceipt, WebhookNotification
from common.webhooks.model import Target, WebhookDelivery, WebhookDeliveryCode, WebhookDeliveryStatus, WebhookEvent
from functions.webhook.retry_schedule import MOST_SECONDS, WAITS, RetrySchedule
from functions.webhook.service import AttemptResult, EventOutcome, ReceivedEvent, SecretUnavailable, WebhookSender
from functions.webhook.signing import Signer
from functions.webhook.signing_keys import BadSecret, key_of, texts_of

NOW_MS: Final = 1_800_000_000_000
BATCH_ID: Final = new_batch_id(NOW_MS, bytes(16))
COUNTS: Final = {"completed": 3, "failed": 1, "cancelled": 0}
ANNOUNCEMENT: Final = WebhookNotification("acme", BATCH_ID, "https://hooks.example/a?token=t", NOW_MS - 1, COUNTS)
OLD, NEW = "o" * 32, "n" * 64


@dataclass
class Provider:
    """Stand for the parameters of Powertools."""

    secret: str | None = NEW

    def get(self, name: str, max_age: int) -> str:
        assert (name, max_age) == ("sluice/webhook-signing", 300)
        if self.secret is None:
            raise GetParameterError
        return self.secret


@dataclass
class Calls:
    """Stand for the dialler, and answer as told."""

    answer: AttemptResult = field(default_factory=lambda: AttemptResult(None, 204))
    made: list[tuple[Target, dict[str, str], bytes]] = field(default_factory=list)

    async def post(self, tenant: str, target: Target, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        assert tenant == "acme"
        self.made.append((target, dict(headers), body))
        return self.answer


def event(
    announcement: WebhookNotification = ANNOUNCEMENT, *, receives: int = 1, age_seconds: float = 0.0
) -> ReceivedEvent:
    return ReceivedEvent("message", "handle", receives, NOW_MS - int(age_seconds * 1000), announcement.encode())


def courier(calls: Calls, provider: Provider | None = None) -> WebhookSender:
    signer = Signer(provider or Provider(), "sluice/webhook-signing")  # type: ignore[arg-type]  # a stand-in
    return WebhookSender(signer, calls, RetrySchedule(lambda: 0.5), now_ms=lambda: NOW_MS, allow_loopback=False)


class Broken(Calls):
    """Raise what no dialler should."""

    @override
    async def post(self, tenant: str, target: Target, headers: Mapping[str, str], body: bytes) -> AttemptResult:
        raise UnicodeError(target.path)


def receipt_of(outcome: EventOutcome) -> WebhookDelivery:
    assert outcome.receipt is not None
    assert (outcome.receipt.tenant, outcome.receipt.batch_id) == ("acme", BATCH_ID)
    return outcome.receipt.delivery


async def test_a_delivered_event_is_done_with() -> None:
    calls = Calls()

    outcome = await courier(calls).deliver(event(receives=3))

    assert (outcome.is_done, outcome.wait) == (True, None)
    assert receipt_of(outcome) == WebhookDelivery(WebhookDeliveryStatus.DELIVERED, 3, 204, None, None, NOW_MS)
    [(target, _, body)] = calls.made
    assert target == Target("hooks.example", 443, "/a?token=t")
    assert json.loads(body) == {
        "id": f"{BATCH_ID}.completed",
        "object": "event",
        "created_at": NOW_MS // 1000 - 1,
        "type": "batch.completed",
        "timestamp": "2027-01-15T07:59:59.999Z",
        "data": {
            "id": BATCH_ID,
            "batch_id": BATCH_ID,
            "status": "ended",
            "size": 4,
            "counts": COUNTS,
            "links": {"batch": f"batches/{BATCH_ID}"},
        },
    }


async def test_an_exception_that_no_rule_knows_costs_one_event_a_try_and_is_told_without_its_text() -> None:
    outcome = await courier(Broken()).deliver(event())

    assert (outcome.is_done, outcome.receipt) == (False, None)
    assert outcome.wait is not None
    assert outcome.problem
    assert outcome.problem.startswith("UnicodeError at ")
    assert "token" not in outcome.problem


async def test_the_openai_sdk_verifies_and_reads_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai.lib._webhooks.time", SimpleNamespace(time=lambda: NOW_MS / 1000))
    calls = Calls()
    client = OpenAI(api_key="none", base_url="http://127.0.0.1:1")

    await courier(calls).deliver(event())

    [(_, headers, body)] = calls.made
    read = client.webhooks.unwrap(body, headers, secret=key_of(NEW, "acme"))
    assert read == BatchCompletedWebhookEvent.model_validate_json(body, strict=True)
    assert isinstance(read, BatchCompletedWebhookEvent)
    assert (read.id, read.object, read.data.id) == (headers["webhook-id"], "event", BATCH_ID)
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.unwrap(body, headers, secret=key_of(NEW, "other"))


@pytest.mark.parametrize(
    ("event_type", "model"),
    [
        (WebhookEvent.RESPONSE_COMPLETED, ResponseCompletedWebhookEvent),
        (WebhookEvent.RESPONSE_INCOMPLETE, ResponseIncompleteWebhookEvent),
        (WebhookEvent.RESPONSE_FAILED, ResponseFailedWebhookEvent),
        (WebhookEvent.RESPONSE_CANCELLED, ResponseCancelledWebhookEvent),
    ],
)
def test_the_event_of_a_response_is_one_of_the_openai_sdk(event_type: WebhookEvent, model: type[BaseModel]) -> None:
    read = model.model_validate_json(replace(ANNOUNCEMENT, event=event_type).body(), strict=True)

    assert read.model_dump()["data"]["id"] == f"resp_{BATCH_ID}-0"


@pytest.mark.parametrize("secret", [NEW, f"{NEW}\n{OLD}", f"{OLD} {NEW}"])
async def test_a_receiver_verifies_with_its_tenants_key_also_while_the_secret_is_being_changed(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library holds the signature's time against its own clock, which is not ours.
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda _, text: _at(text))
    calls = Calls()

    await courier(calls, Provider(secret)).deliver(event())

    [(_, headers, body)] = calls.made
    assert Webhook(key_of(NEW, "acme")).verify(body, headers) == json.loads(body)
    assert headers["webhook-id"] == f"{BATCH_ID}.completed"
    assert headers["webhook-timestamp"] == str(NOW_MS // 1000)
    assert len(headers["webhook-signature"].split()) == len(secret.split())
    with pytest.raises(WebhookVerificationError):
        Webhook(key_of(NEW, "other")).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(key_of(NEW, "acme")).verify(body.replace(b"3", b"4"), headers)


def _at(text: str) -> Any:  # noqa: ANN401  # a datetime, as the library's own
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(float(text), UTC)


async def test_two_tries_of_an_event_are_the_same_but_for_time_and_signature() -> None:
    calls = Calls(AttemptResult(WebhookDeliveryCode.TIMEOUT))

    for receives in (1, 2):
        await courier(calls).deliver(event(receives=receives))

    assert calls.made[0] == calls.made[1]


@pytest.mark.parametrize("code", [code for code in WebhookDeliveryCode if code not in {"gone", "address_not_allowed"}])
async def test_what_was_not_taken_comes_back_when_its_next_try_is_due(code: WebhookDeliveryCode) -> None:
    outcome = await courier(Calls(AttemptResult(code, 503))).deliver(event(receives=2, age_seconds=6))

    assert (outcome.is_done, outcome.wait) == (False, WAITS[1])
    assert receipt_of(outcome) == WebhookDelivery(WebhookDeliveryStatus.PENDING, 2, 503, code, NOW_MS + WAITS[1] * 1000)


@pytest.mark.parametrize("code", [WebhookDeliveryCode.GONE, WebhookDeliveryCode.ADDRESS_NOT_ALLOWED])
async def test_what_is_refused_for_good_is_given_up_at_once(code: WebhookDeliveryCode) -> None:
    outcome = await courier(Calls(AttemptResult(code, 410))).deliver(event())

    assert outcome.is_done
    assert receipt_of(outcome) == WebhookDelivery(WebhookDeliveryStatus.FAILED, 1, 410, code)


async def test_after_a_day_it_is_given_up() -> None:
    outcome = await courier(Calls(AttemptResult(WebhookDeliveryCode.REFUSED, 500))).deliver(
        event(receives=14, age_seconds=MOST_SECONDS)
    )

    assert outcome.is_done
    assert receipt_of(outcome) == WebhookDelivery(WebhookDeliveryStatus.FAILED, 14, 500, WebhookDeliveryCode.REFUSED)


async def test_an_address_that_may_no_longer_be_called_is_given_up_uncalled() -> None:
    calls = Calls()

    outcome = await courier(calls).deliver(event(replace(ANNOUNCEMENT, url="http://127.0.0.1/")))

    assert calls.made == []
    assert receipt_of(outcome).code is WebhookDeliveryCode.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize("secret", [None, "", "short", f"{NEW} {NEW} {NEW}"])
async def test_without_a_secret_nothing_is_tried_and_the_event_comes_back(secret: str | None) -> None:
    calls = Calls()

    outcome = await courier(calls, Provider(secret)).deliver(event())

    assert calls.made == []
    assert (outcome.is_done, outcome.wait, outcome.receipt) == (False, WAITS[0], None)
    assert outcome.problem
    assert secret is None or not secret or secret not in outcome.problem


@pytest.mark.parametrize("body", ["no json", "{}", '{"v": 2}', ANNOUNCEMENT.encode().replace("acme", "{acme}")])
async def test_what_is_no_event_stays_for_the_dead_letter_queue(body: str) -> None:
    outcome = await courier(Calls()).deliver(replace(event(), body=body))

    assert (outcome.is_done, outcome.wait, outcome.receipt) == (False, None, None)


@pytest.mark.parametrize("random", [0.0, 0.5, 0.999])
def test_the_tries_of_a_day_grow_apart_and_stay_below_the_receives_of_a_message(random: float) -> None:
    schedule = RetrySchedule(lambda: random)
    age, waits = 0.0, list[float]()
    while (wait := schedule.wait_after(len(waits) + 1, age)) is not None:
        waits.append(wait)
        age += wait

    assert age == pytest.approx(MOST_SECONDS, abs=1)
    assert waits[:-1] == sorted(waits[:-1])
    assert max(waits) < 12 * 3600, "longer than SQS hides a message"
    assert len(waits) + 1 < 20, "it would become a dead letter first"


def test_a_key_is_the_tenants_own_and_32_bytes_long() -> None:
    keys = {key_of(text, tenant) for text in (OLD, NEW) for tenant in ("acme", "other")}

    assert len(keys) == 4
    assert all(key.startswith("whsec_") and len(base64.b64decode(key.removeprefix("whsec_"))) == 32 for key in keys)


def test_a_secret_that_is_none_is_refused_without_being_quoted() -> None:
    with pytest.raises(BadSecret) as caught:
        texts_of("hunter2")
    assert "hunter2" not in str(caught.value)


def test_the_messages_of_both_queues_come_back_as_they_went_in() -> None:
    for delivery in (
        WebhookDelivery(),
        WebhookDelivery(WebhookDeliveryStatus.PENDING, 2, 500, WebhookDeliveryCode.REFUSED, NOW_MS),
        WebhookDelivery(WebhookDeliveryStatus.DELIVERED, 3, 204, None, None, NOW_MS),
    ):
        receipt = DeliveryReceipt("acme", BATCH_ID, delivery)
        assert DeliveryReceipt.decode(receipt.encode()) == receipt
    assert WebhookNotification.decode(ANNOUNCEMENT.encode()) == ANNOUNCEMENT


@pytest.mark.parametrize("kind", [WebhookNotification, DeliveryReceipt])
@pytest.mark.parametrize(
    ("body", "error"), [("[", MessageUnreadable), ("[]", MessageUnreadable), ('{"v": 9}', MessageTooNew)]
)
def test_other_messages_are_told_apart(
    kind: type[WebhookNotification | DeliveryReceipt], body: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        kind.decode(body)


def test_nothing_shows_the_address_of_a_webhook_by_accident() -> None:
    shown = f"{ANNOUNCEMENT!r} {event()!r} {Target('hooks.example', 443, '/a?token=t')!r}"

    assert "token" not in shown


async def test_an_unavailable_secret_is_no_error_of_the_service() -> None:
    with pytest.raises(SecretUnavailable):
        Signer(Provider(None), "sluice/webhook-signing").headers("acme", "id", 0, "")  # type: ignore[arg-type]
