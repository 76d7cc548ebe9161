// What a workflow's input schema, JSON Schema as pydantic writes it, says of its fields; and texts, read as their values.

import { formatOf, inOrder, jsonValues, tableRows } from "./inputs.js";

const LINE = 200; // characters: a text that may be longer has a box of its own
const CUSTOM_ID = "custom_id"; // names a task; it may stand beside the fields of any workflow that has none of this name

/** Return the fields of an input: {name, label, about, kind, required, nullable, initial, …}; a kind is text, number, choice, list or json. */
export function fieldsOf({ properties = {}, required = [], $defs: defs = {} }) {
  return Object.entries(properties).map(([name, given]) => {
    const schema = plain(given, defs);
    const words = name.replaceAll("_", " ");
    return {
      ...kindOf(schema, defs), name, required: required.includes(name), nullable: Boolean(schema.nullable), initial: schema.default ?? null,
      label: given.title || words[0].toUpperCase() + words.slice(1), about: schema.description || "",
    };
  });
}

/** Follow references, and leave out the null of what may be none. What stands beside a reference goes before it. */
function plain(given, defs) {
  const { $ref: ref, allOf: all, anyOf: any, oneOf: one, ...own } = given;
  if (ref) return plain({ ...defs[ref.split("/").at(-1)], ...own }, defs);
  if (all?.length === 1) return plain({ ...all[0], ...own }, defs);
  const left = (any || one)?.map(each => plain(each, defs)).filter(({ type }) => type !== "null");
  if (left?.length === 1) return { ...left[0], ...own, nullable: left.length < (any || one).length };
  return given;
}

function kindOf(schema, defs) {
  const { type } = schema;
  if (type === "boolean") return { kind: "choice", choices: [true, false], names: ["yes", "no"] };
  const choices = schema.enum?.filter(each => each !== null) || ("const" in schema ? [schema.const] : null);
  if (choices) return { kind: "choice", choices, names: choices.map(String) };
  if (type === "string") return { kind: "text", long: !schema.format && !(schema.maxLength <= LINE), type: schema.format === "date" ? "date" : "text" };
  if (type === "integer" || type === "number") return { kind: "number", whole: type === "integer", least: schema.minimum, most: schema.maximum };
  const each = type === "array" && schema.items ? kindOf(plain(schema.items, defs), defs) : null;
  if (each && each.kind !== "json" && each.kind !== "list") return { kind: "list", each, least: schema.minItems, most: schema.maxItems, long: each.long && plain(schema.items, defs).maxLength > LINE };
  return { kind: "json" };
}

/** Read a text as the value of a field; undefined where it is empty. Raises an Error that names the rule it breaks. */
export function valueOf(field, text) {
  const { kind, whole, choices, names, each } = field;
  if (!text.trim()) return undefined;
  if (kind === "text") return text;
  if (kind === "choice") {
    const word = text.trim().toLowerCase();
    const found = choices.findIndex((choice, place) => [String(choice).toLowerCase(), names[place]].includes(word));
    if (found < 0) throw new Error(`must be one of ${names.join(", ")}`);
    return choices[found];
  }
  if (kind === "number") {
    const number = Number(text);
    if (whole ? !Number.isSafeInteger(number) : !Number.isFinite(number)) throw new Error(whole ? "must be a whole number" : "must be a number");
    return number;
  }
  const { value, error } = parsed(text);
  if (kind === "list" && !Array.isArray(value)) return text.split(/\r?\n/).filter(line => line.trim()).map(line => valueOf(each, line));
  if (error) throw new Error(`must be JSON: ${error.message}`);
  return value;
}

function parsed(text) {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error };
  }
}

/** Return the one field that is all an input needs, where that is a text: a line is an input then. */
export function lineField(fields) {
  const [only, ...others] = fields.filter(({ required }) => required);
  return !others.length && only?.kind === "text" ? only : null;
}

/** Tell how a pasted text or a file is read: as JSON Lines, as a table, or where one text is all that is asked for, a line each. */
function kindIn(text, fields, name) {
  const kind = formatOf(text, name);
  if (kind !== "lines") return kind;
  const { columns } = tableRows(text.split(/\r?\n/, 1)[0]);
  return lineField(fields) && !columns.some(column => fields.some(field => field.name === column)) ? "lines" : "csv";
}

/** Read inputs: {items: [{line, item}], problems: [{line, text}], kind, columns}. */
export function readInputs(text, schema, name) {
  const fields = fieldsOf(schema);
  text = text.replace(/^\uFEFF/, "");
  const kind = kindIn(text, fields, name);
  if (kind === "lines") {
    const only = lineField(fields).name;
    const lines = text.split(/\r?\n/).map((each, index) => ({ line: index + 1, item: { [only]: each } }));
    return { items: lines.filter(({ item }) => item[only].trim()), problems: [], kind, columns: [] };
  }
  const table = kind === "csv" ? tableRows(text) : null;
  const missing = table ? fields.filter(field => field.required && !table.columns.includes(field.name)) : [];
  if (missing.length) return { items: [], problems: [{ line: 1, text: `there is no column ${missing.map(field => field.name).join(", ")}` }], kind, columns: table.columns };
  const { problems } = table || {};
  const read = table ? { values: table.rows.map(({ line, row }) => ({ line, value: row })), problems } : jsonValues(text);
  const items = [];
  for (const { line, value } of read.values) {
    try {
      items.push({ line, item: checked(table ? fromRow(value, fields) : value, fields, schema) });
    } catch (error) {
      read.problems.push({ line, text: error.message });
    }
  }
  return { items, problems: inOrder(read.problems), kind, columns: table?.columns || [] };
}

function fromRow(row, fields) {
  const item = {};
  for (const [name, text] of Object.entries(row)) {
    const field = fields.find(each => each.name === name);
    try {
      const value = field ? valueOf(field, text) : text || undefined;
      if (value !== undefined) item[name] = value;
    } catch (error) {
      throw new Error(`${name} ${error.message}`);
    }
  }
  return item;
}

/** Check what needs no question: the fields that there must be, and those that there cannot be. The service knows the other rules. */
function checked(item, fields, { additionalProperties: others }) {
  if (!item || typeof item !== "object" || Array.isArray(item)) throw new Error("must be an object with the fields of the workflow");
  const missing = fields.filter(({ name, required }) => required && item[name] === undefined);
  if (missing.length) throw new Error(`there is no ${missing.map(({ name }) => name).join(", no ")}`);
  const unknown = others === false && Object.keys(item).find(name => name !== CUSTOM_ID && !fields.some(field => field.name === name));
  if (unknown) throw new Error(`there is no field ${unknown}, but ${fields.map(({ name }) => name).join(", ")}`);
  return item;
}

/** Say a value for people. */
export const said = value => (typeof value === "string" ? value : Array.isArray(value) ? value.map(said).join(", ") : JSON.stringify(value));

/** Say an input in a line of a list, or in full where it is opened. */
export function shownInput({ [CUSTOM_ID]: _, ...input }) {
  const texts = Object.values(input).map(said);
  return texts.length === 1 ? texts[0] : Object.keys(input).map((name, place) => `${name}: ${texts[place]}`).join("\n");
}
