/** What agents measure of nodes, network cards, workloads and DNS. */
import { labelValues } from "../api/prometheus.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { FilterSelect } from "./FilterSelect.tsx";
import type { Filter } from "../state/filters.ts";
import type { Shared } from "../state/shared.ts";
import { Empty, Pending } from "../ui/Pending.tsx";
import { useTitle } from "../ui/useTitle.ts";
import { PanelCard } from "./PanelCard.tsx";
import { SECTIONS, type Selection } from "./panels.ts";
import "./performance.css";

/** Names of metrics that one request tells; agents have about a hundred. */
const MOST_NAMES = 2000;

export function Performance(shared: Shared) {
  useTitle("Metrics");
  const { range, params, setParams } = shared;
  const node = params.get("node");
  const workload = params.get("workload");
  const only = (field: string, value: string | null): Filter[] =>
    value === null ? [] : [{ field, operator: "=", value }];
  const selection: Selection = { node: only("node", node), workload: only("workload", workload) };
  const there = useAnswer(JSON.stringify(range), (signal) =>
    labelValues("__name__", ['{__name__=~"weir_.+"}'], range, MOST_NAMES, signal),
  );
  return (
    <div class="performance">
      <header class="view-head">
        <h1>Metrics</h1>
        <p class="muted">
          Samples that agents send beside flows: the kernel's and the network card's own counters.
        </p>
      </header>
      <div class="toolbar">
        <FilterSelect
          label="Node"
          all="all nodes"
          match={'{__name__="weir_agent_intervals_total"}'}
          field="node"
          range={range}
          value={node}
          set={(value) => setParams({ node: value })}
        />
        <FilterSelect
          label="Workload"
          all="all workloads"
          match={'{__name__="weir_workload_tx_bytes_total"}'}
          field="workload"
          range={range}
          value={workload}
          set={(value) => setParams({ workload: value })}
        />
        <nav class="row push" aria-label="Sections">
          {SECTIONS.map((section) => (
            <a key={section.key} href={`#${section.key}`} onClick={jump}>
              {section.title}
            </a>
          ))}
        </nav>
      </div>
      <Pending of={there} what="names of metrics" height={420}>
        {(names) =>
          names.length === 0 ? (
            <div class="card">
              <Empty title="No agent sent metrics of its node in this range">
                <p>
                  Agents send them once an interval unless they are started with <code>--no-samples</code>. If
                  Prometheus scrapes agents instead (port 9471), let it write to this server:{" "}
                  <code>
                    remote_write: [{"{"}url: {window.location.origin}/api/v1/write{"}"}]
                  </code>
                  .
                </p>
              </Empty>
            </div>
          ) : (
            SECTIONS.map((section) => (
              <section key={section.key} aria-labelledby={section.key}>
                <h2 id={section.key} tabIndex={-1}>
                  {section.title}
                </h2>
                <div class="measures">
                  {section.panels
                    .filter((panel) => panel.metrics.some((metric) => names.includes(metric)))
                    .map((panel) => (
                      <PanelCard key={panel.title} panel={panel} shared={shared} selection={selection} />
                    ))}
                </div>
                <Missing
                  panels={section.panels.filter((panel) => !panel.metrics.some((m) => names.includes(m)))}
                />
              </section>
            ))
          )
        }
      </Pending>
    </div>
  );
}

/** What there is no data of, and why. */
function Missing({ panels }: { panels: (typeof SECTIONS)[number]["panels"] }) {
  const reasons = [...new Set(panels.map((panel) => panel.missing))];
  return (
    <>
      {reasons.map((reason) => (
        <p key={reason} class="missing">
          <strong>
            {panels
              .filter((panel) => panel.missing === reason)
              .map((panel) => panel.title)
              .join(", ")}
          </strong>
          : {reason}{" "}
          <span class="muted">
            (
            {panels
              .filter((panel) => panel.missing === reason)
              .flatMap((panel) => panel.metrics)
              .map((metric, i) => (
                <>
                  {i > 0 && ", "}
                  <code>{metric}</code>
                </>
              ))}
            )
          </span>
        </p>
      ))}
    </>
  );
}

/** Moves to a section without making it part of the link. */
function jump(event: MouseEvent): void {
  event.preventDefault();
  const { currentTarget } = event;
  if (!(currentTarget instanceof HTMLAnchorElement)) return;
  const heading = document.getElementById(currentTarget.hash.slice(1));
  heading?.scrollIntoView({ block: "start" });
  heading?.focus({ preventScroll: true });
}
