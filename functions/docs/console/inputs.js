// Parse pasted text and files into prompts, each with its line number.

export const CALL_PROMPTS = 1000;
const CALL_BYTES = 4_000_000; // the API accepts 6 MB; an é has 2 bytes here and 6 in the queue
const SET_BY_SLUICE = new Set(["model", "messages", "stream", "stream_options"]);
const size = value => new TextEncoder().encode(JSON.stringify(value)).length;

/** Detect the format of a text by the file's extension, or else by its first line. */
export function formatOf(text, name = "") {
  const ending = /\.(jsonl|ndjson|json|csv|tsv)$/i.exec(name)?.[1].toLowerCase();
  if (ending) return { jsonl: "jsonl", ndjson: "jsonl", json: "jsonl", csv: "csv", tsv: "csv" }[ending];
  const first = text.split(/\r?\n/).find(line => line.trim()) || "";
  return /^\s*[{["]/.test(first) && isJson(first) ? "jsonl" : "lines";
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return /^\s*\[/.test(text);
  }
}

/** Parse prompts. Returns {items: [{line, item}], problems: [{line, text}], columns}; the template applies to CSV. */
export function parsePrompts(text, format, template = "") {
  text = text.replace(/^\uFEFF/, "");
  if (format === "csv") return readTable(text, template);
  if (format === "jsonl") return readJson(text);
  const items = text.split(/\r?\n/).map((line, index) => ({ line: index + 1, item: { prompt: line } }));
  return { items: items.filter(({ item }) => item.prompt.trim()), problems: [], columns: [] };
}

function readJson(text) {
  const { values, problems } = jsonValues(text);
  const items = values.map(({ line, value }) => ({ line, item: toPrompt(value) }));
  const wrong = items.filter(({ item }) => !item).map(({ line }) => ({ line, text: "has neither prompt nor messages" }));
  return { items: items.filter(({ item }) => item), problems: inOrder([...problems, ...wrong]), columns: [] };
}

export const inOrder = problems => problems.sort((one, other) => one.line - other.line);

/** Parse JSON Lines or an array, whose elements count as lines: {values: [{line, value}], problems}. */
export function jsonValues(text) {
  const values = [];
  const problems = [];
  const parse = (part, line, take) => {
    try {
      take(JSON.parse(part));
    } catch (error) {
      problems.push({ line, text: error.message });
    }
  };
  if (/^\s*\[/.test(text)) parse(text, 1, all => all.forEach((value, index) => values.push({ line: index + 1, value })));
  else text.split(/\r?\n/).forEach((part, index) => part.trim() && parse(part, index + 1, value => values.push({ line: index + 1, value })));
  return { values, problems };
}

/** Convert a string, an item of POST /tasks or a line of an OpenAI batch file to a prompt; null for anything else. */
function toPrompt(value) {
  if (typeof value === "string" && value.trim()) return { prompt: value };
  if (!value || typeof value !== "object") return null;
  if (Array.isArray(value.body?.messages)) {
    const { model, messages, ...rest } = value.body;
    const params = Object.fromEntries(Object.entries(rest).filter(([name]) => !SET_BY_SLUICE.has(name)));
    return {
      ...(value.custom_id ? { custom_id: String(value.custom_id) } : {}),
      ...(model ? { model } : {}),
      messages,
      ...(Object.keys(params).length ? { params } : {}),
    };
  }
  return typeof value.prompt === "string" || Array.isArray(value.messages) ? value : null;
}

function readTable(text, template) {
  const { columns, rows, problems } = tableRows(text);
  const failure = why => ({ items: [], problems: [{ line: 1, text: why }], columns });
  if (!columns.includes("prompt") && !template.trim()) return failure("there is no column 'prompt'; use a template for these columns");
  const used = template.trim() ? variables(template) : [];
  const missing = used.filter(name => !columns.includes(name));
  if (missing.length) return failure(`there is no column ${missing.join(", ")}, which the template uses`);
  if (template.trim() && !used.length) return failure("the template contains no {column}");
  const items = [];
  for (const { line, row } of rows) {
    const custom = row.custom_id ? { custom_id: row.custom_id } : {};
    if (used.length) items.push({ line, item: { ...custom, ...Object.fromEntries(used.map(name => [name, row[name]])) } });
    else if (!row.prompt.trim()) problems.push({ line, text: "the prompt is empty" });
    else items.push({ line, item: { ...custom, prompt: row.prompt, ...(row.model ? { model: row.model } : {}), ...(row.system ? { system: row.system } : {}) } });
  }
  return { items, problems: inOrder(problems), columns };
}

/** Read a table: {columns, rows: [{line, row}], problems}; a row is an object by the columns. */
export function tableRows(text) {
  const [head, ...rest] = parseCsv(text);
  const columns = head ? head.cells.map(name => name.trim()) : [];
  const rows = [];
  const problems = [];
  for (const { line, cells: values } of rest) {
    if (values.length === 1 && !values[0].trim()) continue;
    if (values.length !== columns.length) problems.push({ line, text: `has ${values.length} cells; the header has ${columns.length}` });
    else rows.push({ line, row: Object.fromEntries(columns.map((name, index) => [name, values[index]])) });
  }
  return { columns, rows, problems };
}

const variables = template => [...new Set(Array.from(template.replaceAll("{{", "").replaceAll("}}", "").matchAll(/\{([^{}]+)\}/g), found => found[1]))];

/** Parse CSV by RFC 4180; the first line decides whether commas, semicolons or tabs separate the cells. */
function parseCsv(text) {
  const first = text.slice(0, text.search(/\r?\n|$/));
  const cut = ["\t", ";", ","].reduce((best, mark) => (first.split(mark).length > first.split(best).length ? mark : best), ",");
  const rows = [];
  let [row, cell, quoted, line, start] = [[], "", false, 1, 1];
  const end = () => {
    rows.push({ line: start, cells: [...row, cell] });
    [row, cell, start] = [[], "", line + 1];
  };
  for (let place = 0; place < text.length; place += 1) {
    const letter = text[place];
    if (quoted) {
      if (letter === '"' && text[place + 1] === '"') (cell += '"'), (place += 1);
      else if (letter === '"') quoted = false;
      else cell += letter;
      line += letter === "\n";
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === cut) row.push(cell), (cell = "");
    else if (letter === "\n") end(), (line += 1);
    else if (letter !== "\r" || text[place + 1] !== "\n") cell += letter;
  }
  if (cell || row.length) end();
  return rows;
}

/** Split items into requests within the service's limits: at most 1,000 prompts and 4 MB each. */
export function splitIntoRequests(items) {
  const cut = [];
  let bytes = Infinity;
  for (const each of items) {
    const more = size(each.item);
    if (bytes + more > CALL_BYTES || cut.at(-1).length === CALL_PROMPTS) {
      cut.push([]);
      bytes = 0;
    }
    cut.at(-1).push(each);
    bytes += more;
  }
  return cut;
}

/** Return the text that represents a prompt in the task list. */
export function shown(item, template) {
  if (item.prompt) return item.prompt;
  if (item.messages) {
    const last = item.messages.at(-1)?.content;
    return typeof last === "string" ? last : (last || []).map(part => part.text || "").join(" ");
  }
  return template.replace(/\{([^{}]+)\}/g, (whole, name) => item[name] ?? whole).replaceAll("{{", "{").replaceAll("}}", "}");
}

export { size };
