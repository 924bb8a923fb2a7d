// The lines of a history, and which is which.

import { useEffect, useRef, useState } from "preact/hooks";

import { rowsOf } from "./history_series.js";
import { HistoryLink } from "./parts.jsx";
import { dayAndTime, integer } from "./text.js";

/** How lines differ: in their colours, and for those who don't see these, in their dashes. */
const LOOKS = [
  [],
  [9, 4],
  [2, 3],
  [12, 3, 2, 3],
  [18, 5],
  [6, 2, 2, 2, 2, 2],
  [4, 8],
  [14, 3, 5, 3],
].map((dash, index) => ({ color: `--series-${index + 1}`, dash }));
/** A line that is alone. */
const ONE_LOOK = { color: "--accent", fill: "--accent-faint" };

/** The names of lines, which lead to the histories of their keys. */
export function Legend({ lines, view, go }) {
  return (
    <ul class="legend" aria-label="Lines of the chart">
      {lines.map(({ key }, index) => (
        <li key={key}>
          <svg width="36" height="10" aria-hidden="true">
            <line
              x2="36"
              y1="5"
              y2="5"
              stroke-width="3"
              stroke-dasharray={LOOKS[index].dash.join(" ")}
              style={{ stroke: `var(${LOOKS[index].color})` }}
            />
          </svg>
          <HistoryLink view={view} change={go} of={key} history={view.history}>
            <bdi>{key}</bdi>
          </HistoryLink>
        </li>
      ))}
    </ul>
  );
}

/** Draws series: the largest of all keys, or one that is alone. */
export function Chart({ lines, label, isAll, hasTotal }) {
  const element = useRef();
  const [isGone, setGone] = useState(false);
  useEffect(() => {
    let remove, isOver;
    const drawn = lines.map(({ key, points }, index) => ({
      ...(isAll ? LOOKS[index] : ONE_LOOK),
      label: key,
      points,
    }));
    import("./chart.js").then(
      ({ draw }) => {
        if (!isOver) remove = draw(element.current, drawn);
      },
      () => setGone(true),
    );
    return () => {
      isOver = true;
      remove?.();
    };
  }, [lines, isAll]);
  if (isGone) return <p>The chart can’t be loaded. If the page has changed meanwhile, load it again.</p>;
  const steps = rowsOf(lines);
  return (
    <figure class="chart">
      <div ref={element} class="canvas" />
      <figcaption>
        <bdi>{label}</bdi>: {integer(steps.length)} {steps.length === 1 ? "point" : "points"} from{" "}
        {dayAndTime(Date.parse(steps.at(-1).ts))} to {dayAndTime(Date.parse(steps[0].ts))}. The table has all
        digits{hasTotal && ", and the total"}.
      </figcaption>
    </figure>
  );
}
