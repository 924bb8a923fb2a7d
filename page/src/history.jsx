// What is archived of one stat: a chart, and the same as a table.

import { useEffect, useRef, useState } from "preact/hooks";

import { ask, urlOf } from "./api.js";
import { parseExactly } from "./exact_json.js";
import { curl, csv, dayAndTime, decimal } from "./text.js";
import { KINDS } from "./table.js";
import { Failure, SelectField, Tools, nameOf } from "./parts.jsx";
import { AGGREGATES, RANGES, historyParameters, historyPath, splitId } from "./view.js";

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
        <button type="button" onClick={close}>
          Close
        </button>
      </header>
      {stats.length === 0 && !history ? (
        <p>Nothing of this key is archived.</p>
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
  const path = historyPath(view);
  const parameters = historyParameters(view, Date.now());
  const { points, error, isLoading, retry } = usePoints(path, parameters, { onMissing, onDenied });
  const [kind, stat] = splitId(view.history);
  const label = `${view.of} ${stat}`;
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
      {isLoading && <p aria-busy="true">Loading…</p>}
      {error && <Failure error={error} onRetry={retry} />}
      {points?.length === 0 && <p>Nothing is archived of this stat in this range.</p>}
      {points?.length > 0 && (
        <>
          <Chart points={points} label={label} />
          <PointTable points={points} caption={`${KINDS.get(kind).label}: ${label}`} />
        </>
      )}
      {path !== undefined && (
        <Tools
          command={curl(urlOf(path, parameters), needsToken)}
          file={points?.length > 0 && `statshub-${view.dim}-${stat}.csv`}
          content={() =>
            csv([["key", "ts", "step", "value"], ...points.map((it) => [view.of, it.ts, it.step, it.value])])
          }
        />
      )}
    </>
  );
}

/** Asks for the points of a history, in their order. */
function usePoints(path, parameters, { onMissing, onDenied }) {
  const [state, setState] = useState({ isLoading: true });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (path === undefined) return setState({});
    const abort = new AbortController();
    setState({ isLoading: true });
    ask(path, parameters, { signal: abort.signal })
      .then(({ text }) => {
        const [points = []] = Object.values(parseExactly(text).series);
        setState({ points: points.toSorted(byTime) });
      })
      .catch((error) => {
        if (abort.signal.aborted) return;
        if (error.status === 404) onMissing(error.message);
        if (error.status === 401 || error.status === 403) onDenied(error);
        setState({ error });
      });
    return () => abort.abort();
  }, [path, String(parameters), attempt]);
  return { ...state, retry: () => setAttempt(attempt + 1) };
}

function byTime(a, b) {
  return Date.parse(a.ts) - Date.parse(b.ts);
}

function Chart({ points, label }) {
  const element = useRef();
  const [isGone, setGone] = useState(false);
  useEffect(() => {
    let remove, isOver;
    import("./chart.js").then(
      ({ draw }) => {
        if (!isOver) remove = draw(element.current, points, label);
      },
      () => setGone(true),
    );
    return () => {
      isOver = true;
      remove?.();
    };
  }, [points, label]);
  if (isGone) return <p>The chart can’t be loaded. If the page has changed meanwhile, load it again.</p>;
  return (
    <figure class="chart">
      <div ref={element} class="canvas" />
      <figcaption>
        <bdi>{label}</bdi>: {points.length} {points.length === 1 ? "point" : "points"} from{" "}
        {dayAndTime(Date.parse(points[0].ts))} to {dayAndTime(Date.parse(points.at(-1).ts))}. The table has
        all digits.
      </figcaption>
    </figure>
  );
}

function PointTable({ points, caption }) {
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
            <th scope="col" class="number">
              Value
            </th>
          </tr>
        </thead>
        <tbody>
          {points.toReversed().map(({ ts, step, value }) => (
            <tr key={`${ts} ${step}`}>
              <th scope="row">
                <time dateTime={ts}>{dayAndTime(Date.parse(ts))}</time>
              </th>
              <td>{stepText(Number(step))}</td>
              <td class="number">{decimal(value)}</td>
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
