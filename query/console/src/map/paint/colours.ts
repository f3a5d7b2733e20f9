/** Colours of the map, out of the style sheet. */
import { colour } from "../../chart/colours.ts";
import type { EdgePalette } from "./edges.ts";

export interface Palette {
  edges: EdgePalette;
  ground: string;
  frame: string;
  frameLine: string;
  card: string;
  cardLine: string;
  text: string;
  muted: string;
  accent: string;
  accentGround: string;
  load: string;
  warn: string;
  bad: string;
}

export function paletteNow(): Palette {
  const calm = colour("map-calm");
  const ground = colour("ground");
  return {
    edges: {
      tones: [colour("map-unknown"), calm, colour("map-raised"), colour("bad")],
      mark: colour("series-3"),
      ground,
    },
    ground,
    frame: colour("map-frame"),
    frameLine: colour("line"),
    card: colour("surface"),
    cardLine: colour("line-strong"),
    text: colour("text"),
    muted: colour("muted"),
    accent: colour("accent"),
    accentGround: colour("accent-ground"),
    load: colour("map-load"),
    warn: colour("warn"),
    bad: colour("bad"),
  };
}
