import { useRef } from "preact/hooks";
import { Explore } from "./explore/index.tsx";
import { Flows } from "./flows/index.tsx";
import { ServiceMap } from "./map/index.tsx";
import { Overview } from "./overview/index.tsx";
import { Performance } from "./performance/index.tsx";
import { Header, follow } from "./shell/Header.tsx";
import { TokenDialog } from "./shell/TokenDialog.tsx";
import { useShared } from "./shell/useShared.ts";
import { usePlace, type View } from "./state/location.ts";
import type { Shared } from "./state/shared.ts";

const COMPONENTS: Record<View, (shared: Shared) => preact.JSX.Element> = {
  overview: Overview,
  map: ServiceMap,
  flows: Flows,
  performance: Performance,
  explore: Explore,
};

export function App() {
  const place = usePlace();
  const { shared, refresh, wrong } = useShared(place);
  const main = useRef<HTMLElement>(null);
  const Shown = place.view === null ? null : COMPONENTS[place.view];
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to content
      </a>
      <Header view={place.view} shared={shared} refresh={refresh} />
      <main id="main" ref={main} tabIndex={-1}>
        {wrong !== null && (
          <p class="wrong" role="alert">
            The time range of this link cannot be read: {wrong}. This is the last hour.
          </p>
        )}
        {Shown === null ? (
          <div class="empty">
            <h1>There is no such page</h1>
            <p>
              <a href={shared.href("overview")} onClick={follow}>
                Overview
              </a>
            </p>
          </div>
        ) : (
          <Shown {...shared} />
        )}
      </main>
      <TokenDialog />
    </>
  );
}
