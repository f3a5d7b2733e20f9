/** Runs the layout off the page's own thread. */
import { layout } from "./layout.ts";
import type { Request } from "./types.ts";

export interface Asked {
  turn: number;
  request: Request;
}

self.onmessage = ({ data }: MessageEvent<Asked>) => {
  const answer = layout(data.request);
  const moved = [answer.rects.buffer, answer.curves.buffer, answer.starts.buffer];
  self.postMessage({ turn: data.turn, layout: answer }, { transfer: moved });
};
