// Numbers as the page writes them, read back. Nothing of the page's own code is used: it is what is tested.
import assert from "node:assert/strict";

const POWERS = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, m: 1e-3, µ: 1e-6, n: 1e-9 };
const UNKNOWN = "–";

/** The exact number that a title begins with; null if it says that the number is not known. */
export function exact(title) {
  const [said] = title.split(":");
  if (said === "not known") return null;
  const number = Number(said.replace(/ [a-z/]+$/, "").replaceAll(",", ""));
  assert.ok(!Number.isNaN(number), `a number: ${title}`);
  return number;
}

/** A rounded number: its value and half a unit of its last digit. */
export function rounded(text) {
  const found = /^[+▲ ]*([−-]?)([\d,]+)(\.\d+)?(?: ?([kMGTmµn]?)(B\/s|bit\/s|B|s|\/s|%)?)?$/.exec(
    text.trim(),
  );
  assert.ok(found, `a number: ${text}`);
  const [, sign, whole, fraction = "", power = "", unit = ""] = found;
  const scale = unit === "%" ? 0.01 : POWERS[power];
  const value = Number(`${whole.replaceAll(",", "")}${fraction}`) * scale * (sign === "" ? 1 : -1);
  return { value, within: (scale * 10 ** -Math.max(0, fraction.length - 1)) / 2 };
}

/** The text shows a value rounded; null is a dash. */
export function shows(text, value, what) {
  if (value === null || value === undefined) return assert.equal(text.trim(), UNKNOWN, what);
  // Both ends are not counted at the same moments: less than nothing is lost nowhere.
  if (text.trim() === "≈ 0") return assert.ok(value < 0, `${what}: ≈ 0 is not ${value}`);
  const read = rounded(text);
  const off = Math.abs(read.value - value);
  assert.ok(off <= read.within * 1.000001, `${what}: ${text} is not ${value}`);
}

/** Equal but for the last digits of a double. */
export function close(a, b, what) {
  if (a === null || b === null) return assert.equal(a, b, what);
  assert.ok(Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b)), `${what}: ${a} and ${b}`);
}
