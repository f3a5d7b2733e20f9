/** Where the user is: the path is the view, the query string all of its state. */
import { useEffect, useState } from "preact/hooks";

/** Views by path. `/metrics` is the server's own. */
export const VIEWS = {
  overview: "/",
  map: "/map",
  flows: "/flows",
  performance: "/performance",
  explore: "/explore",
} as const;

export type View = keyof typeof VIEWS;

export interface Place {
  view: View | null;
  params: URLSearchParams;
}

/** Parameters to set; `null` and empty lists take a parameter out. */
export type Changes = Record<string, string | readonly string[] | null>;

const CHANGED = "weir:location";

function here(): Place {
  const path = window.location.pathname.replace(/(.)\/+$/, "$1");
  const found = (Object.keys(VIEWS) as View[]).find((view) => VIEWS[view] === path);
  return { view: found ?? null, params: new URLSearchParams(window.location.search) };
}

/** The current place, and again whenever it changes. */
export function usePlace(): Place {
  const [place, setPlace] = useState(here);
  useEffect(() => {
    const changed = () => setPlace(here());
    window.addEventListener("popstate", changed);
    window.addEventListener(CHANGED, changed);
    return () => {
      window.removeEventListener("popstate", changed);
      window.removeEventListener(CHANGED, changed);
    };
  }, []);
  return place;
}

/** The parameters with changes made to them. */
export function changed(params: URLSearchParams, changes: Changes): URLSearchParams {
  const next = new URLSearchParams(params);
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of value === null ? [] : typeof value === "string" ? [value] : value) {
      next.append(name, one);
    }
  }
  return next;
}

/** Text of a link to a view. */
export function link(view: View, params: URLSearchParams): string {
  const query = params.toString();
  return query === "" ? VIEWS[view] : `${VIEWS[view]}?${query}`;
}

/** Goes there, as a step of its own in the browser's history unless `replace`. */
export function go(href: string, replace = false): void {
  if (href === window.location.pathname + window.location.search) return;
  if (replace) window.history.replaceState(null, "", href);
  else window.history.pushState(null, "", href);
  window.dispatchEvent(new Event(CHANGED));
}
