import type { Shared } from "../state/shared.ts";
import { useTitle } from "../ui/useTitle.ts";

export function Performance(_shared: Shared) {
  useTitle("Metrics");
  return <h1>Metrics</h1>;
}
