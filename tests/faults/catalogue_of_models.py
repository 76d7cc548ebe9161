"""Faults of the model: its behaviour at each call, the final states of the tasks, and their cost."""

from tests.faults.faults import Catalogue
from tests.faults.model import QUOTA_CODES
from tests.faults.proxy import reset
from tests.faults.site import Timing
from tests.faults.world import World

MODELS = Catalogue()
fault = MODELS.fault

_QUICK = frozenset(
    {
        "500, ok",
        "cut, ok",
        "no finish, ok",
        "429, ok",
        "insufficient_quota",
        "refusal",
        "stays open",
        "bad status line, ok",
    }
)

_UNTIL_IT_ANSWERS = (
    "500, ok",
    "500, 502, ok",
    "503, 504, ok",
    "408, 409, ok",
    "cut, ok",
    "no finish, ok",
    "error in stream, ok",
    "html, ok",
    "html as stream, ok",
    "no json, ok",
    "no choices, ok",
    "hang, ok",
    "drip, ok",
    "length",
    "stays open",
    "stays open without usage",
    "garbage at the end",
    "error at the end",
    "broken at the end",
    "done without finish",
    "stream as json",
    "message as stream",
    "aborted, ok",
    "bad status line, ok",
    "bad length, bad chunk, ok",
    "two lengths, long header, ok",
)
_WITHOUT_END = ("500", "cut", "no finish", "html", "hang", "drip", "bad status line")
_UNPAID_WAITS = ("429, ok", "429 ms, 429 ms, ok", "429 date, ok", "429 without a wait, ok", "429 overflow, ok")
_REFUSALS = {
    "400": "bad_request",
    "401": "unauthorized",
    "403": "forbidden",
    "404": "model_not_found",
    "413": "request_too_large",
    "422": "bad_request",
    "context": "context_length_exceeded",
    "policy": "content_policy",
    "redirect": "redirected",
    **dict.fromkeys(QUOTA_CODES, "quota_exhausted"),
}
_PATIENT = Timing(worker=8, model=3, visibility=14)


def _enter(script: str, calls: int, ends: str) -> None:
    @fault(f"model: {script}", calls=calls, ends=ends, timing=_PATIENT, quick=script in _QUICK)
    async def _(world: World) -> None:
        await world.submit(script=script)


for _script in _UNTIL_IT_ANSWERS:
    _enter(_script, len(_script.split(",")), "completed")
for _script in _WITHOUT_END:
    _enter(_script, 3, "attempts_exhausted")
for _script in _UNPAID_WAITS:
    _enter(_script, 1, "completed")
for _script, _code in _REFUSALS.items():
    _enter(_script, 0, _code)
_enter("refusal", 1, "completed")
_enter("filter", 1, "content_policy")


@fault("model: cookies that no request can carry, then three more calls", calls=1, quick=True)
async def _(world: World) -> None:
    await world.submit(script="cookies")
    await world.drain()
    await world.submit()


@fault("model: 429 with an absurd wait", calls=0, ends="deadline_exceeded", leaving=True)
async def _(world: World) -> None:
    await world.submit(script="429 huge", deadline_seconds=4)


@fault("connection to the model is reset", calls=1)
async def _(world: World) -> None:
    world.to_model.on(lambda _: True, reset, times=3)
    await world.submit()


@fault("model is down for an attempt", calls=1, quick=True)
async def _(world: World) -> None:
    await world.submit()
    world.to_model.refuse()
    await world.poll()
    await world.worker.until(lambda: world.worker.reported >= 3)
    await world.to_model.restore()


@fault("model is a black hole for an attempt", calls=1, timing=_PATIENT)
async def _(world: World) -> None:
    await world.submit()
    world.to_model.mute()
    await world.poll()
    await world.worker.until(lambda: world.worker.reported >= 3)
    world.to_model.unmute()


@fault("backlog beyond the deadline", calls=0, ends="deadline_exceeded")
async def _(world: World) -> None:
    await world.submit(deadline_seconds=1)
    await world.wait_for_status("failed")
