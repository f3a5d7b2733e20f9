/** Whether a region can be scrolled further to the right: something says so where scrollbars do not. */
import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

/** Looks again when `content` changes. */
export function useMore(region: RefObject<HTMLElement | null>, content: unknown): boolean {
  const [more, setMore] = useState(false);
  useEffect(() => {
    const element = region.current;
    if (!element) return;
    const look = () => setMore(element.scrollLeft + element.clientWidth < element.scrollWidth - 1);
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, [content]);
  return more;
}
