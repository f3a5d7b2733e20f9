/** Questions of the user's own: PromQL, SQL, and where traffic goes as a Sankey diagram. */
import type { Shared } from "../state/shared.ts";
import { useTitle } from "../ui/useTitle.ts";
import { PromqlExplorer } from "./PromqlExplorer.tsx";
import { SankeyExplorer } from "./SankeyExplorer.tsx";
import { SqlExplorer } from "./SqlExplorer.tsx";
import "./explore.css";

const LANGUAGES = [
  { key: "promql", label: "PromQL" },
  { key: "sql", label: "SQL" },
  { key: "sankey", label: "Sankey" },
] as const;

export function Explore(shared: Shared) {
  useTitle("Explore");
  const wanted = shared.params.get("lang");
  const language = LANGUAGES.find((one) => one.key === wanted)?.key ?? "promql";
  return (
    <div class="explore">
      <header class="view-head">
        <h1>Explore</h1>
        <div class="views" role="group" aria-label="Language">
          {LANGUAGES.map(({ key, label }) => (
            <button
              key={key}
              type="button"
              aria-pressed={key === language}
              onClick={() => shared.setParams({ lang: key === "promql" ? null : key, q: null, show: null })}
            >
              {label}
            </button>
          ))}
        </div>
      </header>
      {language === "promql" && <PromqlExplorer shared={shared} />}
      {language === "sql" && <SqlExplorer shared={shared} />}
      {language === "sankey" && <SankeyExplorer shared={shared} />}
    </div>
  );
}
