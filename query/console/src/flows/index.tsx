import type { Shared } from "../state/shared.ts";
import { useTitle } from "../ui/useTitle.ts";

export function Flows(_shared: Shared) {
  useTitle("Flows");
  return <h1>Flows</h1>;
}
