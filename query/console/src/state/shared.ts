/** What every view is given: the time range, the filters, its own parameters, and ways to change them. */
import type { Changes, View } from "./location.ts";
import type { Filter } from "./filters.ts";
import type { Range, TimeChoice } from "./time.ts";

export interface Shared {
  /** The range as the user chose it; relative bounds are relative here. */
  time: TimeChoice;
  /** The range that all requests of this moment ask for. */
  range: Range;
  filters: readonly Filter[];
  /** All parameters of the link. `from`, `to`, `refresh` and `f` belong to the shell. */
  params: URLSearchParams;
  /** Changes parameters of this view: a new entry of the browser's history, or `replace` the current one. */
  setParams(changes: Changes, replace?: boolean): void;
  setFilters(filters: readonly Filter[]): void;
  setTime(time: TimeChoice): void;
  /** A link to a view that keeps the time range, with these filters (default: the current ones). */
  href(view: View, changes?: Changes, filters?: readonly Filter[]): string;
  /** Goes to such a link. */
  navigate(view: View, changes?: Changes, filters?: readonly Filter[]): void;
}
