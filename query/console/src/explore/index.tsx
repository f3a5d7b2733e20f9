import type { Shared } from "../state/shared.ts";
import { useTitle } from "../ui/useTitle.ts";

export function Explore(_shared: Shared) {
  useTitle("Explore");
  return <h1>Explore</h1>;
}
