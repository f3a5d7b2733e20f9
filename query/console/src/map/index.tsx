import type { Shared } from "../state/shared.ts";
import { useTitle } from "../ui/useTitle.ts";

/** The service map. */
export function ServiceMap(_shared: Shared) {
  useTitle("Map");
  return <h1>Map</h1>;
}
