/** A small line without axes. Gaps are where nothing is known. */

const WIDTH = 96;
const HEIGHT = 20;

export function Sparkline(props: { values: readonly (number | null)[]; name: string; max?: number }) {
  const known = props.values.filter((value) => value !== null);
  const max = props.max ?? known.reduce((a, b) => Math.max(a, b), 0);
  if (known.length === 0) return <span class="muted">–</span>;
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={props.name}>
      <path d={path(props.values, max)} />
    </svg>
  );
}

function path(values: readonly (number | null)[], max: number): string {
  const step = values.length > 1 ? WIDTH / (values.length - 1) : 0;
  let drawing = false;
  let out = "";
  values.forEach((value, i) => {
    if (value === null) {
      drawing = false;
      return;
    }
    const y = HEIGHT - 1.5 - (max > 0 ? value / max : 0) * (HEIGHT - 3);
    out += `${drawing ? "L" : "M"}${(i * step).toFixed(1)} ${y.toFixed(1)}`;
    // A point between two gaps is a line of no length, which round ends make visible.
    if (!drawing) out += "h0";
    drawing = true;
  });
  return out;
}
