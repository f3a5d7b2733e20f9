import type { Shared } from "../state/shared.ts";
import { useTitle } from "../ui/useTitle.ts";

export function Overview(_shared: Shared) {
  useTitle("Overview");
  return <h1>Overview</h1>;
}
