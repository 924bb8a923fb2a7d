// What is archived of one stat, of a key or of all: a chart, and the same as a table.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { ask, urlOf } from "./api.js";
import { parseExactly } from "./exact_json.js";
import { Chart, Legend } from "./history_chart.jsx";
import { LargestSeries, readPages, rowsOf } from "./history_series.js";
import { curl, csv, dayAndTime, decimal, integer } from "./text.js";
import { KINDS, TOTAL } from "./table.js";
import { Failure, HistoryLink, SelectField, Tools, nameOf, remedy } from "./parts.jsx";
import { AGGREGATES, ALL, RANGES, historyParameters, historyPath, splitId } from "./view.js";

/** The stats that have a history: the archive has no `current`. */
export function archived(columns) {
  return columns.filter(({ kind }) => kind !== "current");
}

export function History({ view, columns, needsToken, go, onMissing, onDenied }) {
  const stats = archived(columns);
  const history = view.history || stats[0]?.id || "";
  const heading = useRef();
  useEffect(() => heading.current?.focus(), [view.of]);
  const close = () => {
    go({ of: "", history: "", range: "tiers", aggregate: "last" });
    document.getElementById("title")?.focus();
  };
  return (
    <section class="panel" aria-labelledby="history">
      <header class="bar">
        <h3 id="history" tabIndex={-1} ref={heading}>
          {nameOf(view.of)} over time
        </h3>
        {[TOTAL, ALL]
          .filter((of) => of !== view.of)
          .map((of) => (
            <HistoryLink key={of} view={view} change={go} of={of} history={history}>
              {nameOf(of)}
            </HistoryLink>
          ))}
        <button type="button" onClick={close}>
          Close
        </button>
      </header>
      {stats.length === 0 && !history ? (
        <p>Nothing of this {view.of === ALL ? "dimension" : "key"} is archived.</p>
      ) : (
        <Series
          view={{ ...view, history }}
          stats={stats}
          needsToken={needsToken}
          go={go}
          onMissing={onMissing}
          onDenied={onDenied}
        />
      )}
    </section>
  );
}

function Series({ view, stats, needsToken, go, onMissing, onDenied }) {
  const isAll = view.of === ALL;
  const path = historyPath(view);
  const parameters = historyParameters(view, Date.now());
  const { found, error, isLoading, retry, readOn } = useSeries(path, parameters, isAll, {
    onMissing,
    onDenied,
  });
  const [kind, stat] = splitId(view.history);
  const label = `${isAll ? "All keys" : view.of} ${stat}`;
  const series = useMemo(() => seriesOf(found, isAll), [found]);
  const all = stats.some(({ id }) => id === view.history)
    ? stats
    : [...stats, { id: view.history, kind, stat }];
  return (
    <>
      <div class="controls">
        <SelectField label="Stat" value={view.history} onChange={(id) => go({ history: id })}>
          {all.map((column) => (
            <option key={column.id} value={column.id}>
              {column.stat} ({column.kind})
            </option>
          ))}
        </SelectField>
        <SelectField label="Range" value={view.range} onChange={(range) => go({ range })}>
          {[...RANGES].map(([name, range]) => (
            <option key={name} value={name}>
              {range.label}
            </option>
          ))}
        </SelectField>
        <SelectField
          label="Value of a step"
          value={view.aggregate}
          onChange={(aggregate) => go({ aggregate })}
        >
          {AGGREGATES.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </SelectField>
      </div>
      {path === undefined && (
        <p>
          A browser can’t ask for the history of a key named <code>{view.of}</code>. Other clients can.
        </p>
      )}
      {isLoading && (
        <p aria-busy="true">Loading…{found?.keys > 1 && ` ${integer(found.keys)} keys so far.`}</p>
      )}
      {error && <Failure error={error} advice={adviceOn(error)} onRetry={retry} />}
      {series?.length === 0 && !isLoading && <p>Nothing is archived of this stat in this range.</p>}
      {series?.length > 0 && (
        <>
          {isAll && <Legend lines={found.lines} view={view} go={go} />}
          <Chart
            lines={isAll ? found.lines : series}
            label={label}
            isAll={isAll}
            hasTotal={isAll && found.total !== undefined}
          />
          {isAll && <Rest found={found} isPart={isLoading || error} onReadOn={readOn} />}
          <PointTable series={series} isAll={isAll} caption={`${KINDS.get(kind).label}: ${label}`} />
        </>
      )}
      {path !== undefined && (
        <Tools
          command={curl(urlOf(path, parameters), needsToken)}
          file={series?.length > 0 && `statshub-${view.dim}-${stat}.csv`}
          content={() => csv([["key", "ts", "step", "value"], ...series.flatMap(csvRows)])}
        />
      )}
    </>
  );
}

/** What the table has: all lines, and the total, which is no line where all keys are shown. */
function seriesOf(found, isAll) {
  if (!found || (isAll && found.lines.length === 0)) return found && [];
  return [...found.lines, found.total].filter(Boolean);
}

function csvRows({ key, points }) {
  return points.map(({ ts, step, value }) => [key, ts, step, value]);
}

/** What to do about an error. A history is not asked for again by itself. */
function adviceOn(error) {
  switch (error.status) {
    case 0:
      return "Check your connection.";
    case 400:
      return "Choose a shorter range, or another stat.";
    case 404:
      return "Try again, from the first page.";
    case 413:
      return "Choose a range with fewer steps, or the history of one key: click its name.";
    case 429:
    case 503:
      return "";
    default:
      return error.status >= 500 ? "The log of the service has the cause." : remedy(error);
  }
}

/** Asks for the series of a history: of all keys, the largest of those that have been read. */
function useSeries(path, parameters, isAll, { onMissing, onDenied }) {
  const [state, setState] = useState({ isLoading: true });
  const [attempt, setAttempt] = useState(0);
  const readOn = useRef();
  useEffect(() => {
    if (path === undefined) return setState({});
    const abort = new AbortController();
    const series = new LargestSeries();
    const readPage = async (page, limit) => {
      const ofPage = page ? [["page", page]] : [];
      const ofAll = isAll ? [["limit", String(limit)]] : [];
      const asked = [...parameters, ...ofAll, ...ofPage];
      return parseExactly((await ask(path, asked, { signal: abort.signal })).text);
    };
    const onPage = () => setState({ isLoading: true, found: series.found });
    const read = async (page) => {
      setState((before) => ({ found: page ? before.found : undefined, isLoading: true }));
      try {
        const next = await readPages(series, page, readPage, onPage);
        setState({ found: { ...series.found, next } });
      } catch (error) {
        if (abort.signal.aborted) return;
        // A later page may be gone; the first one is missing only where there is no archive.
        if (error.status === 404 && !page && series.found.keys === 0) onMissing(error.message);
        if (error.status === 401 || error.status === 403) onDenied(error);
        setState(({ found }) => ({ found, error }));
      }
    };
    readOn.current = read;
    read("");
    return () => abort.abort();
  }, [path, String(parameters), attempt]);
  return {
    ...state,
    retry: () => setAttempt(attempt + 1),
    readOn: () => readOn.current(state.found.next),
  };
}

/** What is not among the lines. `isPart`: whether reading has not come to an end. */
function Rest({ found: { lines, keys, next }, isPart, onReadOn }) {
  const rest = keys - lines.length;
  return (
    <>
      {rest > 0 && (
        <p>
          These are the {lines.length} keys with the largest last value
          {(next || isPart) && " so far"}.{" "}
          {rest === 1 ? "One more key is" : `${integer(rest)} more keys are`} left out; each has a history of its
          own.
        </p>
      )}
      {next && !isPart && (
        <p class="actions">
          <button type="button" onClick={onReadOn}>
            Read more keys
          </button>
          <span class="hint">
            {integer(keys)} keys are read, in the order of their names, and there are more. A range with fewer
            steps reads more at once.
          </span>
        </p>
      )}
    </>
  );
}

function PointTable({ series, isAll, caption }) {
  return (
    <div class="scroll points" role="region" aria-label="Points of the chart" tabIndex={0}>
      <table>
        <caption>
          <bdi>{caption}</bdi>
        </caption>
        <thead>
          <tr>
            <th scope="col">Start of the step</th>
            <th scope="col">Step</th>
            {series.map(({ key }) => (
              <th key={key} scope="col" class="number">
                {isAll ? nameOf(key) : "Value"}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rowsOf(series).map(({ id, ts, step, values }) => (
            <tr key={id}>
              <th scope="row">
                <time dateTime={ts}>{dayAndTime(Date.parse(ts))}</time>
              </th>
              <td>{stepText(Number(step))}</td>
              {values.map((value, index) => (
                <td key={series[index].key} class={value === undefined ? "number none" : "number"}>
                  {value === undefined ? "–" : decimal(value)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const STEPS = [
  [604_800, "week"],
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
];

function stepText(seconds) {
  const [length, unit] = STEPS.find(([length]) => seconds % length === 0) ?? [1, "second"];
  const count = seconds / length;
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}
