// Small parts that others are made of.

import { useId, useRef, useState } from "preact/hooks";

import { TOTAL } from "./table.js";
import { sentence } from "./text.js";
import { ALL, changed, fragmentOf } from "./view.js";

/** A name of a client, isolated from the direction of the text around it. */
export function nameOf(key) {
  if (key === TOTAL) return "The total";
  return key === ALL ? "All keys" : <bdi>{key}</bdi>;
}

/** Follows a link within the page, unless the browser should open it elsewhere. */
export function follow(event, action) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button > 0) return;
  event.preventDefault();
  action();
}

export function HistoryLink({ view, change, of, history = "", children }) {
  const target = { of, history };
  return (
    <a href={fragmentOf(changed(view, target))} onClick={(event) => follow(event, () => change(target))}>
      {children}
    </a>
  );
}

export function SelectField({ label, value, onChange, children }) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {children}
      </select>
    </div>
  );
}

/** What to do about an error, by its status. */
export function remedy({ status }) {
  switch (status) {
    case undefined:
      return "Load the page again. If that does not help, report it: the page can’t read this answer.";
    case 0:
      return "Check your connection. The page tries again by itself.";
    case 400:
      return "Go back to the first page, or change what is asked for.";
    case 401:
      return "Enter a token that may read.";
    case 403:
      return "Enter another token: this one lacks the scope read.";
    case 413:
      return "Show fewer rows, or one stat.";
    case 429:
    case 503:
      return "The service is busy or away. The page tries again by itself.";
    default:
      return status >= 500 ? "The log of the service has the cause. The page tries again by itself." : "";
  }
}

export function Failure({ error, advice = remedy(error), onRetry, children }) {
  return (
    <div class="notice error" role="alert">
      <p>
        <strong>{sentence(error.message)}</strong> {advice}
      </p>
      <p class="actions">
        <button type="button" onClick={onRetry}>
          Try again
        </button>
        {children}
      </p>
    </div>
  );
}

/** What programs can do with what is seen: a file, and the command that asks the same. */
export function Tools({ command, file, content }) {
  const code = useRef();
  const [isCopied, setCopied] = useState(false);
  const copy = () => {
    navigator.clipboard?.writeText(command).then(
      () => setCopied(true),
      () => select(code.current),
    ) ?? select(code.current);
  };
  return (
    <div class="tools">
      {file && (
        <button type="button" onClick={() => download(file, content())}>
          Download CSV
        </button>
      )}
      <details onToggle={() => setCopied(false)}>
        <summary>The same with curl</summary>
        <div class="command">
          <pre ref={code} class="scroll" tabIndex={0} aria-label="Command">
            {command}
          </pre>
          <button type="button" onClick={copy}>
            {isCopied ? "Copied" : "Copy"}
          </button>
        </div>
      </details>
    </div>
  );
}

function select(element) {
  getSelection().selectAllChildren(element);
}

function download(name, content) {
  const url = URL.createObjectURL(new Blob([content], { type: "text/csv;charset=utf-8" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  URL.revokeObjectURL(url);
}
