/** The state of the network at a glance, against the period before. */
import { useAnswer } from "../api/useAnswer.ts";
import { FilterBar } from "../filters/FilterBar.tsx";
import { localMinute } from "../format/time.ts";
import type { Shared } from "../state/shared.ts";
import { before } from "../state/time.ts";
import { Failure } from "../ui/Pending.tsx";
import { useTitle } from "../ui/useTitle.ts";
import { Health } from "./Health.tsx";
import { MeasureCard } from "./MeasureCard.tsx";
import { Movers } from "./Movers.tsx";
import { MEASURES } from "./measures.ts";
import { gridOf, headlines } from "./periods.ts";
import "./overview.css";

/** From this step on the number of the whole period is of the chart's own bounds: coarse tables can answer it. */
const COARSE = 300;

export function Overview(shared: Shared) {
  useTitle("Overview");
  const { range, filters } = shared;
  const grid = gridOf(range);
  const whole = grid.step < COARSE ? range : { start: grid.now.start - grid.step, end: grid.now.end };
  const expressions = Object.fromEntries(
    MEASURES.map((one) => [one.key, one.headline.expression(filters, whole.end - whole.start)]),
  );
  const totals = useAnswer(JSON.stringify([expressions, whole]), (signal) =>
    headlines(expressions, whole, signal),
  );
  const previous = before(range);
  return (
    <div class="overview">
      <header class="view-head">
        <h1>Overview</h1>
        <p class="muted">
          Dashed: the period before, {localMinute(previous.start)} to {localMinute(previous.end)}. Draw over a
          chart to look closer.
        </p>
      </header>
      <FilterBar shared={shared} />
      {totals.error && <Failure error={totals.error} retry={totals.retry} />}
      <div class="measures" aria-busy={totals.loading}>
        {MEASURES.map((measure) => (
          <MeasureCard
            key={measure.key}
            measure={measure}
            shared={shared}
            headline={totals.data?.[measure.key]}
          />
        ))}
      </div>
      <div class="below">
        <Movers shared={shared} />
        <Health shared={shared} />
      </div>
    </div>
  );
}
