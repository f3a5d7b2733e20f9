/** Moments in the reader's own zone; titles have them in UTC. */

const two = (n: number) => String(n).padStart(2, "0");

/** `14:05:09`, with the date before it if that is not today's. */
export function localTime(unix: number, now = Date.now() / 1000): string {
  const at = new Date(unix * 1000);
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return at.toDateString() === new Date(now * 1000).toDateString() ? clock : `${localDate(unix)} ${clock}`;
}

export function localDate(unix: number): string {
  const at = new Date(unix * 1000);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** `2026-01-31 14:05`, with seconds only where they are not 0. */
export function localMinute(unix: number): string {
  const at = new Date(unix * 1000);
  const seconds = at.getSeconds() === 0 ? "" : `:${two(at.getSeconds())}`;
  return `${localDate(unix)} ${two(at.getHours())}:${two(at.getMinutes())}${seconds}`;
}

export function utc(unix: number): string {
  return new Date(unix * 1000)
    .toISOString()
    .replace("T", " ")
    .replace(/\.000Z$|Z$/, " UTC");
}

/** The reader's zone at that moment: `UTC`, `UTC+1`, `UTC−3:30`. */
export function zone(unix: number): string {
  const minutes = -new Date(unix * 1000).getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  const rest = size % 60 === 0 ? "" : `:${two(size % 60)}`;
  return `UTC${minutes < 0 ? "−" : "+"}${Math.floor(size / 60)}${rest}`;
}
