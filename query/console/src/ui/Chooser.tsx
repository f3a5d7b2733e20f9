/** Chooses some of many things and their order. */
import { useState } from "preact/hooks";

export function Chooser(props: {
  name: string;
  all: readonly string[];
  chosen: readonly string[];
  label(one: string): string;
  title?(one: string): string;
  set(chosen: readonly string[]): void;
  /** At least this many stay chosen. */
  least?: number;
}) {
  const { all, chosen, label, set } = props;
  const [search, setSearch] = useState("");
  const least = props.least ?? 0;
  const rest = all.filter(
    (one) => !chosen.includes(one) && `${one} ${label(one)}`.toLowerCase().includes(search.toLowerCase()),
  );
  const move = (index: number, by: number) => {
    const next = [...chosen];
    const [one] = next.splice(index, 1);
    if (one !== undefined) next.splice(index + by, 0, one);
    set(next);
  };
  return (
    <div class="chooser">
      <ul aria-label={`${props.name}, chosen`}>
        {chosen.map((one, i) => (
          <li key={one} title={props.title?.(one)}>
            <span class="chooser-name">{label(one)}</span>
            <button
              type="button"
              aria-label={`Move ${label(one)} up`}
              disabled={i === 0}
              onClick={() => move(i, -1)}
            >
              ↑
            </button>
            <button
              type="button"
              aria-label={`Move ${label(one)} down`}
              disabled={i === chosen.length - 1}
              onClick={() => move(i, 1)}
            >
              ↓
            </button>
            <button
              type="button"
              aria-label={`Take ${label(one)} out`}
              disabled={chosen.length <= least}
              onClick={() => set(chosen.filter((other) => other !== one))}
            >
              ×
            </button>
          </li>
        ))}
      </ul>
      <input
        type="search"
        aria-label={`Search ${props.name}`}
        placeholder={rest.length === 0 ? "Add…" : `Add… (${rest.length} more)`}
        value={search}
        onInput={(event) => setSearch(event.currentTarget.value)}
      />
      <ul aria-label={`${props.name}, others`} class="rest">
        {rest.map((one) => (
          <li key={one}>
            <button
              type="button"
              title={props.title?.(one)}
              onClick={() => {
                setSearch("");
                set([...chosen, one]);
              }}
            >
              + {label(one)}
            </button>
          </li>
        ))}
        {rest.length === 0 && <li class="muted">nothing more</li>}
      </ul>
    </div>
  );
}
