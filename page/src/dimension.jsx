// A dimension: its totals, its keys as a table, and a history.

import { useEffect, useRef, useState } from "preact/hooks";

import { urlOf } from "./api.js";
import { History, archived } from "./history.jsx";
import { Failure, HistoryLink, SelectField, Tools, remedy } from "./parts.jsx";
import { KINDS, TOTAL, largestOf, shareOf } from "./table.js";
import { intervalOf } from "./table_feed.js";
import { curl, difference, integer, perMinute, sentence, tableCsv, time } from "./text.js";
import { ALL, ROWS, splitId, tableParameters, tablePath } from "./view.js";

/** How long somebody pauses in typing before the search starts, in milliseconds. */
const TYPING_PAUSE = 400;
/** Totals that are shown at first. */
const FIRST_TOTALS = 8;

export function Dimension(props) {
  const { view, state, isDenied, needsToken, change, onRefresh, onDenied } = props;
  const [noHistory, setNoHistory] = useState();
  const { table, error } = state;
  const stats = useStats(view, table);
  const reset = () => change({ page: "", prefix: "", stat: "", sort: "key" });
  return (
    <>
      <div class="bar">
        <h2 id="title" class="large" tabIndex={-1}>
          <bdi>{view.dim}</bdi>
        </h2>
        {!noHistory && archived(table?.columns ?? []).length > 0 && (
          <HistoryLink view={view} change={change} of={ALL} history={sortedStat(view)}>
            All keys over time
          </HistoryLink>
        )}
        <button type="button" onClick={onRefresh}>
          Refresh
        </button>
        {state.at && <span class="hint">as of {time(state.at)}</span>}
      </div>
      {error && !isDenied && !table && (
        <Failure error={error} onRetry={onRefresh}>
          {error.status === 400 && (
            <button type="button" onClick={reset}>
              Show the first keys
            </button>
          )}
        </Failure>
      )}
      {error && table && <Stale state={state} isDenied={isDenied} onRetry={onRefresh} onReset={reset} />}
      {!table && !error && (
        <p class="notice" aria-busy="true">
          Loading…
        </p>
      )}
      {table && (
        <>
          <Totals {...props} noHistory={noHistory} />
          {noHistory && <p class="hint">{noHistory}</p>}
          {view.of && !noHistory && (
            <History
              key={view.of}
              view={view}
              columns={columnsOf(table, view.of)}
              needsToken={needsToken}
              go={change}
              onMissing={(text) => setNoHistory(sentence(text))}
              onDenied={onDenied}
            />
          )}
          <Controls view={view} stats={stats} change={change} />
          <Keys {...props} noHistory={noHistory} />
          <Pager view={view} state={state} change={change} />
          <Tools
            command={curl(urlOf(tablePath(view), tableParameters(view)), needsToken)}
            file={`statshub-${view.dim}.csv`}
            content={() => tableCsv(table)}
          />
          <Cost units={state.units} />
          <Announcement view={view} state={state} />
        </>
      )}
    </>
  );
}

/** The names of stats that the dimension has shown so far. A filter hides all others. */
function useStats(view, table) {
  const seen = useRef(new Set());
  for (const { stat } of table?.columns ?? []) seen.current.add(stat);
  if (view.stat) seen.current.add(view.stat);
  return [...seen.current].sort();
}

/** The stat that keys are sorted by, if it has a history. */
function sortedStat({ sort }) {
  const id = sort.replace(/^-/, "");
  return /^(?:counter|gauge)\./.test(id) ? id : "";
}

function columnsOf(table, key) {
  if (key === ALL) return table.columns;
  const cells = key === TOTAL ? table.total : table.keys.find((row) => row.key === key)?.cells;
  return cells ? table.columns.filter(({ id }) => cells.has(id)) : table.columns;
}

function Stale({ state, isDenied, onRetry, onReset }) {
  const { error, at, retryAt } = state;
  const isQuestionRefused = state.answered !== state.question;
  return (
    <div class="notice stale" role="alert">
      <p>
        <strong>
          {isQuestionRefused ? "These are not the numbers that were asked for" : "These numbers are old"},
          from {time(at)}.
        </strong>{" "}
        {!isDenied && `${sentence(error.message)} ${remedy(error)}`}
        {mayPass(error) && ` Next attempt at ${time(retryAt)}.`}
      </p>
      {!isDenied && (
        <p class="actions">
          <button type="button" onClick={onRetry}>
            Try again
          </button>
          {error.status === 400 && (
            <button type="button" onClick={onReset}>
              Show the first keys
            </button>
          )}
        </p>
      )}
    </div>
  );
}

function mayPass({ status }) {
  return status === 0 || status === 429 || status >= 500;
}

function Totals({ view, state, change, noHistory }) {
  const { table, moved } = state;
  const [isWhole, setWhole] = useState(false);
  if (!table.total) {
    return (
      <section class="totals-missing" aria-label="Totals">
        <button type="button" onClick={() => change({ total: true })}>
          Add up all keys
        </button>
        <span class="hint">There is no total yet: it takes reading the whole dimension.</span>
      </section>
    );
  }
  const columns = table.columns.filter(({ id }) => table.total.has(id));
  const shown = isWhole ? columns : columns.slice(0, FIRST_TOTALS);
  return (
    <section aria-labelledby="totals">
      <h3 id="totals" class="small">
        Totals
      </h3>
      {columns.length === 0 && <p>Nothing is counted here.</p>}
      <ul class="cards">
        {shown.map((column) => (
          <li key={column.id}>
            <span class="kind">{KINDS.get(column.kind).one}</span>
            <span class="stat">
              {column.kind === "current" || noHistory ? (
                column.stat
              ) : (
                <HistoryLink view={view} change={change} of={TOTAL} history={column.id}>
                  {column.stat}
                </HistoryLink>
              )}
            </span>
            <span class="value">{integer(table.total.get(column.id))}</span>
            <Move move={moved.get(TOTAL)?.get(column.id)} />
          </li>
        ))}
      </ul>
      <p class="actions">
        {shown.length < columns.length && (
          <button type="button" onClick={() => setWhole(true)}>
            Show all {columns.length} totals
          </button>
        )}
        {view.total && (
          <button type="button" onClick={() => change({ total: false })}>
            Leave the totals out
          </button>
        )}
      </p>
    </section>
  );
}

/** How much a number has moved since the last refresh, and how fast. */
function Move({ move }) {
  if (!move) return null;
  return (
    <span class={move.by < 0n ? "move down" : "move up"}>
      {difference(move.by)} <span class="rate">({perMinute(move.perMinute)})</span>
    </span>
  );
}

function Controls({ view, stats, change }) {
  const [prefix, setPrefix] = useState(view.prefix);
  const timer = useRef();
  useEffect(() => setPrefix(view.prefix), [view.prefix]);
  const search = (text) => {
    clearTimeout(timer.current);
    if (text !== view.prefix) change({ prefix: text }, { replaces: view.prefix !== "" && text !== "" });
  };
  const type = (text) => {
    setPrefix(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => search(text), TYPING_PAUSE);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  const submit = (event) => {
    event.preventDefault();
    search(prefix);
  };
  return (
    <form class="controls" role="search" aria-label="Keys" onSubmit={submit}>
      <div class="field grow">
        <label for="prefix">Keys that begin with</label>
        <input
          id="prefix"
          type="search"
          dir="auto"
          autocomplete="off"
          spellcheck={false}
          value={prefix}
          onInput={(event) => type(event.currentTarget.value)}
        />
      </div>
      <SelectField label="Stats" value={view.stat} onChange={(stat) => change({ stat })}>
        <option value="">All</option>
        {stats.map((stat) => (
          <option key={stat}>{stat}</option>
        ))}
      </SelectField>
      <SelectField label="Rows" value={String(view.rows)} onChange={(rows) => change({ rows: Number(rows) })}>
        {ROWS.map((rows) => (
          <option key={rows}>{rows}</option>
        ))}
      </SelectField>
    </form>
  );
}

function Keys({ view, state, change, noHistory }) {
  const { table, moved, isLoading } = state;
  const sortedId = view.sort.replace(/^-/, "");
  const largest = largestOf(table, sortedId);
  if (table.keys.length === 0) {
    return (
      <p class="notice">
        {view.prefix
          ? "No key begins with that."
          : state.next
            ? "No key of this page has such a stat. More pages follow."
            : "There is no key here."}
      </p>
    );
  }
  return (
    <div class="scroll keys" role="region" aria-label="Keys" aria-busy={isLoading} tabIndex={0} id="keys">
      <table>
        <caption class="visually-hidden">
          Keys of <bdi>{view.dim}</bdi>
        </caption>
        <thead>
          <tr>
            <Sorter view={view} id="key" change={change} rowSpan={2} first="ascending">
              Key
            </Sorter>
            {groups(table.columns).map(({ kind, count }) => (
              <th key={kind} scope="colgroup" colSpan={count} title={KINDS.get(kind).hint}>
                {KINDS.get(kind).label}
              </th>
            ))}
          </tr>
          <tr>
            {table.columns.map(({ id, stat }) => (
              <Sorter key={id} view={view} id={id} change={change} first="descending">
                {stat}
              </Sorter>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.keys.map(({ key, cells }) => (
            <tr key={key} aria-current={key === view.of ? "true" : undefined}>
              <th scope="row">
                {noHistory || archived(table.columns).length === 0 ? (
                  <bdi>{key}</bdi>
                ) : (
                  <HistoryLink view={view} change={change} of={key}>
                    <bdi>{key}</bdi>
                  </HistoryLink>
                )}
              </th>
              {table.columns.map(({ id }) => (
                <Cell
                  key={id}
                  value={cells.get(id)}
                  move={moved.get(key)?.get(id)}
                  largest={id === sortedId ? largest : undefined}
                />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function groups(columns) {
  const counts = new Map();
  for (const { kind } of columns) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, count]) => ({ kind, count }));
}

/** The head of a column, by which the table is sorted. */
function Sorter({ view, id, change, first, children, ...cell }) {
  const order = view.sort === id ? "ascending" : view.sort === `-${id}` ? "descending" : "none";
  const next = order === "none" ? first : order === "ascending" ? "descending" : "ascending";
  const sign = { ascending: "▲", descending: "▼", none: "" }[order];
  return (
    <th scope="col" aria-sort={order} class={id === "key" ? "" : "number"} {...cell}>
      <button
        type="button"
        class="sorter"
        onClick={() => change({ sort: next === "descending" ? `-${id}` : id })}
      >
        {children} <span aria-hidden="true">{sign}</span>
      </button>
    </th>
  );
}

function Cell({ value, move, largest }) {
  if (value === undefined) return <td class="number none">–</td>;
  return (
    <td class="number">
      {integer(value)}
      {largest !== undefined && (
        <span class={value < 0n ? "barline negative" : "barline"} aria-hidden="true">
          <span style={{ width: `${shareOf(value, largest) * 100}%` }} />
        </span>
      )}
      <Move move={move} />
    </td>
  );
}

function Pager({ view, state, change }) {
  const { next, table } = state;
  const cameFromPage = history.state?.cameFromPage && view.page;
  const turn = (action) => {
    action();
    document.getElementById("keys")?.focus();
  };
  if (!next && !view.page) return <p class="hint">All {keyCount(table)}.</p>;
  return (
    <nav class="actions" aria-label="Pages">
      <button type="button" disabled={!view.page} onClick={() => turn(() => change({ page: "" }))}>
        First page
      </button>
      {cameFromPage && (
        <button type="button" onClick={() => turn(() => history.back())}>
          Previous page
        </button>
      )}
      <button
        type="button"
        disabled={!next}
        onClick={() => turn(() => change({ page: next }, { state: { cameFromPage: true } }))}
      >
        Next page
      </button>
      <span class="hint">
        {keyCount(table)}
        {next ? "; more follow" : "; this is the last page"}
      </span>
    </nav>
  );
}

function keyCount({ keys }) {
  return `${keys.length} ${keys.length === 1 ? "key" : "keys"}`;
}

function Cost({ units }) {
  const seconds = Math.round(intervalOf(units) / 1000);
  const often = seconds < 120 ? `${seconds} seconds` : `${Math.round(seconds / 60)} minutes`;
  return (
    <p class="hint">
      This view reads {units} {units === 1 ? "unit" : "units"} of the table each time, every {often} while it
      is seen.
    </p>
  );
}

/** What a screen reader says after a new question is answered. Refreshes are silent. */
function Announcement({ view, state }) {
  const { table, isLoading } = state;
  const [, stat] = splitId(view.sort);
  const isReversed = view.sort.startsWith("-");
  const order = /^-?key$/.test(view.sort)
    ? "by name"
    : `by ${stat}, ${isReversed ? "largest" : "smallest"} first`;
  return (
    <p class="visually-hidden" role="status">
      {isLoading ? "" : `${keyCount(table)} of ${view.dim}, sorted ${order}`}
    </p>
  );
}
