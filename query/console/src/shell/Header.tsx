import type { Shared } from "../state/shared.ts";
import type { View } from "../state/location.ts";
import { go } from "../state/location.ts";
import { Refresh } from "./Refresh.tsx";
import { ThemeSwitch } from "./ThemeSwitch.tsx";
import { TimePicker } from "./TimePicker.tsx";

const TABS: readonly { view: View; label: string }[] = [
  { view: "overview", label: "Overview" },
  { view: "map", label: "Map" },
  { view: "flows", label: "Flows" },
  { view: "performance", label: "Metrics" },
  { view: "explore", label: "Explore" },
];

/** Follows a link within the page, unless the user wants it elsewhere (another tab, a download). */
export function follow(event: MouseEvent): void {
  const anchor = event.currentTarget;
  if (!(anchor instanceof HTMLAnchorElement)) return;
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(anchor.pathname + anchor.search);
}

export function Header(props: { view: View | null; shared: Shared; refresh(): void }) {
  const { shared, view } = props;
  return (
    <header class="shell">
      <a class="brand" href={shared.href("overview")} onClick={follow} aria-label="Weir, overview">
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="7" />
          <path d="M5 11c4 0 4 3 8 3s4-3 8-3 4 3 6 3M5 19c4 0 4 3 8 3s4-3 8-3 4 3 6 3" />
        </svg>
        <span>Weir</span>
      </a>
      <nav aria-label="Views">
        {TABS.map((tab) => (
          <a
            key={tab.view}
            href={shared.href(tab.view)}
            aria-current={tab.view === view ? "page" : undefined}
            onClick={follow}
          >
            {tab.label}
          </a>
        ))}
      </nav>
      <div class="controls">
        <TimePicker time={shared.time} range={shared.range} set={shared.setTime} />
        <Refresh
          every={shared.params.get("refresh") ?? ""}
          set={(every) => shared.setParams({ refresh: every === "" ? null : every }, true)}
          now={props.refresh}
        />
        <ThemeSwitch />
      </div>
    </header>
  );
}
