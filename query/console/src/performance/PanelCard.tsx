import { queryRange } from "../api/prometheus.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { Chart } from "../chart/Chart.tsx";
import { timesOf } from "../chart/matrix.ts";
import { topLines } from "../chart/topLines.ts";
import { follow } from "../shell/Header.tsx";
import type { Shared } from "../state/shared.ts";
import { absolute, stepFor, stepsOf } from "../state/time.ts";
import { Pending } from "../ui/Pending.tsx";
import { LEAST_WINDOW, type Panel, type Selection } from "./panels.ts";

const POINTS = 160;
const LINES = 8;

export function PanelCard({
  panel,
  shared,
  selection,
}: {
  panel: Panel;
  shared: Shared;
  selection: Selection;
}) {
  const step = stepFor(shared.range, POINTS);
  const grid = stepsOf(shared.range, step);
  const expression = panel.expression(selection, Math.max(step, LEAST_WINDOW));
  const answer = useAnswer(JSON.stringify([expression, grid, step]), async (signal) => {
    const { data } = await queryRange(expression, grid, step, signal);
    const top = topLines(data.result, grid, step, LINES, (labels) => {
      const parts = panel.name.map((name) => labels[name] ?? "").filter((value) => value !== "");
      return parts.length === 0 ? "all" : parts.join(" ");
    });
    return { times: timesOf(grid, step), ...top };
  });
  return (
    <section class="card" aria-label={panel.title}>
      <header class="row">
        <h3 class="panel-title" title={panel.what}>
          {panel.title}
        </h3>
        <a
          class="push"
          href={shared.href("explore", { q: expression }, [])}
          onClick={follow}
          title={expression}
        >
          Explore
        </a>
      </header>
      <p class="muted small">{panel.what}</p>
      <Pending of={answer} what={panel.title} height={170}>
        {({ times, lines, more }) =>
          lines.length === 0 ? (
            <p class="muted none">No samples for this selection</p>
          ) : (
            <>
              <Chart
                name={panel.title}
                times={times}
                lines={lines}
                unit={panel.unit}
                height={140}
                range={shared.range}
                sync="performance"
                zoom={(range) => shared.setTime(absolute(range))}
              />
              {more > 0 && <p class="muted small">and {more} more with less; Explore shows all of them</p>}
            </>
          )
        }
      </Pending>
    </section>
  );
}
