/** Filters as chips: each can be changed, negated and taken out. */
import { useRef } from "preact/hooks";
import { OPERATOR_NAMES, type Filter, type Operator } from "../state/filters.ts";
import { labelName } from "../state/labels.ts";
import type { Shared } from "../state/shared.ts";
import { Popover } from "../ui/Popover.tsx";
import { FilterForm } from "./FilterForm.tsx";
import "./filters.css";

const NEGATED: Record<Operator, Operator> = { "=": "!=", "!=": "=", "=~": "!~", "!~": "=~" };

export function FilterBar({ shared }: { shared: Shared }) {
  const { filters, range, setFilters } = shared;
  const bar = useRef<HTMLDivElement>(null);
  const replaced = (index: number, by: Filter) =>
    setFilters(filters.map((one, i) => (i === index ? by : one)));
  /** Takes filters out along with the button that did it: the focus goes to what stays. */
  const leave = (left: readonly Filter[]) => {
    bar.current?.querySelector<HTMLElement>(".add button")?.focus();
    setFilters(left);
  };
  return (
    <div class="filters" role="group" aria-label="Filters" ref={bar}>
      {filters.map((filter, i) => {
        const { field, operator, value } = filter;
        const text = `${labelName(field)} ${OPERATOR_NAMES[operator]} ${value === "" ? "absent" : value}`;
        return (
          // By place, so that a chip that is negated stays the element that has the focus.
          <div key={i} class={operator.startsWith("!") ? "chip negated" : "chip"}>
            <Popover
              name={`Filter: ${text}`}
              label={
                <>
                  <span class="chip-field">{labelName(field)}</span> {OPERATOR_NAMES[operator]}{" "}
                  <strong>{value === "" ? "absent" : value}</strong>
                </>
              }
            >
              {(close) => (
                <FilterForm
                  start={filter}
                  others={filters.filter((_, j) => j !== i)}
                  range={range}
                  done={(next) => {
                    close();
                    replaced(i, next);
                  }}
                />
              )}
            </Popover>
            <button
              type="button"
              title="Negate"
              aria-label={`Negate filter ${text}`}
              onClick={() => replaced(i, { ...filter, operator: NEGATED[operator] })}
            >
              ≠
            </button>
            <button
              type="button"
              title="Remove"
              aria-label={`Remove filter ${text}`}
              onClick={() => leave(filters.filter((_, j) => j !== i))}
            >
              ×
            </button>
          </div>
        );
      })}
      <Popover name="New filter" label="+ Filter" class="add">
        {(close) => (
          <FilterForm
            start={{ field: "either_namespace", operator: "=", value: "" }}
            others={filters}
            range={range}
            done={(next) => {
              close();
              setFilters([...filters, next]);
            }}
          />
        )}
      </Popover>
      {filters.length > 1 && (
        <button type="button" class="quiet" onClick={() => leave([])}>
          Clear
        </button>
      )}
    </div>
  );
}
