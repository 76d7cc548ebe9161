// The form: prompts typed, pasted or dropped, what they have in common, and the calls that send them.

import { api, freshKey, Refusal } from "./api.js";
import { make, write } from "./dom.js";
import { bytes, many, whole } from "./format.js";
import { calls, formatOf, read, shown, size } from "./inputs.js";

const EXAMPLE = ["A joke about the economy", "A joke about plants", "A joke about a dog and a cat", "Why is the sky blue? Answer in two sentences."].join("\n");
const MOST_TOLD = 5;
const FORMATS = [["", "find out"], ["lines", "one prompt a line"], ["jsonl", "JSON Lines"], ["csv", "CSV"]];

const field = (id, label, input, note) => make("div", { class: "field" }, make("label", { for: id }, label), input, note && make("small", { class: "soft", id: `${id}-note` }, note));
const input = (id, attributes) => make("input", { id, autocomplete: "off", spellcheck: "false", ...attributes });

export class Compose {
  #file = null;
  #found = { items: [], problems: [], columns: [] };
  #sending = null;

  constructor({ root, sent, needKey }) {
    this.sent = sent;
    this.needKey = needKey;
    const parts = (this.parts = {
      prompts: make("textarea", { id: "prompts", rows: "9", spellcheck: "false", placeholder: "One prompt a line.\nOr paste JSON Lines, or drop a file.", "aria-describedby": "found" }),
      format: make("select", { id: "format" }, ...FORMATS.map(([value, text]) => make("option", { value }, text))),
      file: make("input", { id: "file", type: "file", accept: ".txt,.md,.jsonl,.ndjson,.json,.csv,.tsv,text/*", class: "unseen" }),
      chip: make("div", { class: "file", hidden: true }),
      found: make("p", { class: "found soft", id: "found" }),
      problems: make("div", { class: "error", role: "alert", hidden: true }),
      template: input("template", { placeholder: "A joke about {topic}" }),
      model: input("model", { placeholder: "the service's first" }),
      system: make("textarea", { id: "system", rows: "2", placeholder: "You are brief." }),
      most: input("most", { type: "number", min: "1", max: "1000000", inputmode: "numeric", placeholder: "the model's own" }),
      warmth: input("warmth", { type: "number", min: "0", max: "2", step: "0.1", inputmode: "decimal", placeholder: "the model's own" }),
      hours: input("hours", { type: "number", min: "0.01", max: "216", step: "any", inputmode: "decimal", placeholder: "6" }),
      send: make("button", { class: "main", type: "submit", id: "send" }, "Send"),
      example: make("button", { class: "plain", type: "button", id: "example" }, "Fill in an example"),
    });
    this.recent = make("div", { class: "recent", hidden: true });
    this.opener = make("form", { class: "opener" }, make("label", { for: "open-id" }, "Or watch what was sent elsewhere"),
      make("div", { class: "joined" }, input("open-id", { placeholder: "batch id", pattern: "[A-Za-z0-9, \\-]{8,}", required: true }), make("button", { class: "plain", type: "submit" }, "Open")));
    this.form = make("form", { class: "card compose", id: "compose-form" },
      make("div", { class: "field" },
        make("div", { class: "label-row" }, make("label", { for: "prompts" }, "Prompts"), parts.example,
          parts.file, make("label", { class: "plain button", for: "file" }, "Choose a file")),
        parts.prompts, parts.chip, parts.found, parts.problems),
      make("details", { id: "options" }, make("summary", {}, "Options"),
        make("div", { class: "grid" },
          field("model", "Model", parts.model), field("most", "Max tokens per answer", parts.most), field("warmth", "Temperature", parts.warmth),
          field("hours", "Deadline, in hours", parts.hours), field("format", "Format", parts.format),
          field("template", "Template, for CSV", parts.template, "{column} is filled in from each row")),
        field("system", "System prompt", parts.system)),
      make("div", { class: "buttons" }, make("span", { class: "soft hint" }, "Ctrl or ⌘ + Enter"), parts.send));
    root.append(
      make("div", { class: "hello" }, make("h1", { id: "compose-title" }, "New run"),
        make("p", { class: "soft" }, "Each prompt becomes a task, and each answer can be read the moment it exists.")),
      this.form, make("div", { class: "beside" }, this.opener, this.recent));
    this.#listen(root);
    this.#look();
  }

  #listen(root) {
    const { prompts, format, template, file, example } = this.parts;
    for (const each of [prompts, template]) each.addEventListener("input", () => this.#look());
    format.addEventListener("change", () => this.#look());
    file.addEventListener("change", () => file.files[0] && this.#takeFile(file.files[0]));
    example.addEventListener("click", () => {
      this.#drop();
      prompts.value = EXAMPLE;
      this.#look();
      this.parts.send.focus();
    });
    root.addEventListener("dragover", event => {
      event.preventDefault();
      this.form.classList.add("over");
    });
    root.addEventListener("dragleave", event => root.contains(event.relatedTarget) || this.form.classList.remove("over"));
    root.addEventListener("drop", event => {
      event.preventDefault();
      this.form.classList.remove("over");
      const [dropped] = event.dataTransfer.files;
      if (dropped) this.#takeFile(dropped);
    });
    this.form.addEventListener("submit", event => {
      event.preventDefault();
      this.send();
    });
    this.form.addEventListener("keydown", event => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    this.opener.addEventListener("submit", event => {
      event.preventDefault();
      const ids = this.opener.querySelector("input").value.split(/[\s,]+/).filter(Boolean);
      location.hash = `run=${ids.join(",")}`;
    });
    addEventListener("beforeunload", event => this.#sending && event.preventDefault());
  }

  async #takeFile(file) {
    this.#file = { name: file.name, bytes: file.size, text: await file.text() };
    this.parts.chip.replaceChildren(make("span", {}, file.name), make("span", { class: "soft" }, bytes(file.size)),
      make("button", { class: "icon", type: "button", "aria-label": `Leave ${file.name} out`, click: () => (this.#drop(), this.#look()) }, "✕"));
    this.parts.chip.hidden = false;
    this.parts.prompts.hidden = true;
    this.#look();
    this.parts.send.focus();
  }

  #drop() {
    this.#file = null;
    this.parts.file.value = "";
    this.parts.chip.hidden = true;
    this.parts.prompts.hidden = false;
  }

  /** Read what is there and say what it is. */
  #look() {
    const { prompts, format, template, found, problems, send } = this.parts;
    const text = this.#file ? this.#file.text : prompts.value;
    const kind = format.value || formatOf(text, this.#file?.name);
    this.#found = read(text, kind, template.value);
    const { items, problems: wrong, columns } = this.#found;
    const cut = calls(items);
    const parts = [many(items.length, "prompt")];
    if (cut.length > 1) parts.push(`${cut.length} calls of at most 1,000`);
    if (items.length) parts.push(bytes(items.reduce((sum, { item }) => sum + size(item), 0)));
    if (kind === "jsonl") parts.push("JSON Lines");
    if (kind === "csv") parts.push(`CSV with ${columns.join(", ")}`);
    write(found, text.trim() ? parts.join(" · ") : "");
    problems.hidden = !wrong.length;
    if (wrong.length) problems.replaceChildren(
      make("strong", {}, `${many(wrong.length, "line")} cannot be sent`),
      make("ul", {}, ...wrong.slice(0, MOST_TOLD).map(({ line, text: why }) => make("li", {}, `Line ${whole(line)}: ${why}`)),
        wrong.length > MOST_TOLD ? make("li", {}, `and ${whole(wrong.length - MOST_TOLD)} more`) : ""));
    if (wrong.length && kind === "csv" && !items.length) this.form.querySelector("details").open = true;
    send.disabled = !items.length || Boolean(this.#sending);
    write(send, items.length ? (wrong.length ? `Send the other ${whole(items.length)}` : `Send ${many(items.length, "prompt")}`) : "Send");
  }

  #common() {
    const { model, most, warmth, system, hours } = this.parts;
    const params = { ...(most.value ? { max_completion_tokens: Number(most.value) } : {}), ...(warmth.value ? { temperature: Number(warmth.value) } : {}) };
    return {
      ...(model.value.trim() ? { model: model.value.trim() } : {}),
      ...(system.value.trim() ? { system: system.value } : {}),
      ...(Object.keys(params).length ? { params } : {}),
      ...(hours.value ? { deadline_seconds: Math.round(Number(hours.value) * 3600) } : {}),
    };
  }

  /** Send it all, a call after another; each has a key of its own, so that a repeat after an interruption asks nothing twice. */
  async send() {
    if (!this.#found.items.length || this.#sending) return;
    if (!api.key) return this.needKey(() => this.send());
    const template = this.#found.columns.length ? this.parts.template.value : "";
    const common = this.#common();
    const cut = calls(this.#found.items);
    const all = this.#found.items.length;
    this.#sending = { done: 0, all };
    this.parts.send.disabled = true;
    let run = null;
    try {
      for (const items of cut) {
        write(this.parts.send, `Sending ${whole(this.#sending.done)} of ${whole(all)} …`);
        const prompts = items.map(({ item }) => item);
        const body = JSON.stringify({ ...(template ? { template, inputs: prompts } : { prompts }), ...common });
        const { body: answer } = await api.call("tasks", { method: "POST", body, headers: { "Idempotency-Key": freshKey() } });
        this.#sending.done += items.length;
        run = this.sent(run, answer, prompts.map(item => shown(item, template)), this.#sending);
      }
      this.parts.prompts.value = "";
      this.#drop();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const rest = new Set(this.#found.items.slice(this.#sending.done));
      this.#sending = null;
      this.#refused(error, cut.find(items => rest.has(items[0])), all - rest.size);
      return;
    } finally {
      this.#sending = null;
      if (run) this.sent(run, null, [], null);
    }
    this.#look();
  }

  /** Say what was refused, by the lines of the file. */
  #refused(error, items, done) {
    this.#look();
    const { problems } = this.parts;
    const told = error.errors.slice(0, MOST_TOLD).map(({ pointer, detail }) => {
      const place = /^\/(?:prompts|inputs)\/(\d+)/.exec(pointer || "")?.[1];
      const line = place !== undefined && items?.[Number(place)]?.line;
      return make("li", {}, line ? `Line ${whole(line)}: ${detail}` : detail);
    });
    problems.replaceChildren(make("strong", {}, error.status === 401 || error.status === 403 ? "The key was not accepted" : "The call was refused"),
      make("p", {}, done ? `The first ${whole(done)} were accepted; nothing of the rest was.` : error.message), make("ul", {}, ...told));
    problems.hidden = false;
  }

  /** List what this tab has sent or opened. */
  showRecent(runs) {
    this.recent.hidden = !runs.length;
    this.recent.replaceChildren(make("h2", {}, "In this tab"), make("ul", {}, ...runs.map(({ ids, size: count, at }) =>
      make("li", {}, make("a", { href: `#run=${ids.join(",")}` }, count ? many(count, "task") : `${ids[0].slice(0, 12)}…`), make("span", { class: "soft" }, at)))));
  }
}
