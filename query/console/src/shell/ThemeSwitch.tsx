import { useState } from "preact/hooks";
import { THEMES, keepTheme, theme, type Theme } from "./theme.ts";

const NAMES: Record<Theme, string> = { system: "System", light: "Light", dark: "Dark" };
const SIGNS: Record<Theme, string> = { system: "◐", light: "☀", dark: "☾" };

/** One button that goes through the three. */
export function ThemeSwitch() {
  const [current, setCurrent] = useState(theme);
  const next = THEMES[(THEMES.indexOf(current) + 1) % THEMES.length] ?? "system";
  return (
    <button
      type="button"
      class="quiet theme"
      title={`Colours: ${NAMES[current]}. Change to ${NAMES[next]}`}
      aria-label={`Colours: ${NAMES[current]}. Change to ${NAMES[next]}`}
      onClick={() => {
        keepTheme(next);
        setCurrent(next);
      }}
    >
      <span aria-hidden="true">{SIGNS[current]}</span>
    </button>
  );
}
