/** Light, dark, or as the system has it. */
import { useEffect, useState } from "preact/hooks";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "weir.theme";
export const THEME_CHANGED = "weir:theme";

export function theme(): Theme {
  let kept: string | null = null;
  try {
    kept = window.localStorage.getItem(KEY);
  } catch {
    // Storage is refused: the system decides.
  }
  return THEMES.find((one) => one === kept) ?? "system";
}

export function applyTheme(to: Theme): void {
  document.documentElement.dataset["theme"] = to;
  window.dispatchEvent(new Event(THEME_CHANGED));
}

export function keepTheme(to: Theme): void {
  try {
    window.localStorage.setItem(KEY, to);
  } catch {
    // It then lasts until the page is left.
  }
  applyTheme(to);
}

/** Changes whenever colours do: what is drawn on a canvas has to be drawn again. */
export function useColours(): number {
  const [count, setCount] = useState(0);
  useEffect(() => {
    const changed = () => setCount((n) => n + 1);
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", changed);
    window.addEventListener(THEME_CHANGED, changed);
    return () => {
      system.removeEventListener("change", changed);
      window.removeEventListener(THEME_CHANGED, changed);
    };
  }, []);
  return count;
}
