/** Closes what is open when the user presses Escape, or clicks or moves the focus elsewhere. */
import { useEffect } from "preact/hooks";

interface Within {
  readonly current: HTMLElement | null;
}

export function useDismiss(open: boolean, within: Within, close: (byEscape: boolean) => void): void {
  useEffect(() => {
    if (!open) return;
    const elsewhere = (event: Event) => {
      if (event.target instanceof Node && !within.current?.contains(event.target)) close(false);
    };
    const key = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      close(true);
    };
    document.addEventListener("pointerdown", elsewhere);
    document.addEventListener("focusin", elsewhere);
    document.addEventListener("keydown", key);
    return () => {
      document.removeEventListener("pointerdown", elsewhere);
      document.removeEventListener("focusin", elsewhere);
      document.removeEventListener("keydown", key);
    };
  }, [open]);
}
