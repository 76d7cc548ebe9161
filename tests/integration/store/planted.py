"""List faults to plant into the scripts, one at a time; the state machine must find each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fault:
    """Replace a piece of one script's text."""

    name: str
    script: str
    right: str
    wrong: str

    def plant(self, sources: Mapping[str, str]) -> dict[str, str]:
        """Return the sources with the fault in; the piece must be there exactly once."""
        (path,) = (path for path in sources if path.endswith(f"/{self.script}"))
        text = sources[path]
        assert text.count(self.right) == 1, f"{path}.lua has changed: {self.right!r}"
        return {**sources, path: text.replace(self.right, self.wrong)}


PLANTED: Final = (
    # claim
    Fault("claim ignores a live lease", "claim", "if is_live(record) then", "if false then"),
    Fault("claim gives a live lease to anybody", "claim", "if record.owner == owner then", "if true then"),
    Fault("claim tells its own repeat to wait", "claim", "if record.owner == owner then", "if false then"),
    Fault("claim does not count the attempt", "claim", "attempt = record.attempt + 1", "attempt = record.attempt"),
    Fault("claim has no limit of attempts", "claim", "record.attempt >= max_attempts", "false"),
    Fault("claim allows one attempt more", "claim", "record.attempt >= max_attempts", "record.attempt > max_attempts"),
    Fault("claim ignores the deadline", "claim", "apply_time(KEYS[1], record, by)", ""),
    Fault("claim takes an ended task", "claim", "if is_terminal(record) then", "if false then"),
    Fault("claim lets a late copy take a released task", "claim", "or record.past_owner == owner", ""),
    Fault("claim lets a late copy renew its lease", "claim", "record.owner == owner or record.past", "record.past"),
    Fault("claim starts with no lease", "claim", "lease = now + args.lease_ms", "lease = now"),
    Fault("claim forgets its owner", "claim", "owner = owner,", ""),
    Fault("claim moves the start", "claim", "'HSETNX', KEYS[1], 'started'", "'HSET', KEYS[1], 'started'"),
    Fault("claim keeps the former partial text", "claim", "'partial', 'waiting_on'", "'waiting_on'"),
    Fault("claim keeps the former progress", "claim", ", progress = 0", ""),
    Fault("claim leaves its attempt unlisted", "claim", "attempts = with_attempt(record.attempts), ", ""),
    Fault("claim does not say why the last worker's was the last", "claim", ", last_code = last_code", ""),
    Fault("claim takes what was not accepted", "claim", "not batch[1] and not batch[2]", "false"),
    Fault("claim drops what is being sent", "claim", "if left > 0 then", "if false then"),
    Fault("claim drops without giving the sending up", "claim", "redis.call('HDEL', KEYS[2], 'sending')", ""),
    # accept. What two calls that send one batch do to each other, test_acceptance.py finds: they are too rare here.
    Fault("the acceptance is forgotten", "mark_accepted", "redis.call('HSET', KEYS[1], 'accepted', 1)", ""),
    Fault(
        "an acceptance needs no fence", "mark_accepted", "not found[3] and found[4] ~= args.sending_until_ms", "false"
    ),
    # release
    Fault("release needs no owner", "release", "if record.owner ~= owner", "if record.status ~= 'processing'"),
    Fault("release repeats its refund", "release", "if record.past_owner == owner then return 'released' end", ""),
    Fault(
        "release refunds unasked", "release", "refund and record.attempt - 1 or record.attempt", "record.attempt - 1"
    ),
    Fault("release refunds never", "release", "refund and record.attempt - 1 or record.attempt", "record.attempt"),
    Fault("release refunds twice the attempt", "release", "record.attempt - 1 or", "record.attempt - 2 or"),
    Fault("release has no limit of attempts", "release", "record.attempt >= tonumber(args.max_attempts)", "false"),
    Fault("release forgets how its last attempt ended", "release", "if record.ended_by == by", "if false"),
    Fault("release keeps the partial text", "release", "'lease', 'partial'", "'lease'"),
    Fault("release lists a refunded attempt", "release", "refund and without_running(record.attempts)\n  or ", ""),
    Fault("release does not count a refusal", "release", "args.refused_by and record.refusals + 1", "nil"),
    Fault("release counts what is no refusal", "release", "args.refused_by and record.refusals", "record.refusals"),
    Fault("release does not count a task's own refusal", "release", "record.own_refusals + 1", "record.own_refusals"),
    Fault("release counts any refusal as the task's own", "release", "args.refused_by == 'task'", "args.refused_by"),
    Fault("claim does not tell the refusals", "claim", "'refusals', record.refusals", "'refusals', 0"),
    # complete
    Fault("complete lists no attempt of a lost record", "complete", "1, with_attempt('')", "1, ''"),
    Fault("complete overwrites an end", "complete", "if is_terminal(record) then return { 'already', now } end", ""),
    Fault("complete denies its own repeat", "complete", "if record.ended_by == by", "if false"),
    Fault("complete loses the answer", "complete", "result = args.text,", ""),
    Fault("complete does not sum up", "complete", "increment(KEYS[2], args.charge)", ""),
    Fault(
        "complete sums up repeats",
        "complete",
        "if record.ended_by == by then",
        "if record.ended_by == by then increment(KEYS[2], args.charge)",
    ),
    Fault("complete stays below 100", "complete", "progress = 100", "progress = 99"),
    # charge
    Fault("charge does not sum up", "charge", "increment(KEYS[2], args.charge)", ""),
    Fault("charge sums up repeats", "charge", "and not string.find(charged, args.owner, 1, true)", ""),
    Fault("charge forgets former attempts", "charge", "charged = charged .. args.owner", "charged = args.owner"),
    # fail
    Fault("fail needs no owner", "fail", "record.owner ~= args.owner", "record.status ~= 'processing'"),
    Fault("fail overwrites an end", "fail", "if is_terminal(record) then return 'already' end", ""),
    Fault("fail denies its own repeat", "fail", "if record.ended_by == by", "if false"),
    Fault("fail leaves a lost record queued", "fail", "not rebuilt and ", ""),
    Fault("fail has no code", "fail", "code = args.code,", ""),
    # dead_letter
    Fault("dead_letter ends a live task", "dead_letter", "if is_live(record) then return 'lost' end", ""),
    Fault("dead_letter overwrites an end", "dead_letter", "if is_terminal(record) then return 'already' end", ""),
    # cancel
    Fault("cancel overwrites an end", "cancel", "elseif is_terminal(record) then", "elseif false then"),
    Fault("cancel denies its own repeat", "cancel", "record.status == 'cancelled'", "false"),
    # progress
    Fault("progress goes back", "progress", "math.max(record.progress, ", "("),
    Fault("progress reaches 100 unfinished", "progress", "highest_unfinished = 99", "highest_unfinished = 100"),
    Fault("progress renews no lease", "progress", "set(key, { lease = now + item.lease_ms })", ""),
    Fault("progress needs no owner", "progress", "record.owner ~= item.owner", "record.status ~= 'processing'"),
    # read
    Fault("read ignores the deadline", "read", "apply_time(key, record, 'deadline')", ""),
    # create
    Fault("create takes its own repeat for another", "create", "if found[5] == nonce then", "if false then"),
    Fault("create ignores the digest", "create", "or (known_digest and known_digest ~= digest)", ""),
    Fault("create forgets the acceptance", "create", "if found[7] then", "if false then"),
    Fault("create lets two calls send", "create", "if now < sending then", "if false then"),
    Fault("create starts tasks afresh", "create", "redis.call('EXISTS', key) == 0", "true"),
    Fault("create leaves lost tasks lost", "create", "write_tasks(created, deadline)\nreturn", "return"),
    # save_request and retry
    Fault(
        "save_request takes the request of any task", "save_request", "record and record.status == 'failed'", "record"
    ),
    Fault("retry takes a task again", "retry", "or task[2] then", "then"),
    Fault("retry takes a task without a request", "retry", "not task[1] or task[2]", "task[2]"),
    # That it overlooks another one, test_retry.py finds: two retries that cross are too rare to be met here.
    Fault("retry denies its own repeat", "retry", "if found[2] == batch_id then return 1 end", ""),
    # events
    Fault("an end is not marked", "lifecycle", "  mark_end(key, status, fields.finish_reason)\n", ""),
    Fault("an event is due before the last end", "batch_event", "string.find(marks, '.', 1, true) or ", ""),
    Fault("an event is due again", "batch_event", "redis.call('HGET', batch, 'announced')", "false"),
    Fault("an event is reported as another end", "batch_event", "cancelled = 'x' }", "cancelled = 'f' }"),
    Fault(
        "a rebuilt batch has no webhook", "lifecycle", "write_webhook(KEYS[2], header.webhook, header.batch_size)", ""
    ),
    Fault(
        "an event that is not on its queue is reported once",
        "announce",
        "may_leave_to_sender and not is_newly",
        "not is_newly",
    ),
    Fault("an announcement is forgotten", "mark_announced", "redis.call('HSET', KEYS[1], 'announced', 1)", ""),
    Fault("an announcement leaves its event due", "mark_announced", "redis.call('HDEL', KEYS[1], 'due') == 1", "true"),
    # what they share
    Fault("a lease is live a moment longer", "task_record", "now < record.lease", "now <= record.lease"),
    Fault("a lease is live for ever", "task_record", "and now < record.lease", ""),
    Fault("a deadline comes late", "lifecycle", "now >= record.deadline", "now > record.deadline"),
    Fault("a deadline changes an end", "lifecycle", "not is_terminal(record) and now >=", "now >="),
    Fault("a deadline ends when it is noticed", "lifecycle", "'failed', record.deadline, by", "'failed', now, by"),
    Fault(
        "an end leaves its attempt running",
        "lifecycle",
        "fields.attempts = with_end(record.attempts, at, code, fields.provider_error)",
        "",
    ),
    Fault(
        "an end tells the task's code for the attempt's", "lifecycle", "fields.last_code or fields.code", "fields.code"
    ),
    Fault("an attempt outlives its lease", "lifecycle", "'processing' and not is_live", "'ended' and not is_live"),
    Fault("an end keeps its first expiry", "lifecycle", "redis.call('PEXPIREAT', key, at + record.retention)", ""),
    Fault("an end keeps the partial text", "lifecycle", "'lease', 'partial'", "'lease'"),
    Fault("a rebuilt batch is dropped", "lifecycle", ", rebuilt = 1", ""),
    Fault("a batch is not rebuilt", "lifecycle", "redis.call('EXISTS', KEYS[2]) == 0", "false"),
    Fault(
        "a task is rebuilt after its time",
        "lifecycle",
        "not record and now >= header.deadline_ms",
        "false and now >= header.deadline_ms",
    ),
    Fault(
        "a queued task never expires",
        "lifecycle",
        "redis.call('PEXPIREAT', key, header.deadline_ms + header.retention_ms)",
        "",
    ),
)
