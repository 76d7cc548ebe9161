// The other form: a workflow that the key may start, one input filled in or many of a file, and the calls that start it.

import { api, Refusal } from "./api.js";
import { make, write } from "./dom.js";
import { Field } from "./fields.js";
import { bytes, many, whole } from "./format.js";
import { calls, size } from "./inputs.js";
import { fieldsOf, lineField, readInputs, shownInput } from "./schema.js";
import { placed, Sender } from "./sender.js";
import { Source, titleOf } from "./source.js";

const PROMPTS = ""; // the choice that is no workflow
const NAME = { kind: "text", name: "custom_id", label: "Name of the task", about: "Shown in the list, and in what is downloaded", initial: null };
const HOURS = { kind: "number", name: "deadline_seconds", label: "Deadline, in hours", about: "", least: 0.01, most: 216, initial: null };
const READ_AS = { jsonl: "JSON Lines", csv: "CSV", lines: "one input a line" };

export class Workflows {
  #all = [];
  #chosen = null;
  #fields = [];
  #found = { items: [], problems: [] };
  #ends = new AbortController();

  /** `prompts` is the form for prompts, in whose place this one stands while a workflow is chosen. */
  constructor({ root, prompts, sent }) {
    this.prompts = prompts;
    this.sender = new Sender({ sent });
    this.select = make("select", { id: "what", "aria-describedby": "what-about", change: () => this.#choose(this.select.value) });
    this.choice = make("div", { class: "field choice", hidden: true }, make("label", { for: "what" }, "What to run"), this.select, make("p", { class: "soft", id: "what-about" }));
    this.form = make("form", { class: "card compose", novalidate: true, "aria-label": "Workflow", submit: event => (event.preventDefault(), this.start()) });
    this.source = new Source({
      id: "inputs", label: "Inputs", root, form: this.form,
      changed: isFile => {
        if (isFile) this.#turn("many");
        this.#look();
        if (isFile) this.button.focus();
      },
    });
    const way = (value, text) => make("label", {}, make("input", { type: "radio", name: "way", value, checked: value === "one", change: () => this.#turn(value) }), text);
    this.ways = make("fieldset", { class: "ways" }, make("legend", { class: "unseen" }, "Inputs"), way("one", "One input"), way("many", "Many inputs"));
    this.one = make("div", { class: "fields" });
    this.columns = make("p", { class: "soft" });
    this.many = make("div", { class: "fields" }, this.columns, this.source.element);
    this.problems = make("div", { class: "error", role: "alert", hidden: true });
    this.options = make("div", { class: "grid" });
    this.button = make("button", { class: "main", type: "submit" }, "Start");
    this.form.append(this.ways, this.one, this.many, this.problems, make("details", {}, make("summary", {}, "Options"), this.options),
      make("div", { class: "buttons" }, make("span", { class: "soft hint" }, "Ctrl or ⌘ + Enter"), this.button));
    this.form.addEventListener("keydown", event => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    prompts.before(this.choice);
  }

  get isMany() {
    return this.form.elements.way.value === "many";
  }

  /** Ask which workflows the key may start; where there are none, or the service has none, there is no choice. */
  async load() {
    this.#ends.abort();
    const { signal } = (this.#ends = new AbortController());
    let all = [];
    try {
      if (api.key) all = (await api.call("workflows", { signal, quiet: true })).body.workflows;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Refusal)) throw error;
    }
    this.#all = all;
    this.choice.hidden = !all.length;
    this.select.replaceChildren(make("option", { value: PROMPTS }, "Prompts"), make("optgroup", { label: "Workflows" }, ...all.map(({ name }) => make("option", { value: name }, name))));
    this.select.value = this.#chosen && all.some(({ name }) => name === this.#chosen.name) ? this.#chosen.name : PROMPTS;
    if (this.select.value !== (this.#chosen?.name ?? PROMPTS)) this.#choose(this.select.value);
  }

  /** Bring the cursor to where one begins. */
  focus() {
    const form = this.#chosen ? this.form : this.prompts;
    [...form.querySelectorAll("textarea, select, input:not([type=file], [type=radio])")].find(each => each.checkVisibility())?.focus();
  }

  #choose(name) {
    this.#chosen = this.#all.find(each => each.name === name) || null;
    const [shown, hidden] = this.#chosen ? [this.form, this.prompts] : [this.prompts, this.form];
    if (hidden.isConnected) hidden.replaceWith(shown);
    write(this.choice.lastChild, this.#chosen?.description || "");
    if (!this.#chosen) return;
    this.form.setAttribute("aria-label", name);
    this.#clear();
    this.#turn("one");
  }

  /** Begin anew, with empty fields. */
  #clear() {
    const { input_schema: schema } = this.#chosen;
    const specs = fieldsOf(schema);
    const hasName = specs.some(({ name }) => name === NAME.name);
    this.#fields = specs.map(spec => new Field(spec));
    this.own = hasName ? null : new Field(NAME);
    this.hours = new Field(HOURS);
    this.one.replaceChildren(...this.#fields.map(({ element }) => element), specs.length ? "" : make("p", { class: "soft" }, "It takes no input."));
    this.options.replaceChildren(...[this.own, this.hours].filter(Boolean).map(({ element }) => element));
    write(this.columns, formatsOf(specs, hasName ? [] : [NAME.name]));
    this.source.box.placeholder = JSON.stringify(Object.fromEntries(specs.filter(({ required }) => required).map(({ name }) => [name, "…"])));
    this.source.fill("");
  }

  #turn(way) {
    this.form.elements.way.value = way;
    this.one.hidden = way !== "one";
    this.many.hidden = way !== "many";
    if (this.own) this.own.element.hidden = way !== "one";
    this.#look();
  }

  /** Read what is there and say what it is. */
  #look() {
    this.problems.hidden = true;
    this.#found = readInputs(this.source.text, this.#chosen.input_schema, this.source.name);
    const { items, problems, kind, columns } = this.#found;
    const cut = calls(items);
    const parts = [many(items.length, "input"), ...(cut.length > 1 ? [`${cut.length} calls of at most 1,000`] : []),
      bytes(items.reduce((sum, { item }) => sum + size(item), 0)), columns.length ? `${READ_AS[kind]} with ${columns.join(", ")}` : READ_AS[kind]];
    this.source.show(parts, problems);
    this.button.disabled = Boolean(this.sender.sending) || (this.isMany && !items.length);
    const all = many(items.length, "input");
    write(this.button, !this.isMany || !items.length ? "Start" : problems.length ? `Start the other ${whole(items.length)}` : `Start ${all}`);
  }

  /** Read the values of fields; undefined where one is not as it must be, which the field then says. */
  #values(fields) {
    const wrong = [];
    const values = {};
    for (const field of fields) {
      try {
        field.complain("");
        const value = field.value();
        if (value !== undefined) values[field.spec.name] = value;
      } catch (error) {
        field.complain(error.message);
        wrong.push(field);
      }
    }
    this.#show(wrong);
    return wrong.length ? undefined : values;
  }

  /** Bring the first of the fields that are wrong onto the screen. */
  #show([first]) {
    if (!first) return;
    if (this.options.contains(first.element)) this.options.parentElement.open = true;
    first.focus();
  }

  async start() {
    if (this.sender.sending || (this.isMany && !this.#found.items.length)) return;
    const { isMany } = this;
    const given = isMany ? {} : this.#values([...this.#fields, this.own].filter(Boolean));
    const terms = given && this.#values([this.hours]);
    if (!terms) return;
    const { name } = this.#chosen;
    const hours = terms.deadline_seconds;
    const body = inputs => ({ inputs, ...(hours === undefined ? {} : { deadline_seconds: Math.round(hours * 3600) }) });
    const told = ({ done, all }) => write(this.button, isMany ? `Starting ${whole(done)} of ${whole(all)} …` : "Starting …");
    this.button.disabled = true;
    const items = isMany ? this.#found.items : [{ line: 1, item: given }];
    const before = this.#written();
    const refused = await this.sender.send(`workflows/${encodeURIComponent(name)}`, items, { body, shown: shownInput, told });
    if (!refused && this.#written() === before) this.#clear();
    if (this.#chosen) this.#look();
    if (refused) this.#refuse(refused, isMany);
  }

  /** Return all that the form holds, as one text: what is sent leaves it, unless something else was written meanwhile. */
  #written() {
    return JSON.stringify([this.#chosen?.name, this.source.text, ...Array.from(this.form.elements, ({ value }) => value)]);
  }

  /** Say what was refused at the field or the line that it names, and what names none below them. */
  #refuse(refused, isMany) {
    const { error, items } = refused;
    const wrong = [];
    const rest = [];
    for (const each of error.errors) {
      const { item, field: [first, ...steps], detail } = placed(each, items);
      const found = item ? !isMany && [...this.#fields, this.own].find(field => field?.spec.name === first) : each.pointer === `/${HOURS.name}` && this.hours;
      if (found) found.complain(found === this.hours ? `In seconds: ${detail}` : detail, item ? steps : []);
      (found ? wrong : rest).push(found || detail);
    }
    this.#show(wrong);
    if (wrong.length && !rest.length) return;
    if (isMany) return this.source.refuse(refused);
    this.problems.hidden = false;
    this.problems.replaceChildren(make("strong", {}, titleOf(error)), make("ul", {}, ...(rest.length ? rest : [error.message]).map(text => make("li", {}, text))));
  }
}

/** Say how many inputs can be written. */
function formatsOf(specs, others) {
  const only = lineField(specs);
  const needed = specs.filter(({ required }) => required).map(({ name }) => name).join(", ");
  const free = [...specs.filter(({ required }) => !required).map(({ name }) => name), ...others].join(", ");
  const fields = needed && free ? `${needed}, and if wanted ${free}` : needed || `any of ${free}`;
  return `${only ? `One ${only.name} a line, or ` : ""}JSON Lines, an array or CSV with ${fields}.`;
}
