/** Asking again: at once, or every so often. */
export const INTERVALS: readonly { value: string; seconds: number; label: string }[] = [
  { value: "", seconds: 0, label: "Manual" },
  { value: "10s", seconds: 10, label: "10 s" },
  { value: "30s", seconds: 30, label: "30 s" },
  { value: "1m", seconds: 60, label: "1 min" },
  { value: "5m", seconds: 300, label: "5 min" },
];

export function Refresh(props: { every: string; set(every: string): void; now(): void }) {
  return (
    <div class="refresh">
      <button type="button" title="Ask again now" aria-label="Refresh now" onClick={props.now}>
        ↻
      </button>
      <select
        aria-label="Refresh interval"
        value={props.every}
        onChange={(event) => props.set(event.currentTarget.value)}
      >
        {INTERVALS.map((one) => (
          <option key={one.value} value={one.value}>
            {one.label}
          </option>
        ))}
      </select>
    </div>
  );
}
