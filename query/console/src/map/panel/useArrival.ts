/** Gives the focus to a panel's heading when the panel is about something else. */
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

/** Where the panel lies below the map it would open out of sight; on phones it is over it. */
const STACKED = "(min-width: 701px) and (max-width: 1100px)";

export function useArrival(heading: RefObject<HTMLElement | null>, about: string): void {
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
    if (window.matchMedia(STACKED).matches)
      heading.current?.closest("aside")?.scrollIntoView({ block: "start" });
  }, [about]);
}
