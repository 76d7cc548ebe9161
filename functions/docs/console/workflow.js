// The form for workflows: one input by fields or many inputs from a file, and the requests that start them.

import { api, ApiError } from "./api.js";
import { make, write } from "./dom.js";
import { Field } from "./fields.js";
import { bytes, many, whole } from "./format.js";
import { splitIntoRequests, size } from "./inputs.js";
import { fieldsOf, lineField, readInputs, shownInput } from "./schema.js";
import { locate, Sender } from "./sender.js";
import { Source, titleOf } from "./source.js";

const PROMPTS = ""; // the option that is not a workflow
const NAME = { kind: "text", name: "custom_id", label: "Name of the task", about: "Shown in the task list and in the download", initial: null };
const HOURS = { kind: "number", name: "deadline_seconds", label: "Deadline, in hours", about: "", least: 0.01, most: 216, initial: null };
const READ_AS = { jsonl: "JSON Lines", csv: "CSV", lines: "one input per line" };

export class Workflows {
  #all = [];
  #chosen = null;
  #fields = [];
  #found = { items: [], problems: [] };
  #aborter = new AbortController();

  /** `prompts` is the form for prompts, which this form replaces while a workflow is selected. */
  constructor({ root, prompts, sent }) {
    this.prompts = prompts;
    this.sender = new Sender({ sent });
    this.select = make("select", { id: "what", "aria-describedby": "what-about", change: () => this.#choose(this.select.value) });
    this.choice = make("div", { class: "field choice", hidden: true }, make("label", { for: "what" }, "What to run"), this.select, make("p", { class: "soft", id: "what-about" }));
    this.form = make("form", { class: "card compose", novalidate: true, "aria-label": "Workflow", submit: event => (event.preventDefault(), this.start()) });
    this.source = new Source({
      id: "inputs", label: "Inputs", root, form: this.form,
      changed: isFile => {
        if (isFile) this.#setMode("many");
        this.#update();
        if (isFile) this.button.focus();
      },
    });
    const way = (value, text) => make("label", {}, make("input", { type: "radio", name: "way", value, checked: value === "one", change: () => this.#setMode(value) }), text);
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

  /** Load the workflows that the key may start; without any, the selection is hidden. */
  async load() {
    this.#aborter.abort();
    const { signal } = (this.#aborter = new AbortController());
    let all = [];
    try {
      if (api.key) all = (await api.call("workflows", { signal, quiet: true })).body.workflows;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
    }
    this.#all = all;
    this.choice.hidden = !all.length;
    this.select.replaceChildren(make("option", { value: PROMPTS }, "Prompts"), make("optgroup", { label: "Workflows" }, ...all.map(({ name }) => make("option", { value: name }, name))));
    this.select.value = this.#chosen && all.some(({ name }) => name === this.#chosen.name) ? this.#chosen.name : PROMPTS;
    if (this.select.value !== (this.#chosen?.name ?? PROMPTS)) this.#choose(this.select.value);
  }

  /** Focus the first field. */
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
    this.#setMode("one");
  }

  /** Reset the form to empty fields. */
  #clear() {
    const { input_schema: schema } = this.#chosen;
    const specs = fieldsOf(schema);
    const hasName = specs.some(({ name }) => name === NAME.name);
    this.#fields = specs.map(spec => new Field(spec));
    this.nameField = hasName ? null : new Field(NAME);
    this.hours = new Field(HOURS);
    this.one.replaceChildren(...this.#fields.map(({ element }) => element), specs.length ? "" : make("p", { class: "soft" }, "This workflow needs no input."));
    this.options.replaceChildren(...[this.nameField, this.hours].filter(Boolean).map(({ element }) => element));
    write(this.columns, formatsOf(specs, hasName ? [] : [NAME.name]));
    this.source.box.placeholder = JSON.stringify(Object.fromEntries(specs.filter(({ required }) => required).map(({ name }) => [name, "…"])));
    this.source.fill("");
  }

  #setMode(way) {
    this.form.elements.way.value = way;
    this.one.hidden = way !== "one";
    this.many.hidden = way !== "many";
    if (this.nameField) this.nameField.element.hidden = way !== "one";
    this.#update();
  }

  /** Parse the input and show a summary. */
  #update() {
    this.problems.hidden = true;
    this.#found = readInputs(this.source.text, this.#chosen.input_schema, this.source.name);
    const { items, problems, kind, columns } = this.#found;
    const cut = splitIntoRequests(items);
    const parts = [many(items.length, "input"), ...(cut.length > 1 ? [`${cut.length} requests of at most 1,000`] : []),
      bytes(items.reduce((sum, { item }) => sum + size(item), 0)), columns.length ? `${READ_AS[kind]} with ${columns.join(", ")}` : READ_AS[kind]];
    this.source.show(parts, problems);
    this.button.disabled = Boolean(this.sender.sending) || (this.isMany && !items.length);
    const all = many(items.length, "input");
    write(this.button, !this.isMany || !items.length ? "Start" : problems.length ? `Start the other ${whole(items.length)}` : `Start ${all}`);
  }

  /** Return the values of fields; undefined if one is invalid, which the field then shows. */
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

  /** Scroll the first invalid field into view. */
  #show([first]) {
    if (!first) return;
    if (this.options.contains(first.element)) this.options.parentElement.open = true;
    first.focus();
  }

  async start() {
    if (this.sender.sending || (this.isMany && !this.#found.items.length)) return;
    const { isMany } = this;
    const given = isMany ? {} : this.#values([...this.#fields, this.nameField].filter(Boolean));
    const options = given && this.#values([this.hours]);
    if (!options) return;
    const { name } = this.#chosen;
    const hours = options.deadline_seconds;
    const body = inputs => ({ inputs, ...(hours === undefined ? {} : { deadline_seconds: Math.round(hours * 3600) }) });
    const onProgress = ({ done, all }) => write(this.button, isMany ? `Starting ${whole(done)} of ${whole(all)} …` : "Starting …");
    this.button.disabled = true;
    const items = isMany ? this.#found.items : [{ line: 1, item: given }];
    const before = this.#content();
    const refused = await this.sender.send(`workflows/${encodeURIComponent(name)}`, items, { body, shown: shownInput, onProgress });
    if (!refused && this.#content() === before) this.#clear();
    if (this.#chosen) this.#update();
    if (refused) this.#showErrors(refused, isMany);
  }

  /** Return the content of the form as one text: after sending, the form is cleared unless its content has changed. */
  #content() {
    return JSON.stringify([this.#chosen?.name, this.source.text, ...Array.from(this.form.elements, ({ value }) => value)]);
  }

  /** Show each error at the field or line that it names, and the others below the fields. */
  #showErrors(refused, isMany) {
    const { error, items } = refused;
    const wrong = [];
    const rest = [];
    for (const each of error.errors) {
      const { item, field: [first, ...steps], detail } = locate(each, items);
      const found = item ? !isMany && [...this.#fields, this.nameField].find(field => field?.spec.name === first) : each.pointer === `/${HOURS.name}` && this.hours;
      if (found) found.complain(found === this.hours ? `In seconds: ${detail}` : detail, item ? steps : []);
      (found ? wrong : rest).push(found || detail);
    }
    this.#show(wrong);
    if (wrong.length && !rest.length) return;
    if (isMany) return this.source.showErrors(refused);
    this.problems.hidden = false;
    this.problems.replaceChildren(make("strong", {}, titleOf(error)), make("ul", {}, ...(rest.length ? rest : [error.message]).map(text => make("li", {}, text))));
  }
}

/** Describe the accepted formats of many inputs. */
function formatsOf(specs, others) {
  const only = lineField(specs);
  const needed = specs.filter(({ required }) => required).map(({ name }) => name).join(", ");
  const free = [...specs.filter(({ required }) => !required).map(({ name }) => name), ...others].join(", ");
  const fields = needed && free ? `${needed}, and optionally ${free}` : needed || `any of ${free}`;
  return `${only ? `One ${only.name} per line, or ` : ""}JSON Lines, an array or CSV with ${fields}.`;
}
