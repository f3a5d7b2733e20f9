/** The time range: quick ranges, or two bounds, relative or absolute. */
import { useState } from "preact/hooks";
import { localMinute, localTime, utc, zone } from "../format/time.ts";
import { duration } from "../format/numbers.ts";
import {
  QUICK_RANGES,
  absolute,
  durationSeconds,
  isRelative,
  moment,
  resolve,
  type Range,
  type TimeChoice,
} from "../state/time.ts";
import { Popover } from "../ui/Popover.tsx";

/** What the button says. */
export function describe(time: TimeChoice, range: Range): string {
  const quick = time.to === "now" && QUICK_RANGES.find((one) => one.from === time.from);
  if (quick) return quick.label;
  const last = time.to === "now" ? /^now-(.+)$/.exec(time.from) : null;
  if (last) return `Last ${duration(durationSeconds(last[1] ?? "") ?? 0)}`;
  if (isRelative(time)) return `${time.from} – ${time.to}`;
  const seconds = range.start % 60 !== 0 || range.end % 60 !== 0;
  const clock = localTime(range.end, range.end);
  const end = sameDay(range) ? (seconds ? clock : clock.slice(0, 5)) : localMinute(range.end);
  return `${localMinute(range.start)} – ${end} ${zone(range.end)}`;
}

function sameDay(range: Range): boolean {
  return new Date(range.start * 1000).toDateString() === new Date(range.end * 1000).toDateString();
}

/** Absolute bounds in the reader's zone, as the fields take them. */
function text(bound: string): string {
  if (bound.startsWith("now")) return bound;
  const at = moment(bound, 0);
  return at === null ? bound : localMinute(at);
}

/** What a field says, as a bound: relative as it is, absolute in UTC. */
function bound(field: string): string {
  const trimmed = field.trim();
  if (trimmed.startsWith("now")) return trimmed.replace(/\s+/g, "");
  const at = moment(trimmed, 0);
  return at === null ? trimmed : new Date(at * 1000).toISOString().replace(".000Z", "Z");
}

export function TimePicker(props: { time: TimeChoice; range: Range; set(time: TimeChoice): void }) {
  const { time, range, set } = props;
  return (
    <div class="time">
      <button
        type="button"
        class="step-back"
        title="Earlier by one length of the range"
        aria-label="Earlier"
        onClick={() => set(absolute(moved(range, -1)))}
      >
        ‹
      </button>
      <Popover
        name="Time range"
        class="time-choice"
        align="end"
        title={`${utc(range.start)} to ${utc(range.end)} (${duration(range.end - range.start)})`}
        label={describe(time, range)}
      >
        {(close) => (
          <Choices
            time={time}
            range={range}
            set={(next) => {
              set(next);
              close();
            }}
          />
        )}
      </Popover>
      <button
        type="button"
        class="step-on"
        title="Later by one length of the range"
        aria-label="Later"
        disabled={time.to === "now"}
        onClick={() => set(absolute(moved(range, 1)))}
      >
        ›
      </button>
    </div>
  );
}

function moved(range: Range, by: number): Range {
  const length = range.end - range.start;
  return { start: range.start + by * length, end: range.end + by * length };
}

function Choices({ time, range, set }: { time: TimeChoice; range: Range; set(time: TimeChoice): void }) {
  const [from, setFrom] = useState(text(time.from));
  const [to, setTo] = useState(text(time.to));
  const [wrong, setWrong] = useState<string | null>(null);
  return (
    <div class="time-choices">
      <ul class="quick">
        {QUICK_RANGES.map((quick) => {
          const chosen = time.from === quick.from && time.to === "now";
          return (
            <li key={quick.from}>
              <button
                type="button"
                class={chosen ? "chosen" : ""}
                aria-pressed={chosen}
                onClick={() => set({ from: quick.from, to: "now" })}
              >
                {quick.label}
              </button>
            </li>
          );
        })}
      </ul>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const next = { from: bound(from), to: bound(to) };
          const resolved = resolve(next, Date.now() / 1000);
          if (typeof resolved === "string") setWrong(resolved);
          else set(next);
        }}
      >
        <label>
          From
          <input value={from} onInput={(event) => setFrom(event.currentTarget.value)} />
        </label>
        <label>
          To
          <input value={to} onInput={(event) => setTo(event.currentTarget.value)} />
        </label>
        {wrong !== null && (
          <p class="wrong" role="alert">
            {wrong}
          </p>
        )}
        <p class="hint">
          <code>2026-01-31 14:00</code> in your zone, with <code>Z</code> in UTC, or <code>now-90m</code>.
        </p>
        <div class="actions">
          <button type="submit" class="primary">
            Apply
          </button>
          <button
            type="button"
            onClick={() => set(absolute(range))}
            title="So that a link shows this very time"
          >
            Pin
          </button>
        </div>
      </form>
    </div>
  );
}
