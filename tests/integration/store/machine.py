"""Drive the store as workers, callers and a queue would, with every fault that can befall them, and check its promises.

Two checks run at once. The promises are checked from what the store shows, with no model of how it works. And the
stand-in of tests/fakes.py is driven in step: each answer, and each record whenever it can be read, must be the same.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from common.domain.errors import EventUnsent, StoreUnavailable
from common.domain.rate_limits import RefusalCause
from common.domain.spending import Charge
from common.domain.task import (
    TRANSITIONS,
    Answer,
    BatchRecord,
    FailureCode,
    ProviderError,
    Task,
    TaskRecord,
    TaskRef,
    TaskStatus,
    Usage,
    WaitingOn,
    batch_id_of_key,
)
from common.domain.transitions import (
    CallReport,
    ClaimOutcome,
    Created,
    CreateOutcome,
    EndOutcome,
    Lease,
    ProgressNote,
    Release,
    ReleaseOutcome,
)
from common.store import TaskStore
from common.store.client import Client
from common.store.keys import SENDING_LEASE_MS
from common.store.scripts import ScriptCall, Scripts
from common.webhooks.events import WebhookNotification
from common.webhooks.model import Webhook
from tests.fakes import FakeStore
from tests.integration.store.harness import TENANT, FakeHarness, Harness, ValkeyHarness, new_batch, tasks_of

TASKS: Final = 2
MAX_ATTEMPTS: Final = 2
MAX_RECEIVES: Final = 3
LEASE_MS: Final = 20_000
GRACE_MS: Final = 5_000
VISIBILITY_MS: Final = 60_000
DEADLINE_IN_MS: Final = 3_000_000
RETENTION_MS: Final = 5_000_000
HOOK: Final = Webhook("https://hooks.example/batches")
PICK: Final = st.sampled_from(range(12))
COIN: Final = st.booleans()
SELDOM: Final = st.sampled_from([False] * 2 + [True])
CAUSES: Final = [None, RefusalCause.MODEL, RefusalCause.TASK]
RARELY: Final = st.sampled_from([False] * 7 + [True])
CALLS: Final = ["read", "read", "read", "cancel", "cancel twice", "repeat", "another"]
TROUBLES: Final = ["duplicate", "duplicate", "lose a task", "lose a task", "lose the batch", "deadline", "deaf", "deaf"]
WAITS: Final = [1_000, 1_000, LEASE_MS - 1_000, LEASE_MS, SENDING_LEASE_MS, None, None, None, None]
LATE_CALLS: Final = ["claim", "claim", "progress", "progress", "release", "release", "complete", "fail", "fail"]

ACTS: Final[dict[str, dict[str, st.SearchStrategy[Any]]]] = {
    "deliver": {"pick": PICK, "twice": COIN, "dies": RARELY},
    "show_progress": {"pick": PICK, "percent": st.integers(-5, 140), "twice": COIN},
    "complete": {"pick": PICK, "twice": COIN, "dies": COIN},
    "fail": {"pick": PICK, "twice": COIN, "dies": COIN},
    "release": {"pick": PICK, "refund": COIN, "twice": COIN},
    "crash": {"pick": PICK},
    "hear_from_the_gone": {"pick": PICK, "call": st.sampled_from(LATE_CALLS)},
    "bury": {"pick": PICK, "twice": COIN},
    "retry": {"pick": PICK, "twice": COIN},
    "end_sending": {"pick": PICK, "how": st.sampled_from(["accept"] * 5 + ["unsent", "die"]), "twice": COIN},
    "call": {"act": st.sampled_from(CALLS), "pick": PICK, "twice": COIN},
    "trouble": {"what": st.sampled_from(TROUBLES), "pick": PICK},
    "wait": {"ms": st.sampled_from(WAITS)},
    "submit_more": {"is_slow": SELDOM},
}
"""What can happen, and what chance decides in it."""


class LossyScripts(Scripts):
    """Apply the next call twice when told to, as redis-py does when it loses a reply."""

    twice = False

    async def run(self, client: Client, call: ScriptCall) -> Any:  # noqa: ANN401  as in its base
        if self.twice:
            await super().run(client, call)
        return await super().run(client, call)


@dataclass(slots=True, eq=False)
class Message:
    """One message of the simulated queue; a duplicate is a message of its own."""

    task: Task
    visible_ms: int
    receives: int = 0


@dataclass(slots=True, eq=False)
class Worker:
    """One claim that was given; where it has not renewed its lease, it is dead by `hard_end_ms`."""

    lease: Lease
    message: Message
    hard_end_ms: int


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  what the coroutine returns
    """Run a coroutine that waits for nothing, as those of the stand-in."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the stand-in has waited")


class StoreMachine(RuleBasedStateMachine):
    """Keep the simulated world; `open_store` gives a store on an empty server."""

    open_store: ClassVar[Callable[[], tuple[ValkeyHarness, LossyScripts]]]
    run: ClassVar[Callable[[Coroutine[Any, Any, Any]], Any]]
    reached: ClassVar[Counter[object]] = Counter()

    @initialize(is_slow=SELDOM)
    def start(self, *, is_slow: bool) -> None:
        self.real, self.scripts = type(self).open_store()
        self.fake = FakeHarness()
        self.batches = 0
        self.submit(is_slow=is_slow)

    def submit(self, *, is_slow: bool) -> None:
        """Record a batch under a key of its own and send its messages; a slow call has yet to accept it."""
        self.batches += 1
        batch_id = batch_id_of_key(TENANT, f"order-{self.batches}")
        self.request = replace(
            new_batch(TASKS, batch_id=batch_id, digest="digest", webhook=HOOK),
            deadline_in_ms=DEADLINE_IN_MS,
            retention_ms=RETENTION_MS,
        )
        created = self.both("create", self.request)
        self.begin(created)
        if not is_slow:
            self.end_sending(0, "accept", twice=False)
        self.look("create")

    def begin(self, created: Created) -> None:
        self.tasks = tasks_of(self.request, created)
        self.queue: list[Message] = []
        self.digest = "digest"
        self.announced_before = len(self.real.announcer.announced)
        self.is_accepted = False
        self.senders: list[int] = []
        self.send(created)
        self.dead_letters: list[Message] = []
        self.workers: list[Worker] = []
        self.gone_workers: list[Worker] = []
        self.claims = 0
        self.paid = Counter[Task]()
        self.last_owner: dict[Task, str] = {}
        self.lost: set[Task] = set()
        self.retried: set[TaskRef] = set()
        self.retries = 0
        self.seen: dict[Task, TaskRecord] = {}
        self.took_another_digest = False
        self.batch_was_lost = False
        self.has_expired = False

    def send(self, created: Created) -> None:
        """Send the batch's messages, as the call that `create` has allowed to; it has yet to accept the batch."""
        self.senders.append(created.sending_until_ms)
        self.queue += [Message(task, self.now_ms) for task in self.tasks]

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """Do one thing that can happen now. What ends tasks early is rare, or nothing else would be seen."""
        weights = {"call": 2, "trouble": 1, "wait": 3}
        if self.visible():
            weights |= {"deliver": 6}
        if self.workers:
            weights |= {"show_progress": 3, "complete": 1, "fail": 2, "release": 4, "crash": 3}
        if self.gone_workers:
            weights |= {"hear_from_the_gone": 8 if self.rivals() else 2}
        if self.dead_letters:
            weights |= {"bury": 6}
        if self.failed():
            weights |= {"retry": 6}
        if self.senders:
            weights |= {"end_sending": 2 if self.is_accepted else 6}
        if not self.queue and not self.dead_letters:
            weights |= {"submit_more": 12}
        act = data.draw(st.sampled_from([act for act, weight in weights.items() for _ in range(weight)]), label="act")
        getattr(self, act)(**{name: data.draw(chance, label=name) for name, chance in ACTS[act].items()})

    def submit_more(self, *, is_slow: bool) -> None:
        self.work_off()
        self.submit(is_slow=is_slow)

    # ─── The world ────────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, pick: int, *, twice: bool, dies: bool) -> None:
        """Give a message to a worker, which claims its task or dies before it does."""
        visible = self.visible()
        message = visible[pick % len(visible)]
        message.receives += 1
        if message.receives > MAX_RECEIVES:
            self.queue.remove(message)
            self.dead_letters.append(message)
            return
        message.visible_ms = self.now_ms + VISIBILITY_MS
        if dies:
            return
        self.claims += 1
        lease = Lease(message.task, f"owner-{self.claims}", LEASE_MS, MAX_ATTEMPTS)
        was_known = self.knows(message.task)
        claim = self.both("claim", lease, twice=twice)
        self.note(f"claim {claim.outcome}" + (" on a lost record" if not was_known else ""))
        match claim.outcome:
            case ClaimOutcome.CLAIMED:
                self.start_call(lease, message)
            case ClaimOutcome.BUSY | ClaimOutcome.UNACCEPTED:
                assert claim.wait_ms > 0
                message.visible_ms = self.now_ms + claim.wait_ms
            case ClaimOutcome.NOT_ACCEPTED:
                assert not self.is_accepted, "a message of an accepted batch was dropped"
                self.queue.remove(message)
            case ClaimOutcome.ENDED:
                self.acknowledge(message)
        self.look(f"claim {claim.code}" if claim.code else "claim")

    def visible(self) -> list[Message]:
        return [message for message in self.queue if message.visible_ms <= self.now_ms]

    def start_call(self, lease: Lease, message: Message) -> None:
        task = message.task
        self.paid[task] += 1
        self.last_owner[task] = lease.owner
        assert self.is_accepted or self.batch_was_lost, "what was not accepted costs money"
        if task not in self.lost:
            assert all(worker.lease.task != task for worker in self.workers), "two model calls at once"
            assert self.paid[task] <= MAX_ATTEMPTS, "paid more often than allowed"
        self.workers.append(Worker(lease, message, self.now_ms + LEASE_MS - GRACE_MS))

    def show_progress(self, pick: int, percent: int, *, twice: bool) -> None:
        worker = self.workers[pick % len(self.workers)]
        note = ProgressNote(worker.lease.task.ref, worker.lease.owner, percent, f"text at {percent}", LEASE_MS)
        before = self.seen.get(worker.lease.task)
        (owned,) = self.both("progress", [note], twice=twice)
        self.note(f"progress {owned}")
        worker.hard_end_ms = self.now_ms + LEASE_MS - GRACE_MS
        self.look("progress")
        after = self.seen.get(worker.lease.task)
        if before and after:
            assert after.progress >= before.progress, "progress went back"
        if not owned:
            self.leave(worker)

    def complete(self, pick: int, *, twice: bool, dies: bool) -> None:
        self.end_work(pick, "complete", twice=twice, dies=dies)

    def fail(self, pick: int, *, twice: bool, dies: bool) -> None:
        self.end_work(pick, "fail", twice=twice, dies=dies)

    def end_work(self, pick: int, how: str, *, twice: bool, dies: bool) -> None:
        """End a task as its worker, which may die before it acknowledges the message."""
        worker = self.workers[pick % len(self.workers)]
        argument = self.answer_of(worker.lease) if how == "complete" else FailureCode.CONTENT_POLICY
        outcome = self.end_as(worker, how, argument, twice=twice)
        self.leave(worker)
        if not dies:
            if outcome is EndOutcome.LOST:
                worker.message.visible_ms = self.now_ms
            else:
                self.acknowledge(worker.message)
        self.look(how)

    def end_as(self, worker: Worker, how: str, argument: Answer | FailureCode, *, twice: bool) -> EndOutcome:
        was_known = self.knows(worker.lease.task)
        outcome = self.both(how, worker.lease, argument, twice=twice)
        assert isinstance(outcome, EndOutcome)
        self.note(f"{how} {outcome}" + (" on a lost record" if not was_known else ""))
        return outcome

    def release(self, pick: int, *, refund: bool, twice: bool) -> None:
        worker = self.workers[pick % len(self.workers)]
        outcome = self.release_as(worker, refund=refund, refused_by=CAUSES[pick % len(CAUSES)], twice=twice)
        self.leave(worker)
        if outcome is ReleaseOutcome.RELEASED and refund:
            self.paid[worker.lease.task] -= 1
        if outcome is ReleaseOutcome.EXHAUSTED:
            self.acknowledge(worker.message)
        else:
            worker.message.visible_ms = self.now_ms
        self.look("release")

    def release_as(
        self, worker: Worker, *, refund: bool, refused_by: RefusalCause | None, twice: bool
    ) -> ReleaseOutcome:
        release = Release(
            WaitingOn.RATE_LIMIT if refund else WaitingOn.PROVIDER,
            refund,
            FailureCode.RATE_LIMITED if refund else FailureCode.TIMEOUT,
            refused_by,
            CallReport(error=ProviderError(request_id=worker.lease.owner)),
        )
        outcome = self.both("release", worker.lease, release, twice=twice)
        assert isinstance(outcome, ReleaseOutcome)
        self.note(f"release {outcome}")
        return outcome

    def crash(self, pick: int) -> None:
        self.leave(self.workers[pick % len(self.workers)])

    def hear_from_the_gone(self, pick: int, call: str) -> None:
        """Apply a call that a worker sent before it ended, late on the wire."""
        choice = self.rivals() or self.gone_workers[-3:]
        worker = choice[-1 - pick % len(choice)]
        lease = worker.lease
        self.charge(lease, twice=pick % 2 == 0)
        match call:
            case "claim":
                # Only the last owner's: of older ones nothing is remembered, nor is a copy so late.
                if self.last_owner[lease.task] != lease.owner:
                    return
                before = self.seen.get(lease.task)
                claim = self.both("claim", lease)
                self.note(f"late claim {claim.outcome}")
                self.look("claim")
                if before and lease.task not in self.lost and not before.status.is_terminal:
                    after = self.seen[lease.task]
                    assert after.status.is_terminal or after == before, "a late copy took the task"
            case "progress":
                (owned,) = self.both("progress", [ProgressNote(lease.task.ref, lease.owner, 70, "late text", LEASE_MS)])
                self.note(f"progress {owned}")
            case "release":
                self.release_as(worker, refund=False, refused_by=RefusalCause.TASK, twice=False)
            case "complete":
                self.end_as(worker, "complete", self.answer_of(lease), twice=False)
            case _:
                self.end_as(worker, "fail", FailureCode.TIMEOUT, twice=False)
        self.look(call)

    def charge(self, lease: Lease, *, twice: bool) -> None:
        """Book what an attempt has cost that brought no answer, whoever has the task by now."""
        self.both("charge", lease, Charge.estimate(Usage(4, 1, 5), 5 if twice else None), twice=twice)
        self.look("charge")

    def rivals(self) -> list[Worker]:
        """List the gone workers whose task is another's now: their late calls are those to fear."""
        tasks = {worker.lease.task for worker in self.workers}
        return [worker for worker in self.gone_workers if worker.lease.task in tasks]

    def bury(self, pick: int, *, twice: bool) -> None:
        message = self.dead_letters[pick % len(self.dead_letters)]
        outcome = self.both("dead_letter", message.task, twice=twice)
        self.note(f"dead_letter {outcome}")
        if outcome is not EndOutcome.LOST:
            self.dead_letters.remove(message)
            self.keep(message.task)
            self.must_have_ended(message.task)
        self.look("dead_letter")

    def call(self, act: str, pick: int, *, twice: bool) -> None:
        """Act as the caller, or as the functions that answer it."""
        ref = self.tasks[pick % TASKS].ref
        match act:
            case "read":
                self.both("read", [task.ref for task in self.tasks], with_text=twice)
                self.look("read", also_past_the_deadline=True)
            case "cancel" | "cancel twice":
                for outcome in self.both("cancel", [ref] if act == "cancel" else [ref, ref]):
                    self.note(f"cancel {outcome}")
                self.look("cancel")
            case _:
                self.repeat_the_request("digest" if act == "repeat" else act, twice=twice)

    def failed(self) -> list[TaskRef]:
        return [task.ref for task, record in self.seen.items() if record.status is TaskStatus.FAILED]

    def retry(self, pick: int, *, twice: bool) -> None:
        """Take a task for a retry, by what is seen of its batch now or by what was seen before the last one."""
        ref = self.failed()[pick % len(self.failed())]
        batch = type(self).run(self.real.store.read_batch(TENANT, self.request.batch_id))
        if batch is None:
            return
        self.retries += 1
        known = replace(batch, retry=None) if pick % 3 == 0 else batch
        taken = self.both("retry", known, [ref], f"{self.retries:036d}", twice=twice)
        self.note(f"retry {taken}")
        if taken:
            assert known.retry == batch.retry, "taken by whoever saw an older batch"
            assert ref not in self.retried or ref in {task.ref for task in self.lost}, "retried twice"
            self.retried.add(ref)
        self.look("retry")

    def repeat_the_request(self, digest: str, *, twice: bool) -> None:
        if self.batch_is_lost() and self.now_ms < self.tasks[0].deadline_ms + RETENTION_MS:
            return
        created = self.both("create", replace(self.request, digest=digest), twice=twice)
        self.note(f"create {created.outcome}")
        if created.outcome is CreateOutcome.CREATED:
            self.begin(created)  # nothing was left of the former one
        if created.outcome is CreateOutcome.UNSENT:
            self.send(created)
        if created.outcome is CreateOutcome.ACCEPTED:
            assert self.is_accepted
        if created.outcome is CreateOutcome.CONFLICT:
            assert digest == "another" or self.took_another_digest
        else:
            # A new batch, or one that was rebuilt from a message, takes the digest that comes.
            self.took_another_digest |= digest == "another"
            self.digest = digest
        self.look("create")

    def batch_is_lost(self) -> bool:
        return type(self).run(self.real.store.read_batch(TENANT, self.request.batch_id)) is None

    def end_sending(self, pick: int, how: str, *, twice: bool) -> None:
        """End a call that has sent the batch's messages, however late: it accepts the batch, gives up, or dies."""
        sending_until_ms = self.senders.pop(pick % len(self.senders))
        if how == "accept":
            is_accepted = self.both("mark_accepted", TENANT, self.request.batch_id, sending_until_ms, twice=twice)
            self.note(f"accept {is_accepted}")
            assert is_accepted or not self.is_accepted, "an accepted batch is accepted no more"
            self.is_accepted = is_accepted
        elif how == "unsent":
            self.both("mark_unsent", TENANT, self.request.batch_id, sending_until_ms, twice=twice)
        self.look("accept")

    def trouble(self, what: str, pick: int) -> None:
        """Let something go wrong outside of the worker."""
        task = self.tasks[pick % TASKS]
        match what:
            case "duplicate":
                if 0 < len(self.queue) <= TASKS:
                    message = self.queue[pick % len(self.queue)]
                    # Every other one has been received too often by nobody, and is next for the dead letters.
                    receives = MAX_RECEIVES if pick % 2 else message.receives
                    self.queue.append(Message(message.task, self.now_ms, receives))
            case "lose a task":
                if self.workers:
                    task = self.workers[pick % len(self.workers)].lease.task
                self.lost.add(task)
                self.seen.pop(task, None)
                self.each(lambda harness: harness.lose(task.ref))
            case "deaf":
                self.real.announcer.fails = self.fake.announcer.fails = True
            case "lose the batch":
                self.batch_was_lost = True
                self.each(lambda harness: harness.lose_batch(TENANT, self.request.batch_id))
            case _:
                late_ms = (-1, 0, 1, RETENTION_MS - 1, RETENTION_MS)[pick % 5]
                self.advance(max(0, task.deadline_ms + late_ms - self.now_ms))
                if pick % 2:
                    self.look("read", also_past_the_deadline=True)

    def wait(self, ms: int | None) -> None:
        """Let time pass; None waits until the next message is visible."""
        if ms is None and self.queue:
            ms = max(0, min(message.visible_ms for message in self.queue) - self.now_ms)
        self.advance(ms or 0)

    def teardown(self) -> None:
        if hasattr(self, "tasks"):
            self.work_off()

    def work_off(self) -> None:
        """Have the batch accepted, and work it off with no more faults: then each task has ended, and stays so."""
        self.get_accepted()
        while self.queue:
            if not self.visible():
                self.wait(None)
            self.deliver(0, twice=False, dies=False)
            while self.workers:
                self.complete(0, twice=False, dies=False)
        while self.dead_letters:
            self.bury(0, twice=False)
            self.advance(LEASE_MS)
        for task in self.tasks:
            if self.is_accepted:
                self.must_have_ended(task)
        self.advance(max(0, self.tasks[0].deadline_ms - self.now_ms))
        self.look("read", also_past_the_deadline=True)
        for task in self.tasks:
            if task not in self.lost and self.now_ms < task.created_ms + RETENTION_MS:
                assert self.seen[task].status.is_terminal, "stuck past the deadline"
        self.check_announcements()

    def get_accepted(self) -> None:
        """Repeat the request until it is accepted, as its caller does."""
        self.senders.clear()
        while not self.is_accepted and not self.batch_is_lost() and self.now_ms < self.tasks[0].deadline_ms:
            self.repeat_the_request(self.digest, twice=False)
            if self.senders:
                self.end_sending(0, "accept", twice=False)
            else:
                self.advance(SENDING_LEASE_MS)

    # ─── Checks ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def now_ms(self) -> int:
        return self.real.now_ms

    def both(self, method: str, *args: object, twice: bool = False, **named: object) -> Any:  # noqa: ANN401  as the methods
        """Call the store, twice where the first reply is lost, and the stand-in; they must agree."""
        self.scripts.twice = twice
        try:
            real = type(self).run(getattr(self.real.store, method)(*args, **named))
        except EventUnsent:
            # What is due could not be announced: who has the message repeats the call. The queue is well again by then.
            self.note(f"{method} could not announce")
            self.real.announcer.fails = self.fake.announcer.fails = False
            real = type(self).run(getattr(self.real.store, method)(*args, **named))
        self.scripts.twice = False
        try:
            fake = at_once(getattr(self.fake.store, method)(*args, **named))
        except StoreUnavailable:
            raise AssertionError(f"{method}: only the stand-in has something to announce") from None
        self.disagreement = None if real == fake else f"{method}: the store says {real}, the stand-in {fake}"
        if self.real.announcer.announced != self.fake.announcer.announced:
            self.disagreement = f"{method}: the store and the stand-in announce differently"
        return real

    def each(self, act: Callable[[Harness], Coroutine[Any, Any, None]]) -> None:
        type(self).run(act(self.real))
        at_once(act(self.fake))

    def advance(self, ms: int) -> None:
        self.each(lambda harness: harness.advance(ms))
        for worker in [worker for worker in self.workers if worker.hard_end_ms <= self.now_ms]:
            self.leave(worker)
        for task, record in list(self.seen.items()):
            if record.expires_ms <= self.now_ms:
                del self.seen[task]
                self.has_expired = True

    def leave(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.gone_workers.append(worker)

    def acknowledge(self, message: Message) -> None:
        if message in self.queue:
            self.queue.remove(message)
        self.keep(message.task)
        self.must_have_ended(message.task)

    def keep(self, task: Task) -> None:
        """Leave its request with a task before its message goes, as whoever acknowledges it does."""
        self.both("save_request", task.ref, f"what task {task.ref.index} asks")

    def announced(self) -> list[WebhookNotification]:
        """List what was announced of this batch, and not of one that had its id and is gone."""
        announced = self.real.announcer.announced[self.announced_before :]
        return [each for each in announced if each.batch_id == self.request.batch_id]

    def check_announcements(self) -> None:
        """Of an accepted batch whose every task has ended it was announced, once, as long as Redis has kept it."""
        was_kept = not self.lost and not self.batch_was_lost and not self.has_expired
        if not self.is_accepted or not was_kept or not all(task in self.seen for task in self.tasks):
            return
        assert len(self.announced()) == 1, "not announced once"
        [announcement] = self.announced()
        statuses = Counter(self.seen[task].status for task in self.tasks)
        assert announcement.counts == {status: statuses[status] for status in TaskStatus if status.is_terminal}
        self.note("announced")

    def knows(self, task: Task) -> bool:
        return task in self.seen

    def must_have_ended(self, task: Task) -> None:
        """No message may go before its task has ended, seen by a reader who changes nothing."""
        if task not in self.lost and self.now_ms < min(task.deadline_ms, task.created_ms + RETENTION_MS):
            (record,) = type(self).run(self.real.silent_store.read([task.ref]))
            assert record is not None, "acknowledged, and gone"
            assert record.status.is_terminal, "acknowledged before its end"
            assert (record.kept_bytes is not None) == (record.status is TaskStatus.FAILED), "failed means retriable"

    @staticmethod
    def answer_of(lease: Lease) -> Answer:
        return Answer(f"the answer of {lease.owner}", "stop", Usage(3, 2, 5, 1), cost_nanos=7)

    def note(self, *outcomes: object) -> None:
        self.reached.update(outcomes)

    def look(self, cause: str, *, also_past_the_deadline: bool = False) -> None:
        """Check what the records show after a step. Past the deadline a read changes them: then only when asked."""
        if self.now_ms < self.tasks[0].deadline_ms or also_past_the_deadline:
            refs = [task.ref for task in self.tasks]
            records, batch = type(self).run(self.read_all(self.real.store, refs))
            for task, record in zip(self.tasks, records, strict=True):
                self.check_promises(task, record, cause)
            expected = at_once(self.read_all(self.fake.store, refs))
            assert (records, batch) == expected, f"after {cause}: {records} {batch}, by the stand-in {expected}"
            is_open = any(record and not record.status.is_terminal for record in records)
            assert not (is_open and self.announced() and not self.lost), "announced before the last task's end"
        assert self.disagreement is None, self.disagreement

    async def read_all(
        self, store: TaskStore | FakeStore, refs: list[TaskRef]
    ) -> tuple[list[TaskRecord | None], BatchRecord | None]:
        return await store.read(refs), await store.read_batch(TENANT, self.request.batch_id)

    def check_promises(self, task: Task, record: TaskRecord | None, cause: str) -> None:
        before = self.seen.get(task)
        if record is None:
            assert before is None, "silently gone"
            return
        self.seen[task] = record
        ended = record.status.is_terminal
        assert (record.progress == 100) == (record.status is TaskStatus.COMPLETED)
        assert (record.answer is not None) == (record.status is TaskStatus.COMPLETED), "completed means a result"
        assert (record.code is not None) == (record.status is TaskStatus.FAILED), "failed means a code"
        assert (record.ended_ms is not None) == ended
        assert (record.waiting_on is not None) == (record.status is TaskStatus.QUEUED)
        assert record.partial is None or record.status is TaskStatus.PROCESSING
        assert len(record.attempts) <= MAX_ATTEMPTS
        running = [attempt for attempt in record.attempts if attempt.ended_ms is None]
        assert running == list(record.attempts[-1:] if record.status is TaskStatus.PROCESSING else [])
        assert all(attempt.started_ms <= (attempt.ended_ms or self.now_ms) for attempt in record.attempts)
        if ended:
            assert record.expires_ms == (record.ended_ms or 0) + RETENTION_MS, "readable for its retention"
        else:
            assert record.expires_ms == record.deadline_ms + RETENTION_MS
        if before is None:
            return
        if before.status.is_terminal:
            assert replace(record, kept_bytes=None, retried_as=None) == replace(
                before, kept_bytes=None, retried_as=None
            ), "a terminal state changed"
            assert before.retried_as in {None, record.retried_as}, "retried as another"
        elif before.status is not record.status:
            assert record.status in TRANSITIONS[before.status], f"{before.status} became {record.status}"
            self.note((before.status, record.status))
            if ended:
                self.note(f"{record.status} by {cause}")
