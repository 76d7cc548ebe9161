// The start page: the form for prompts with its options, and the list of recent runs.

import { api } from "./api.js";
import { make, write } from "./dom.js";
import { bytes, many, whole } from "./format.js";
import { splitIntoRequests, formatOf, parsePrompts, shown, size } from "./inputs.js";
import { Sender } from "./sender.js";
import { Source } from "./source.js";

const EXAMPLE = ["A joke about the economy", "A joke about plants", "A joke about a dog and a cat", "Why is the sky blue? Answer in two sentences."].join("\n");
const FORMATS = [["", "detect"], ["lines", "one prompt per line"], ["jsonl", "JSON Lines"], ["csv", "CSV"]];

const field = (id, label, input, note) => make("div", { class: "field" }, make("label", { for: id }, label), input, note && make("small", { class: "soft", id: `${id}-note` }, note));
const input = (id, attributes) => make("input", { id, autocomplete: "off", spellcheck: "false", ...attributes });

export class Compose {
  #found = { items: [], problems: [], columns: [] };

  constructor({ root, sent, needKey }) {
    this.sender = new Sender({ sent });
    this.needKey = needKey;
    const parts = (this.parts = {
      format: make("select", { id: "format" }, ...FORMATS.map(([value, text]) => make("option", { value }, text))),
      template: input("template", { placeholder: "A joke about {topic}" }),
      model: input("model", { placeholder: "the service's default" }),
      system: make("textarea", { id: "system", rows: "2", placeholder: "You are brief." }),
      maxTokens: input("maxTokens", { type: "number", min: "1", max: "1000000", inputmode: "numeric", placeholder: "the model's default" }),
      temperature: input("temperature", { type: "number", min: "0", max: "2", step: "0.1", inputmode: "decimal", placeholder: "the model's default" }),
      hours: input("hours", { type: "number", min: "0.01", max: "216", step: "any", inputmode: "decimal", placeholder: "6" }),
      send: make("button", { class: "main", type: "submit", id: "send" }, "Send"),
      example: make("button", { class: "plain", type: "button", id: "example" }, "Fill in an example"),
    });
    this.recent = make("div", { class: "recent", hidden: true });
    this.opener = make("form", { class: "opener" }, make("label", { for: "open-id" }, "Or watch an existing batch"),
      make("div", { class: "joined" }, input("open-id", { placeholder: "batch ID", pattern: "[A-Za-z0-9, \\-]{8,}", required: true }), make("button", { class: "plain", type: "submit" }, "Open")));
    this.form = make("form", { class: "card compose", id: "compose-form" });
    this.source = new Source({
      id: "prompts", label: "Prompts", placeholder: "One prompt per line.\nOr paste JSON Lines, or drop a file.", root, form: this.form, beside: parts.example,
      changed: isFile => {
        this.#update();
        if (isFile) parts.send.focus();
      },
    });
    this.form.append(this.source.element,
      make("details", { id: "options" }, make("summary", {}, "Options"),
        make("div", { class: "grid" },
          field("model", "Model", parts.model), field("maxTokens", "Max tokens per result", parts.maxTokens), field("temperature", "Temperature", parts.temperature),
          field("hours", "Deadline, in hours", parts.hours), field("format", "Format", parts.format),
          field("template", "Template, for CSV", parts.template, "{column} is replaced by the cell of each row")),
        field("system", "System prompt", parts.system)),
      make("div", { class: "buttons" }, make("span", { class: "soft hint" }, "Ctrl or ⌘ + Enter"), parts.send));
    root.append(
      make("div", { class: "hello" }, make("h1", { id: "compose-title" }, "New run"),
        make("p", { class: "soft" }, "Each prompt becomes a task. Results appear as tasks complete; partial text appears while they run.")),
      this.form, make("div", { class: "beside" }, this.opener, this.recent));
    this.#listen();
    this.#update();
  }

  #listen() {
    const { format, template, example } = this.parts;
    template.addEventListener("input", () => this.#update());
    format.addEventListener("change", () => this.#update());
    example.addEventListener("click", () => {
      this.source.fill(EXAMPLE);
      this.parts.send.focus();
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
  }

  /** Parse the input and show a summary. */
  #update() {
    const { format, template, send } = this.parts;
    const { text, name } = this.source;
    const kind = format.value || formatOf(text, name);
    this.#found = parsePrompts(text, kind, template.value);
    const { items, problems: wrong, columns } = this.#found;
    const cut = splitIntoRequests(items);
    const parts = [many(items.length, "prompt")];
    if (cut.length > 1) parts.push(`${cut.length} requests of at most 1,000`);
    if (items.length) parts.push(bytes(items.reduce((sum, { item }) => sum + size(item), 0)));
    if (kind === "jsonl") parts.push("JSON Lines");
    if (kind === "csv") parts.push(`CSV with ${columns.join(", ")}`);
    this.source.show(parts, wrong);
    if (wrong.length && kind === "csv" && !items.length) this.form.querySelector("details").open = true;
    send.disabled = !items.length || Boolean(this.sender.sending);
    write(send, items.length ? (wrong.length ? `Send the other ${whole(items.length)}` : `Send ${many(items.length, "prompt")}`) : "Send");
  }

  #options() {
    const { model, maxTokens, temperature, system, hours } = this.parts;
    const params = { ...(maxTokens.value ? { max_completion_tokens: Number(maxTokens.value) } : {}), ...(temperature.value ? { temperature: Number(temperature.value) } : {}) };
    return {
      ...(model.value.trim() ? { model: model.value.trim() } : {}),
      ...(system.value.trim() ? { system: system.value } : {}),
      ...(Object.keys(params).length ? { params } : {}),
      ...(hours.value ? { deadline_seconds: Math.round(Number(hours.value) * 3600) } : {}),
    };
  }

  /** Send all prompts; a rejected input stays in the form for correction. */
  async send() {
    if (!this.#found.items.length || this.sender.sending) return;
    if (!api.key) return this.needKey(() => this.send());
    const template = this.#found.columns.length ? this.parts.template.value : "";
    const common = this.#options();
    const { text } = this.source;
    this.parts.send.disabled = true;
    const refused = await this.sender.send("tasks", this.#found.items, {
      body: prompts => ({ ...(template ? { template, inputs: prompts } : { prompts }), ...common }),
      shown: item => shown(item, template),
      onProgress: ({ done, all }) => write(this.parts.send, `Sending ${whole(done)} of ${whole(all)} …`),
    });
    // Input that was typed or chosen in the meantime has not been sent.
    if (!refused && this.source.text === text) this.source.fill("");
    this.#update();
    if (refused) this.source.showErrors(refused);
  }

  /** List the runs that this tab has sent or opened. */
  showRecent(runs) {
    this.recent.hidden = !runs.length;
    this.recent.replaceChildren(make("h2", {}, "In this tab"), make("ul", {}, ...runs.map(({ ids, size: count, at }) =>
      make("li", {}, make("a", { href: `#run=${ids.join(",")}` }, count ? many(count, "task") : `${ids[0].slice(0, 12)}…`), make("span", { class: "soft" }, at)))));
  }
}
