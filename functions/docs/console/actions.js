// The actions on a whole run. Each returns a message for the user, or nothing.

import { api, newIdempotencyKey } from "./api.js";
import { make, say, sure } from "./dom.js";
import { many, whole } from "./format.js";
import { IDS } from "./run.js";

const post = path => api.call(path, { method: "POST", headers: { "Idempotency-Key": newIdempotencyKey() } });

/**
 * Count the failed tasks of a batch that have not been retried. The counts of a batch are loaded before its tasks, so this includes
 * tasks that the counts show as failed and whose state has not been loaded yet.
 */
export function retriable({ tasks, size, known, view }) {
  const failed = tasks.filter(task => task.status === "failed" || task.retried_as);
  const open = failed.filter(task => !task.retried_as).length;
  if (!view || tasks.some(task => !task.isLoaded)) return open;
  const { counts } = view;
  return open + Math.max(0, Math.min(counts.failed - failed.length, size - counts.queued - counts.processing - known));
}

/** Retry the failed tasks of each batch; the new tasks are added to the run. */
export async function retryFailed(run) {
  const left = new Map();
  for (const { id } of run.batches.filter(retriable)) {
    const { body } = await post(`batches/${encodeURIComponent(id)}/retry`);
    const olds = body.tasks.map(task => task.retry_of && run.find(task.retry_of));
    olds.forEach((old, place) => old && (old.retried_as = body.task_ids[place]));
    for (const { task_id: task, code, retried_as: as } of body.not_retried || []) {
      if (as && run.find(task)) run.find(task).retried_as = as;
      else left.set(code, (left.get(code) || 0) + 1);
    }
    if (run.batches.some(batch => batch.id === body.batch_id)) continue;
    run.add(body.batch_id, body.task_ids.length, body.tasks, olds.map(old => old?.prompt));
    say(`${many(body.task_ids.length, "failed task")} submitted again.`);
  }
  return left.size ? `Not retried: ${[...left].map(([code, count]) => `${whole(count)} (${code})`).join(", ")}.` : "";
}

/** Cancel the tasks that have not ended, after confirmation. */
export async function cancelRest(run) {
  const totals = run.totals();
  const open = totals.size - totals.ended;
  const about = "Queued tasks will not start. Processing tasks are aborted; their tokens so far may be charged. Ended tasks are not affected.";
  if (!open || !(await sure(`Cancel ${many(open, "task")}?`, about, "Cancel them"))) return;
  for (const { id } of run.batches.filter(batch => !batch.isOver)) await post(`batches/${encodeURIComponent(id)}/cancel`);
}

/** Load every task in full, in order, in pages. */
async function* everyTask(run) {
  for (let place = 0; place < run.tasks.length; place += IDS) {
    let path = `tasks?task_ids=${run.tasks.slice(place, place + IDS).map(task => task.id).join(",")}`;
    while (path) {
      const { body } = await api.call(path);
      yield* body.tasks;
      path = body.next ? `tasks${body.next}` : "";
    }
  }
}

/** Download every task as JSON Lines, in the API's format. */
export async function saveAll(run, show) {
  const lines = [];
  try {
    for await (const task of everyTask(run)) {
      lines.push(`${JSON.stringify(task)}\n`);
      if (lines.length % 200 === 0) show(lines.length);
    }
  } finally {
    show(0);
  }
  const url = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  make("a", { href: url, download: `sluice-${run.batches[0].id}.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
