// Format numbers and times, in English like the page.

const WHOLE = new Intl.NumberFormat("en-GB");
const SHORT = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const whole = number => WHOLE.format(number);
export const short = number => (number < 10_000 ? WHOLE.format(number) : SHORT.format(number));
export const many = (number, one, more = `${one}s`) => `${whole(number)} ${number === 1 ? one : more}`;
export const clock = milliseconds => CLOCK.format(milliseconds);
export const day = milliseconds => DAY.format(milliseconds);

/** Format a duration: 0.42 s, 12.3 s, 4 min 05 s, 2 h 10 min. */
export function span(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  const rest = String(Math.floor(seconds % 60)).padStart(2, "0");
  return minutes < 60 ? `${minutes} min ${rest} s` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/** Format an approximate duration: 40 s, 3 min. */
export function about(milliseconds) {
  const seconds = Math.ceil(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

/** Format dollars with enough digits to show small amounts. */
export function money(dollars) {
  if (dollars === 0) return "$0";
  if (dollars >= 1) return `$${dollars.toFixed(2)}`;
  return `$${dollars.toFixed(Math.min(8, 2 - Math.floor(Math.log10(dollars))))}`;
}

export function bytes(number) {
  if (number < 1000) return `${number} B`;
  return number < 1e6 ? `${(number / 1e3).toFixed(number < 1e4 ? 1 : 0)} kB` : `${(number / 1e6).toFixed(1)} MB`;
}

export const percent = (part, all) => (all ? `${(Math.floor((part / all) * 1000) / 10).toFixed(part === all ? 0 : 1)} %` : "0 %");
