/** Reads the state that views share out of the link, and writes it back. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { matcher, parseMatcher, type Filter } from "../state/filters.ts";
import { changed, go, link, type Changes, type Place, type View } from "../state/location.ts";
import type { Shared } from "../state/shared.ts";
import { DEFAULT_TIME, isRelative, resolve, type Range, type TimeChoice } from "../state/time.ts";
import { INTERVALS } from "./Refresh.tsx";

/** Parameters that go along from view to view. */
const COMMON = ["from", "to", "refresh"];

export function useShared(place: Place): { shared: Shared; refresh(): void; wrong: string | null } {
  const { params } = place;
  const view = place.view ?? "overview";
  const from = params.get("from") ?? DEFAULT_TIME.from;
  const to = params.get("to") ?? DEFAULT_TIME.to;
  const matchers = params.getAll("f").join("\n");
  const every = INTERVALS.find((one) => one.value === (params.get("refresh") ?? ""))?.seconds ?? 0;

  const [now, setNow] = useState(seconds);
  const time = useMemo(() => ({ from, to }), [from, to]);
  // A range that was just chosen ends at this moment, not when the page was opened.
  const resolved = useMemo(() => {
    const range = resolve(time, Math.max(now, seconds()));
    return typeof range === "string" ? { range: hour(), wrong: range } : { range, wrong: null };
  }, [time, now]);

  useEffect(() => {
    if (every === 0 || !isRelative(time)) return;
    const timer = window.setInterval(() => {
      if (!document.hidden) setNow(seconds());
    }, every * 1000);
    return () => window.clearInterval(timer);
  }, [every, time]);

  const shared = useMemo<Shared>(() => {
    const filters = matchers === "" ? [] : matchers.split("\n").flatMap((text) => parseMatcher(text) ?? []);
    const href = (to: View, changes: Changes = {}, of: readonly Filter[] = filters) => {
      const common = new URLSearchParams();
      for (const name of COMMON) {
        const value = params.get(name);
        if (value !== null) common.set(name, value);
      }
      return link(to, changed(common, { f: of.map(matcher), ...changes }));
    };
    return {
      time,
      range: resolved.range,
      filters,
      params,
      setParams: (changes, replace = false) => go(link(view, changed(params, changes)), replace),
      setFilters: (next) => go(link(view, changed(params, { f: next.map(matcher) }))),
      setTime: (next: TimeChoice) => {
        const standard = next.from === DEFAULT_TIME.from && next.to === DEFAULT_TIME.to;
        if (next.from === from && next.to === to) setNow(seconds());
        go(link(view, changed(params, { from: standard ? null : next.from, to: standard ? null : next.to })));
      },
      href,
      navigate: (to, changes, of) => go(href(to, changes, of)),
    };
  }, [resolved, matchers, params, view]);

  return { shared, refresh: () => setNow(seconds()), wrong: resolved.wrong };
}

/** Whole seconds: what is asked for within one second has one answer. */
function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

function hour(): Range {
  const end = seconds();
  return { start: end - 3600, end };
}
