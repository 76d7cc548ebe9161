// Where many items come from: a text that is typed or pasted, or a file that is chosen or dropped, and what is wrong with its lines.

import { make, write } from "./dom.js";
import { bytes, many, whole } from "./format.js";
import { placed } from "./sender.js";

const MOST_TOLD = 5;

export class Source {
  #file = null;

  /** One form is in the page at a time, so that ids are its own. `root` takes what is dropped on it while `form` is shown; `changed` is told of each change, and whether it was a file. */
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
      make("button", { class: "icon", type: "button", "aria-label": `Leave ${file.name} out`, click: () => (this.#drop(), this.changed(false), this.box.focus()) }, "✕"));
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

  /** Hold this text and no file. */
  fill(text) {
    this.#drop();
    this.box.value = text;
    this.changed(false);
  }

  /** Say what was found, and which lines are none. */
  show(parts, problems) {
    write(this.found, this.text.trim() ? parts.join(" · ") : "");
    this.#say(problems.length && `${many(problems.length, "line")} cannot be sent`, "", problems.map(({ line, text }) => `Line ${whole(line)}: ${text}`));
  }

  /** Say what was refused, by the lines that it came from. */
  refuse({ error, items, done }) {
    const lines = error.errors.map(each => {
      const { item, field, detail } = placed(each, items);
      return item ? `Line ${[whole(item.line), ...field].filter(Boolean).join(", ")}: ${detail}` : detail;
    });
    const again = "all can be sent again: what was accepted is not done twice.";
    this.#say(titleOf(error), [
      lines.length ? "" : sentence(error.message),
      done && `The first ${whole(done)} were accepted${error.isStopped ? "." : "; nothing of the rest was."}`,
      // A call that got no answer may have been accepted.
      error.isStopped ? sentence(again) : done && `Once that is mended, ${again}`,
    ].filter(Boolean).join(" "), lines);
  }

  #say(title, about, lines) {
    this.problems.hidden = !title;
    if (!title) return;
    this.problems.replaceChildren(make("strong", {}, title), about && make("p", {}, about), make("ul", {}, ...lines.slice(0, MOST_TOLD).map(line => make("li", {}, line)),
      lines.length > MOST_TOLD ? make("li", {}, `and ${whole(lines.length - MOST_TOLD)} more`) : ""));
  }
}

const sentence = text => `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

/** Say whose fault a refusal is. */
export const titleOf = error => (error.isStopped ? "Stopped" : error.status === 401 || error.status === 403 ? "The key was not accepted" : "The call was refused");
