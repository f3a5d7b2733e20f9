/** The bearer token that the user entered; the tab forgets it when it is closed. */
import { useEffect, useState } from "preact/hooks";

const KEY = "weir.token";
const CHANGED = "weir:token";

export interface TokenState {
  token: string | null;
  /** What the server said when it wanted a token, or another one. */
  refused: string | null;
  /** Counts the tokens that were entered, so that what failed is asked again. */
  entered: number;
}

let state: TokenState = { token: read(), refused: null, entered: 0 };

function read(): string | null {
  try {
    return window.sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function set(next: TokenState): void {
  state = next;
  window.dispatchEvent(new Event(CHANGED));
}

export function token(): string | null {
  return state.token;
}

/** The server answered 401 to a request with this token. */
export function refuse(used: string | null, reason: string): void {
  // An answer to a request from before the current token says nothing about it.
  if (used === state.token && state.refused !== reason) set({ ...state, refused: reason });
}

export function enter(text: string): void {
  try {
    window.sessionStorage.setItem(KEY, text);
  } catch {
    // Without storage the token lasts until the page is left.
  }
  set({ token: text, refused: null, entered: state.entered + 1 });
}

export function useToken(): TokenState {
  const [current, setCurrent] = useState(state);
  useEffect(() => {
    const changed = () => setCurrent(state);
    window.addEventListener(CHANGED, changed);
    changed();
    return () => window.removeEventListener(CHANGED, changed);
  }, []);
  return current;
}
