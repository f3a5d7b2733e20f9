import { Chart, type Line } from "../chart/Chart.tsx";
import { change, exact, quantity } from "../format/numbers.ts";
import { useAnswer } from "../api/useAnswer.ts";
import type { Shared } from "../state/shared.ts";
import { absolute } from "../state/time.ts";
import { Pending } from "../ui/Pending.tsx";
import type { Measure } from "./measures.ts";
import { gridOf, periods, type Headlines } from "./periods.ts";

/** One chart with the period before it, and the number of the whole period. */
export function MeasureCard({
  measure,
  shared,
  headline,
}: {
  measure: Measure;
  shared: Shared;
  headline: Headlines[string] | undefined;
}) {
  const grid = gridOf(shared.range);
  const expressions = measure.lines.map((line) => line.expression(shared.filters, grid.step));
  const answer = useAnswer(JSON.stringify([expressions, grid]), (signal) =>
    Promise.all(expressions.map((expression) => periods(expression, grid, signal))),
  );
  const { unit } = measure.headline;
  return (
    <section class="card measure" aria-labelledby={`measure-${measure.key}`}>
      <header>
        <h2 id={`measure-${measure.key}`} title={measure.what}>
          {measure.title}
        </h2>
        <p class="headline">
          <strong data-headline={measure.key} title={exact(headline?.now, unit)}>
            {quantity(headline?.now, unit)}
          </strong>{" "}
          <span class="muted">{measure.headline.note}</span>
          {headline && <Change now={headline.now} before={headline.before} worse={measure.worse} />}
        </p>
      </header>
      <Pending of={answer} what={measure.title} height={176}>
        {(lines) => (
          <Chart
            name={measure.title}
            times={lines[0]?.times ?? []}
            lines={drawn(measure, lines)}
            unit={measure.unit}
            sync="overview"
            range={shared.range}
            zoom={(range) => shared.setTime(absolute(range))}
          />
        )}
      </Pending>
    </section>
  );
}

const DASHES = [undefined, [6, 3], [2, 3]];

function drawn(measure: Measure, answers: readonly Awaited<ReturnType<typeof periods>>[]): Line[] {
  const single = answers.length === 1;
  const lines = answers.flatMap((answer, i): Line[] => {
    const dash = DASHES[i];
    return [
      {
        name: measure.lines[i]?.name ?? "",
        values: answer.now,
        colour: `series-${i + 1}`,
        filled: single,
        ...(dash ? { dash } : {}),
      },
    ];
  });
  // Of several lines one has its previous period, or the chart would be a tangle.
  const compared = single ? 0 : 1;
  const before = answers[compared]?.before ?? [];
  const name = single ? "previous period" : `previous ${measure.lines[compared]?.name ?? ""}`;
  return [{ name, values: before, colour: "previous", dash: [3, 3] }, ...lines];
}

function Change({ now, before, worse }: { now: number | null; before: number | null; worse: boolean }) {
  const text = change(now, before);
  const up = (now ?? 0) > (before ?? 0);
  const mark = text === "–" || now === before ? "" : up ? "▲ " : "▼ ";
  // A twentieth more or less is noise; beyond it more of what is bad is told by colour too.
  const matters =
    worse && now !== null && before !== null && Math.abs(now - before) > 0.05 * Math.max(now, before);
  return (
    <span
      class={`change ${matters ? (up ? "bad" : "good") : ""}`}
      title="against the period of the same length before"
    >
      {mark}
      {text}
    </span>
  );
}
