/** Lines over time, with a legend that shows the values under the pointer, or else the highest. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { UNKNOWN, quantity, type Unit } from "../format/numbers.ts";
import { localTime, utc } from "../format/time.ts";
import { useColours } from "../shell/theme.ts";
import type { Range } from "../state/time.ts";
import { TIME_INCREMENTS, VALUE_INCREMENTS, timeLabels } from "./axis.ts";
import { colour } from "./colours.ts";

export interface Line {
  name: string;
  /** One a time; null where nothing is known. */
  values: readonly (number | null)[];
  /** Name of a colour of the style sheet. */
  colour: string;
  /** Lengths of strokes and gaps, so that colour is not all that tells lines apart. */
  dash?: number[];
  /** Whether the area below is tinted. */
  filled?: boolean;
}

export function Chart(props: {
  /** What is shown, for screen readers. */
  name: string;
  /** Unix seconds. */
  times: readonly number[];
  lines: readonly Line[];
  unit: Unit;
  height?: number;
  /** The range that the axis spans; default: the times. */
  range?: Range;
  /** Charts with the same key show the same moment. */
  sync?: string;
  /** Called with what the user drew over. */
  zoom?(range: Range): void;
  /** Most entries of the legend. */
  legend?: number;
}) {
  const { times, lines, unit, range } = props;
  const height = props.height ?? 150;
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [under, setUnder] = useState<number | null>(null);
  const colours = useColours();
  const zoom = useRef(props.zoom);
  zoom.current = props.zoom;
  const bounds = useRef(range);
  bounds.current = range;

  // What the plot is made of; other data alone does not make it anew.
  const shape = JSON.stringify([
    lines.map((l) => [l.name, l.colour, l.dash, l.filled]),
    unit,
    height,
    props.sync,
    colours,
  ]);
  const data = useMemo(
    () => [[...times], ...lines.map((line) => [...line.values])] as uPlot.AlignedData,
    [times, lines],
  );

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const made = new uPlot(options(element.clientWidth), data, element);
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0 && element.clientWidth !== made.width) {
        made.setSize({ width: element.clientWidth, height });
      }
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => {
    plot.current?.setData(data);
  }, [data, range?.start, range?.end]);

  function options(width: number): uPlot.Options {
    const muted = colour("muted");
    const grid = { stroke: colour("line"), width: 1 };
    const ticks = { ...grid, size: 4 };
    const font = "11px system-ui, sans-serif";
    return {
      width,
      height,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        points: { size: 6 },
        ...(props.sync === undefined ? {} : { sync: { key: props.sync } }),
      },
      scales: {
        x: {
          time: true,
          range: (_, min, max) => (bounds.current ? [bounds.current.start, bounds.current.end] : [min, max]),
        },
        y: {
          range: (_, min, max) => {
            const low = Math.min(0, min ?? 0);
            return !(max > low) ? [low, low + 1] : [low, max + (max - low) * 0.06];
          },
        },
      },
      axes: [
        {
          stroke: muted,
          grid,
          ticks,
          font,
          incrs: TIME_INCREMENTS,
          space: 64,
          values: (_u, splits, _axis, _space, increment) => timeLabels(splits, increment),
          size: 32,
        },
        {
          stroke: muted,
          grid,
          ticks,
          font,
          incrs: VALUE_INCREMENTS,
          space: 28,
          size: 72,
          values: (_u, splits) => splits.map((value) => quantity(value, unit)),
        },
      ],
      series: [
        {},
        ...lines.map((line) => ({
          label: line.name,
          stroke: colour(line.colour),
          width: 1.6,
          spanGaps: false,
          points: { show: false, size: 4 },
          ...(line.dash ? { dash: line.dash } : {}),
          ...(line.filled ? { fill: faint(colour(line.colour)) } : {}),
        })),
      ],
      hooks: {
        setCursor: [(u) => setUnder(u.cursor.idx ?? null)],
        setSelect: [
          (u) => {
            const { left, width: drawn } = u.select;
            if (drawn > 4) {
              zoom.current?.({ start: u.posToVal(left, "x"), end: u.posToVal(left + drawn, "x") });
            }
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
    };
  }

  const shown = lines.slice(0, props.legend ?? 12);
  const at = under !== null && under < times.length ? under : null;
  return (
    <figure class="chart">
      <div
        ref={place}
        class="plot"
        role="img"
        aria-label={summary(props.name, lines, unit)}
        style={{ height: `${height}px` }}
      />
      <figcaption>
        <ul class="legend">
          {shown.map((line) => (
            <li key={line.name}>
              <svg viewBox="0 0 18 4" aria-hidden="true">
                <line
                  x1="0"
                  x2="18"
                  y1="2"
                  y2="2"
                  style={{ stroke: `var(--${line.colour})` }}
                  stroke-dasharray={line.dash?.join(" ")}
                />
              </svg>
              <span class="legend-name">{line.name}</span>
              {at === null && <small class="muted">peak</small>}
              <span class="number">{quantity(at === null ? peak(line.values) : line.values[at], unit)}</span>
            </li>
          ))}
          {lines.length > shown.length && <li class="muted">{lines.length - shown.length} more</li>}
        </ul>
        <span class="legend-time muted" title={at === null ? undefined : utc(times[at] ?? 0)}>
          {at === null ? "" : localTime(times[at] ?? 0)}
        </span>
      </figcaption>
    </figure>
  );
}

function last(values: readonly (number | null)[]): number | null {
  return values.findLast((value) => value !== null) ?? null;
}

function peak(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((a, b) => Math.max(a, b));
}

/** A chart in words: the newest and the highest value of each line. */
function summary(name: string, lines: readonly Line[], unit: Unit): string {
  const parts = lines.slice(0, 6).map((line) => {
    const highest = peak(line.values);
    if (highest === null) return `${line.name}: no data`;
    return `${line.name}: last ${quantity(last(line.values), unit)}, highest ${quantity(highest, unit)}`;
  });
  return `${name}. ${parts.length === 0 ? UNKNOWN : parts.join("; ")}`;
}

/** The colour at a tenth of its strength. */
function faint(rgb: string): string {
  return rgb.replace(/^rgb\((.*)\)$/, "rgba($1, 0.1)");
}
