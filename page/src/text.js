// How numbers, times, CSV and commands are written.

const GROUPED = new Intl.NumberFormat("en");
const ROUNDED = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY_AND_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** An integer, with all its digits. */
export function integer(value) {
  return GROUPED.format(value);
}

/** A decimal number as the API has written it. */
export function decimal(digits) {
  const [whole, fraction] = digits.split(".");
  if (!/^-?\d+$/.test(whole)) return digits;
  return fraction === undefined ? integer(BigInt(whole)) : `${integer(BigInt(whole))}.${fraction}`;
}

/** What has been added: `+5`, `−5`. */
export function difference(by) {
  return by < 0n ? `−${integer(-by)}` : `+${integer(by)}`;
}

export function perMinute(rate) {
  return `${ROUNDED.format(rate).replace("-", "−")}/min`;
}

/** A text of the API as a sentence. */
export function sentence(text) {
  const end = /[.!?]$/.test(text) ? "" : ".";
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${end}`;
}

export function time(milliseconds) {
  return TIME.format(milliseconds);
}

export function dayAndTime(milliseconds) {
  return DAY_AND_TIME.format(milliseconds);
}

/** CSV by RFC 4180. Names that spreadsheets would run as formulas get a quote, as with `csv=safe`. */
export function csv(rows) {
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function cell(value) {
  if (typeof value === "bigint") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The table as it is seen. */
export function tableCsv(table) {
  const head = ["key", ...table.columns.map(({ kind, stat }) => `${kind} ${stat}`)];
  const row = (key, cells) => [key, ...table.columns.map(({ id }) => cells.get(id) ?? "")];
  const total = table.total ? [row("total", table.total)] : [];
  return csv([head, ...table.keys.map(({ key, cells }) => row(key, cells)), ...total]);
}

/** The command that asks the same. The token is in a variable of the shell, not in the text. */
export function curl(url, needsToken) {
  const header = needsToken ? '-H "Authorization: Bearer $STATSHUB_TOKEN" ' : "";
  return `curl ${header}${quoted(url)}`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
