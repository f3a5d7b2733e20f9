/** Labels of axes. */

const two = (n: number) => String(n).padStart(2, "0");

/** Labels of a time axis: as short as the distance between ticks allows, with the date where the day changes. */
export function timeLabels(splits: readonly number[], increment: number): string[] {
  let day = "";
  return splits.map((unix) => {
    const at = new Date(unix * 1000);
    const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    const short = date.slice(5);
    if (increment >= 86_400) return increment >= 86_400 * 300 ? String(at.getFullYear()) : short;
    const seconds = increment % 60 === 0 ? "" : `:${two(at.getSeconds())}`;
    const clock = `${two(at.getHours())}:${two(at.getMinutes())}${seconds}`;
    const same = day === "" || day === date;
    day = date;
    return same ? clock : `${clock}\n${short}`;
  });
}

/** Distances between ticks of a time axis, in seconds. */
export const TIME_INCREMENTS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
  604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000,
];

/** Distances that fall on round numbers of seconds, milliseconds and microseconds, bytes and ratios alike. */
export const VALUE_INCREMENTS = Array.from({ length: 30 }, (_, i) => i - 10).flatMap((power) =>
  [1, 2, 2.5, 5].map((n) => n * 10 ** power),
);
