// The charts of a run, drawn as SVG from its tasks.

import { draw, make, write } from "./dom.js";
import { about, money, percent, short, span, whole } from "./format.js";

const WIDE = 280;
const HIGH = 96;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].map(seconds => seconds * 1000);
const MOST_BARS = 40;
const SPANS = 24;
const RATE_WINDOW = 20_000;

function card(id, title) {
  const parts = { value: make("strong", { class: "number" }), note: make("span", { class: "soft" }), drawing: make("div", { class: "drawing" }) };
  parts.low = make("span");
  parts.high = make("span");
  parts.element = make("figure", { class: "card chart", id },
    make("figcaption", {}, make("span", { class: "label" }, title), parts.value, parts.note),
    parts.drawing, make("div", { class: "axis soft", "aria-hidden": "true" }, parts.low, parts.high));
  return parts;
}

function drawing(label, ...children) {
  return draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    draw("path", { class: "grid", d: `M0 ${HIGH - 0.5}H${WIDE}M0 ${HIGH / 2}H${WIDE}M0 .5H${WIDE}`, "vector-effect": "non-scaling-stroke" }), ...children);
}

export class Charts {
  constructor() {
    this.rate = card("chart-throughput", "Throughput");
    this.time = card("chart-latency", "Latency");
    this.outcome = card("chart-outcomes", "Outcomes");
    this.spent = card("chart-tokens", "Tokens and cost");
    this.element = make("div", { class: "charts" }, ...[this.rate, this.time, this.outcome, this.spent].map(({ element }) => element));
  }

  show(run, totals, now) {
    const over = run.tasks.filter(task => task.ended);
    over.sort((one, other) => one.ended - other.ended);
    const first = run.batches.reduce((least, { view }) => Math.min(least, view ? Date.parse(view.created_at) : Infinity), Infinity);
    const last = run.isOver && over.length ? over.at(-1).ended : now;
    this.#throughput(over, first, last, run.isOver);
    this.#latency(over);
    this.#outcomes(run, totals);
    this.#tokens(over, totals, first, last);
  }

  #throughput(over, first, last, isOver) {
    const { value, note, drawing: place, low, high } = this.rate;
    if (!over.length) return empty(this.rate);
    const step = STEPS.find(each => (last - first) / each <= MOST_BARS) ?? Math.ceil((last - first) / MOST_BARS);
    const count = Math.max(1, Math.ceil((last - first + 1) / step));
    const buckets = Array.from({ length: count }, () => ({ completed: 0, failed: 0, cancelled: 0 }));
    for (const task of over) buckets[Math.min(count - 1, Math.max(0, Math.floor((task.ended - first) / step)))][task.status] += 1;
    const most = Math.max(...buckets.map(each => each.completed + each.failed + each.cancelled));
    // At least ten columns, so that a short run does not fill the chart with one bar.
    const width = WIDE / Math.max(count, 10);
    const bars = buckets.flatMap((each, index) => {
      let top = HIGH;
      return ["completed", "failed", "cancelled"].filter(name => each[name]).map(name => {
        const height = (each[name] / most) * (HIGH - 4);
        top -= height;
        return draw("rect", { class: `fill-${name}`, x: index * width + 0.5, y: top, width: Math.max(1, width - 1), height },
          draw("title", {}, `${whole(each[name])} ${name} in ${about(step)}`));
      });
    });
    const recent = isOver ? over.length / Math.max(1, (last - first) / 1000) : over.filter(task => task.ended > last - RATE_WINDOW).length / (Math.min(RATE_WINDOW, Math.max(1000, last - first)) / 1000);
    write(value, `${recent < 10 ? recent.toFixed(1) : whole(Math.round(recent))} /s`);
    write(note, isOver ? "average" : "current");
    place.replaceChildren(drawing(`Tasks ended over time: at most ${most} in ${about(step)}, ${value.textContent} ${note.textContent}.`, ...bars));
    write(low, "start");
    write(high, `${span(Math.max(last - first, step * (count < 10 ? 10 : 0)))} · up to ${whole(most)} in ${about(step)}`);
  }

  #latency(over) {
    const { value, note, drawing: place, low, high } = this.time;
    const times = over.filter(task => task.status === "completed" && task.started).map(task => task.ended - task.started).sort((one, other) => one - other);
    if (!times.length) return empty(this.time);
    const at = share => times[Math.max(0, Math.ceil(times.length * share) - 1)];
    const top = Math.max(at(0.99) * 1.05, 1);
    const buckets = new Array(SPANS).fill(0);
    for (const time of times) buckets[Math.min(SPANS - 1, Math.floor((time / top) * SPANS))] += 1;
    const most = Math.max(...buckets);
    const width = WIDE / SPANS;
    const bars = buckets.map((count, index) => count && draw("rect", { class: "fill-processing", x: index * width + 0.5, width: width - 1, y: HIGH - (count / most) * (HIGH - 4), height: (count / most) * (HIGH - 4) },
      draw("title", {}, `${whole(count)} between ${span((index / SPANS) * top)} and ${span(((index + 1) / SPANS) * top)}`)));
    const mark = (share, name) => draw("path", { class: `mark ${name}`, d: `M${Math.min(WIDE - 1, (at(share) / top) * WIDE)} 0V${HIGH}`, "vector-effect": "non-scaling-stroke" });
    write(value, span(at(0.5)));
    write(note, `median · p95 ${span(at(0.95))}`);
    place.replaceChildren(drawing(`Time from start to result: half within ${span(at(0.5))}, 95 percent within ${span(at(0.95))}.`, ...bars.filter(Boolean), mark(0.5, "half"), mark(0.95, "most")));
    write(low, "0 s");
    write(high, span(top));
  }

  #outcomes(run, totals) {
    const { value, note, drawing: place, low, high } = this.outcome;
    if (!totals.ended) return empty(this.outcome);
    const codes = new Map();
    for (const { error } of run.tasks) if (error) {
      const code = error.last_code || error.code;
      codes.set(code, (codes.get(code) || 0) + 1);
    }
    const reasons = [...codes].sort(([, one], [, other]) => other - one).slice(0, 3);
    const parts = [["completed", totals.completed], ["failed", totals.failed], ["cancelled", totals.cancelled], ["expired", totals.expired]].filter(([, count]) => count);
    let left = 0;
    const bars = parts.map(([name, count]) => {
      const width = (count / totals.ended) * WIDE;
      const bar = draw("rect", { class: `fill-${name}`, x: left, y: 0, width: Math.max(1.5, width - 1), height: 12 }, draw("title", {}, `${whole(count)} ${name}`));
      left += width;
      return bar;
    });
    write(value, percent(totals.completed, totals.ended));
    write(note, "completed");
    const label = parts.map(([name, count]) => `${whole(count)} ${name}`).join(", ");
    place.replaceChildren(
      draw("svg", { class: "share", viewBox: `0 0 ${WIDE} 12`, preserveAspectRatio: "none", role: "img", "aria-label": `Ended tasks: ${label}.` }, ...bars),
      make("ul", { class: "legend" },
        ...parts.map(([name, count]) => make("li", {}, make("i", { class: `back-${name}` }), make("span", {}, name), make("b", { class: "number" }, whole(count)))),
        ...reasons.map(([code, count]) => make("li", { class: "reason" }, make("code", {}, code), make("b", { class: "number" }, whole(count))))));
    write(low, "");
    write(high, "");
  }

  #tokens(over, totals, first, last) {
    const { value, note, drawing: place, low, high } = this.spent;
    if (!totals.tokens) return empty(this.spent);
    let sum = 0;
    const points = over.filter(task => task.usage).map(task => [task.ended, (sum += task.usage.total_tokens)]);
    const wide = Math.max(1, last - first);
    // At this width 200 points look the same as thousands.
    const kept = points.filter((_, index) => index % Math.ceil(points.length / 200) === 0 || index === points.length - 1);
    const line = kept.map(([time, tokens]) => `H${(((time - first) / wide) * WIDE).toFixed(1)}V${(HIGH - 2 - (tokens / Math.max(1, sum)) * (HIGH - 8)).toFixed(1)}`).join("");
    write(value, totals.hasCost ? money(totals.usd) : short(totals.tokens));
    write(note, totals.hasCost ? `${short(totals.tokens)} tokens` : "tokens · no price for this model");
    place.replaceChildren(drawing(`${whole(totals.tokens)} tokens${totals.hasCost ? `, ${money(totals.usd)}` : ""} so far.`,
      draw("path", { class: "area", d: `M0 ${HIGH}${line}V${HIGH}Z` }),
      draw("path", { class: "line", d: `M0 ${HIGH - 2}${line}`, "vector-effect": "non-scaling-stroke" })));
    write(low, "start");
    write(high, totals.completed ? `${short(Math.round(totals.tokens / totals.completed))} tokens per result` : "");
  }
}

function empty({ value, note, drawing: place, low, high }) {
  write(value, "–");
  write(note, "no data yet");
  write(low, "");
  write(high, "");
  place.replaceChildren(drawing("No data yet."));
}

/** Estimate the remaining time from the recent throughput; null if it is unknown. */
export function timeLeft(run, totals, now) {
  const recent = run.tasks.filter(task => task.ended > now - RATE_WINDOW).length;
  const first = run.batches[0]?.view ? Date.parse(run.batches[0].view.created_at) : now;
  const window = Math.min(RATE_WINDOW, now - first);
  return recent > 1 && window > 2000 ? ((totals.size - totals.ended) / recent) * window : null;
}
