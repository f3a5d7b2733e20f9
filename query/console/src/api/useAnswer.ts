/** An answer of the server as state of a component. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./client.ts";
import { useToken } from "./token.ts";

export interface Pending<T> {
  /** The newest answer; while another one is under way, the one before. */
  data: T | null;
  error: ApiError | null;
  loading: boolean;
  retry(): void;
  /** Gives the request up that is under way. */
  cancel(): void;
}

interface Held<T> {
  data: T | null;
  error: ApiError | null;
  loading: boolean;
}

/**
 * Asks again whenever `key` changes, and gives up what is under way then: the server ends a query whose client
 * has gone. A `key` of null asks nothing.
 */
export function useAnswer<T>(key: string | null, ask: (signal: AbortSignal) => Promise<T>): Pending<T> {
  const [held, setHeld] = useState<Held<T>>({ data: null, error: null, loading: key !== null });
  const [attempt, setAttempt] = useState(0);
  const { entered } = useToken();
  const current = useRef(ask);
  current.current = ask;
  const running = useRef<AbortController | null>(null);

  useEffect(() => {
    if (key === null) {
      setHeld({ data: null, error: null, loading: false });
      return;
    }
    const control = new AbortController();
    running.current = control;
    setHeld((was) => ({ ...was, loading: true }));
    current.current(control.signal).then(
      (data) => {
        if (!control.signal.aborted) setHeld({ data, error: null, loading: false });
      },
      (cause: unknown) => {
        if (control.signal.aborted) return;
        const error =
          cause instanceof ApiError
            ? cause
            : new ApiError(`the answer cannot be read: ${String(cause)}`, 0, "");
        setHeld((was) => ({ data: was.data, error, loading: false }));
      },
    );
    return () => control.abort();
  }, [key, attempt, entered]);

  const retry = useCallback(() => setAttempt((n) => n + 1), []);
  const cancel = useCallback(() => {
    running.current?.abort();
    const error = new ApiError("the query was cancelled", 0, "cancelled");
    setHeld((was) => (was.loading ? { data: was.data, error, loading: false } : was));
  }, []);
  return { ...held, retry, cancel };
}
