// The input of many items: typed or pasted text, or a chosen or dropped file; and the errors of its lines.

import { make, write } from "./dom.js";
import { bytes, many, whole } from "./format.js";
import { locate } from "./sender.js";

const MAX_SHOWN = 5;

export class Source {
  #file = null;

  /** Only one form is in the page at a time, so the IDs are unique. `root` accepts dropped files while `form` is shown; `changed` is called after each change with whether it was a file. */
  constructor({ id, label, placeholder, root, form, changed, beside = null }) {
    this.changed = changed;
    this.box = make("textarea", { id, class: "pasted", rows: "9", spellcheck: "false", placeholder, "aria-describedby": "found", input: () => changed(false) });
    this.chooser = make("input", {
      id: "file", type: "file", accept: ".txt,.md,.jsonl,.ndjson,.json,.csv,.tsv,text/*", class: "unseen", change: () => this.chooser.files[0] && this.#take(this.chooser.files[0]),
    });
    this.chip = make("div", { class: "file", hidden: true });
    this.found = make("p", { class: "found soft", id: "found" });
    this.problems = make("div", { class: "error", role: "alert", hidden: true });
    this.element = make("div", { class: "field" },
      make("div", { class: "label-row" }, make("label", { for: id }, label), beside, this.chooser, make("label", { class: "plain button", for: "file" }, "Choose a file")),
      this.box, this.chip, this.found, this.problems);
    root.addEventListener("dragover", event => {
      event.preventDefault();
      form.classList.add("over");
    });
    root.addEventListener("dragleave", event => root.contains(event.relatedTarget) || form.classList.remove("over"));
    root.addEventListener("drop", event => {
      event.preventDefault();
      form.classList.remove("over");
      const [dropped] = event.dataTransfer.files;
      if (dropped && form.isConnected) this.#take(dropped);
    });
  }

  get text() {
    return this.#file ? this.#file.text : this.box.value;
  }

  get name() {
    return this.#file?.name;
  }

  async #take(file) {
    this.#file = { name: file.name, text: await file.text() };
    this.chip.replaceChildren(make("span", {}, file.name), make("span", { class: "soft" }, bytes(file.size)),
      make("button", { class: "icon", type: "button", "aria-label": `Remove ${file.name}`, click: () => (this.#drop(), this.changed(false), this.box.focus()) }, "✕"));
    this.chip.hidden = false;
    this.box.hidden = true;
    this.changed(true);
  }

  #drop() {
    this.#file = null;
    this.chooser.value = "";
    this.chip.hidden = true;
    this.box.hidden = false;
  }

  /** Replace the input with this text. */
  fill(text) {
    this.#drop();
    this.box.value = text;
    this.changed(false);
  }

  /** Show a summary of the input and its invalid lines. */
  show(parts, problems) {
    write(this.found, this.text.trim() ? parts.join(" · ") : "");
    this.#showProblems(problems.length && `${many(problems.length, "invalid line")}`, "", problems.map(({ line, text }) => `Line ${whole(line)}: ${text}`));
  }

  /** Show the errors of a rejected request by line. */
  showErrors({ error, items, done }) {
    const lines = error.errors.map(each => {
      const { item, field, detail } = locate(each, items);
      return item ? `Line ${[whole(item.line), ...field].filter(Boolean).join(", ")}: ${detail}` : detail;
    });
    const again = "send everything again: accepted items are not created twice.";
    this.#showProblems(titleOf(error), [
      lines.length ? "" : sentence(error.message),
      done && `The first ${whole(done)} were accepted${error.isStopped ? "." : "; the rest were not."}`,
      // A request without a response may have been accepted.
      error.isStopped ? `To continue, ${again}` : done && `Correct the input and ${again}`,
    ].filter(Boolean).join(" "), lines);
  }

  #showProblems(title, about, lines) {
    this.problems.hidden = !title;
    if (!title) return;
    this.problems.replaceChildren(make("strong", {}, title), about && make("p", {}, about), make("ul", {}, ...lines.slice(0, MAX_SHOWN).map(line => make("li", {}, line)),
      lines.length > MAX_SHOWN ? make("li", {}, `and ${whole(lines.length - MAX_SHOWN)} more`) : ""));
  }
}

const sentence = text => `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

/** Return the title of an error notice. */
export const titleOf = error => (error.isStopped ? "Stopped" : error.status === 401 || error.status === 403 ? "The key was rejected" : "The request was rejected");
