// Elements, made without a word of HTML: text goes in as text, so nothing of an answer is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

export const at = id => document.getElementById(id);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** Make an element; an attribute that is a function listens to the event of its name, null and false leave it out. */
export const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);

/** Make an element of a drawing. */
export const draw = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

/** Write text where it differs: an unchanged node costs no layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Tell a screen reader, without moving the focus. */
export function say(text) {
  at("said").textContent = text;
}

/** Ask before what cannot be taken back. */
export function sure(title, about, yes) {
  const dialog = at("sure-dialog");
  write(at("sure-title"), title);
  write(at("sure-about"), about);
  write(at("sure-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise(resolve => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
