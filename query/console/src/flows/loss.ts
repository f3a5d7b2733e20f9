/**
 * What the difference between what one end sent and the other received says.
 *
 * Both ends are counted by their own agents, in intervals that do not begin together: at either end of a range a
 * packet can be in one count and not yet in the other. So a difference is a loss only where the sender had to send
 * again; below zero, it is no more than that.
 */
import { exact, quantity } from "../format/numbers.ts";

/** `unbacked`: more was sent than arrived, and nothing tells that it was lost. */
export type Loss = "unknown" | "none" | "noise" | "unbacked" | "lost";

/** Fewer packets than this are no loss to speak of. */
const ENOUGH = 3;

/** `retransmits`: of the end that sent; null where they are not known. */
export function lossOf(lost: number | null, retransmits: number | null): Loss {
  if (lost === null) return "unknown";
  if (lost === 0) return "none";
  if (lost < 0) return "noise";
  // One packet that is lost may be answered by one segment that is sent again, or by a burst; never by none.
  return retransmits !== null && lost >= ENOUGH && retransmits >= lost / 4 ? "lost" : "unbacked";
}

export function lossText(lost: number | null): string {
  return lost !== null && lost < 0 ? "≈ 0" : quantity(lost, "");
}

export function lossTitle(lost: number | null, loss: Loss): string {
  const number = exact(lost, "packets");
  switch (loss) {
    case "noise":
      return `${number}: more arrived in this range than was sent in it, since both ends are counted in intervals that do not begin together`;
    case "unbacked":
      return `${number}: too few retransmits are known to call this a loss; packets under way at the ends of the range look the same`;
    default:
      return number;
  }
}
