// The form fields of one input, with labels, hints and errors.

import { make, write } from "./dom.js";
import { displayed, valueOf } from "./schema.js";

/** Return the hint of a field: its description and its rules. */
function noteOf(spec) {
  const { kind, about, least, most, initial, each } = spec;
  const rules = [
    kind === "json" && "JSON",
    kind === "list" && !spec.long && (each.names ? `one per line, of ${each.names.join(", ")}` : "one per line"),
    least > (kind === "list" ? 1 : -Infinity) && `at least ${least}`,
    most !== undefined && `at most ${most}`,
    kind !== "choice" && initial !== null && `default: ${displayed(initial) || "empty"}`,
  ].filter(Boolean).join(", ");
  return [about.replace(/\.$/, ""), rules && rules[0].toUpperCase() + rules.slice(1)].filter(Boolean).join(". ");
}

let made = 0; // numbers the fields, because a name need not be a valid ID

export class Field {
  constructor(spec) {
    this.spec = spec;
    const id = `field-${(made += 1)}`;
    this.problem = make("p", { class: "problem", id: `${id}-problem` });
    const note = noteOf(spec);
    const described = { "aria-describedby": `${note ? `${id}-note ` : ""}${id}-problem`, input: () => this.complain("") };
    const mark = spec.required && !spec.nullable && make("span", { class: "soft must", "aria-hidden": "true" }, "required");
    this.parts = spec.long && spec.kind === "list" ? new Texts(spec, id, described) : new Box(spec, id, described);
    const head = this.parts instanceof Texts ? make("span", { class: "label", id: `${id}-label` }, spec.label, mark) : make("label", { for: id }, spec.label, mark);
    this.element = make("div", { class: "field" }, head, this.parts.element, note && make("small", { class: "soft", id: `${id}-note` }, note), this.problem);
  }

  /** Return the value; undefined if there is none. Throws an Error that names the broken rule. */
  value() {
    const value = this.parts.value();
    if (value !== undefined || !this.spec.required) return value;
    if (this.spec.nullable) return null;
    throw new Error("is missing");
  }

  /** Show an error, with the path into the value; an empty text clears it. */
  complain(text, [step, ...rest] = []) {
    const { boxes } = this.parts;
    const message = step === undefined ? text : `${[this.spec.kind === "list" ? `Item ${Number(step) + 1}` : step, ...rest].join(", ")}: ${text}`;
    write(this.problem, message && message[0].toUpperCase() + message.slice(1));
    for (const box of boxes) box.removeAttribute("aria-invalid");
    if (text) (this.parts.filled?.[step] || boxes[0]).setAttribute("aria-invalid", "true");
  }

  focus() {
    (this.element.querySelector("[aria-invalid]") || this.parts.boxes[0]).focus();
  }
}

/** A single control for a value. */
class Box {
  constructor(spec, id, attributes) {
    const { kind, initial, required, nullable } = spec;
    this.spec = spec;
    const all = { ...attributes, id, required: required && !nullable, autocomplete: "off" };
    if (kind === "choice") {
      const chosen = initial === null ? (required && spec.choices.length === 1 ? 0 : -1) : spec.choices.indexOf(initial);
      const none = chosen < 0 && make("option", { value: "" }, required && !nullable ? "Choose one" : "–");
      this.element = make("select", all, none, ...spec.names.map((name, place) => make("option", { value: String(place), selected: place === chosen }, name)));
    } else if (kind === "number") this.element = make("input", { ...all, type: "number", step: spec.whole ? "1" : "any", min: spec.least, max: spec.most, inputmode: spec.whole ? "numeric" : "decimal" });
    else if (kind === "text" && !spec.long) this.element = make("input", { ...all, type: spec.type });
    else this.element = make("textarea", { ...all, rows: kind === "text" ? "5" : "4", class: kind === "json" && "json", spellcheck: kind === "json" ? "false" : null });
    this.boxes = [this.element];
  }

  value() {
    const { element, spec } = this;
    if (element.validity.badInput) throw new Error(spec.whole ? "must be a whole number" : "must be a number");
    if (element.validity.rangeUnderflow) throw new Error(`must be at least ${spec.least}`);
    if (element.validity.rangeOverflow) throw new Error(`must be at most ${spec.most}`);
    if (spec.kind === "choice") return element.value === "" ? undefined : spec.choices[Number(element.value)];
    return valueOf(spec, element.value);
  }
}

/** A list of long texts: one text area each. */
class Texts {
  boxes = [];

  constructor(spec, id, attributes) {
    this.spec = spec;
    this.attributes = attributes;
    this.rows = make("div", { class: "texts" });
    this.more = make("button", { class: "plain", type: "button", click: () => this.#add().focus() }, "Add another");
    this.element = make("div", { class: "texts", role: "group", "aria-labelledby": `${id}-label` }, this.rows, make("div", {}, this.more));
    this.#add();
  }

  #add() {
    const box = make("textarea", { rows: "3", ...this.attributes });
    const leave = make("button", { class: "icon", type: "button", click: () => this.#remove(box) }, "✕");
    this.boxes.push(box);
    this.rows.append(make("div", { class: "joined" }, box, leave));
    this.#number();
    return box;
  }

  #remove(box) {
    const place = this.boxes.indexOf(box);
    this.boxes.splice(place, 1);
    box.parentElement.remove();
    this.#number();
    (this.boxes[place] || this.boxes.at(-1)).focus();
  }

  #number() {
    const { boxes, spec, more } = this;
    boxes.forEach((box, place) => {
      box.setAttribute("aria-label", `${spec.label} ${place + 1}`);
      const leave = box.nextSibling;
      leave.setAttribute("aria-label", `Remove ${spec.label} ${place + 1}`);
      leave.hidden = boxes.length === 1;
    });
    more.hidden = boxes.length >= (spec.most ?? Infinity);
  }

  get filled() {
    return this.boxes.filter(box => box.value.trim());
  }

  value() {
    return this.filled.length ? this.filled.map(box => box.value) : undefined;
  }
}
