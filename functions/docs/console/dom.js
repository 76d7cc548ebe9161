// Create elements without parsing HTML: text is inserted as text, so no result is interpreted as markup.

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

/** Create an element. An attribute that is a function becomes the listener of that event; null and false omit an attribute. */
export const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);

/** Create an SVG element. */
export const draw = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

/** Set the text if it differs, because an unchanged node costs no layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Announce a text to screen readers without moving the focus. */
export function say(text) {
  at("announcement").textContent = text;
}

/** Ask for confirmation; resolves to true if the user confirms. */
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
