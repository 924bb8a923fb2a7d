// Lines over time. In a file of its own, which is loaded when somebody looks at a history.

import uPlot from "uplot";

const HEIGHT = 280;
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });

/**
 * Draws lines `{ label, color, fill, dash, points }` into an element: points are `{ ts, value }`, colours
 * are names of CSS variables. A canvas has doubles; the table beside it has all digits. Returns a function
 * that removes the chart.
 */
export function draw(element, lines) {
  const data = aligned(lines);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let plot;
  const make = () => {
    plot?.destroy();
    plot = new uPlot(options(element, lines), data, element);
    plot.ctx.canvas.setAttribute("aria-hidden", "true");
  };
  make();
  const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
  resized.observe(element);
  dark.addEventListener("change", make);
  return () => {
    resized.disconnect();
    dark.removeEventListener("change", make);
    plot.destroy();
  };
}

// A line goes on over steps that only others have: to uPlot, `undefined` is no gap.
function aligned(lines) {
  const seconds = ({ ts }) => Date.parse(ts) / 1000;
  const times = [...new Set(lines.flatMap(({ points }) => points.map(seconds)))].sort((a, b) => a - b);
  const values = lines.map(({ points }) => {
    const byTime = new Map(points.map((point) => [seconds(point), Number(point.value)]));
    return times.map((time) => byTime.get(time));
  });
  return [times, ...values];
}

function options(element, lines) {
  const style = getComputedStyle(element);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: color("--quiet"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { stroke: color("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_, least, most) => range(least, most) } },
    axes: [axis, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => COMPACT.format(tick)) }],
    series: [{}, ...lines.map((line) => series(line, color))],
  };
}

function series({ label, color: name, fill, dash }, color) {
  return {
    label,
    stroke: color(name),
    fill: fill && color(fill),
    dash,
    width: 2,
    points: { fill: color(name), size: 5 },
  };
}

// A line that stays the same is drawn in the middle, and not as noise.
function range(least, most) {
  if (least === null || most === null) return [0, 1];
  const margin = (most - least) / 10 || Math.abs(most) / 10 || 1;
  return [least >= 0 ? Math.max(0, least - margin) : least - margin, most + margin];
}
