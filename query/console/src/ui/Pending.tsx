/** The states of what is asked for: loading, failed, empty, there. */
import type { ComponentChildren } from "preact";
import type { ApiError } from "../api/client.ts";
import type { Pending as State } from "../api/useAnswer.ts";

export function Failure(props: {
  error: ApiError;
  retry?: () => void;
  /** Whether the answer before stays on the page. */
  outdated?: boolean;
}) {
  const { error, retry } = props;
  const where = error.status > 0 ? `The server answered ${error.status}` : "No answer";
  return (
    <div class="failure" role="alert">
      <strong>{where}.</strong> <span class="failure-text">{error.message}</span>
      {props.outdated === true && ". What is shown is the answer before."}
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

/** A thin bar that moves while something is asked for, and says so to screen readers. */
export function Loading({ on, what }: { on: boolean; what: string }) {
  return (
    <div class={on ? "loading on" : "loading"} role="status" aria-live="polite">
      <span class="hidden">{on ? `Loading ${what}` : ""}</span>
    </div>
  );
}

/**
 * Shows an answer by `children`, the one before while the next is under way, and an error above it.
 * `height` keeps the place of what is not there yet.
 */
export function Pending<T>(props: {
  of: State<T>;
  what: string;
  height?: number;
  children: (data: T) => ComponentChildren;
}) {
  const { data, error, loading, retry } = props.of;
  const height = props.height ?? 120;
  return (
    <div class="pending" aria-busy={loading}>
      <Loading on={loading} what={props.what} />
      {error && <Failure error={error} retry={retry} outdated={data !== null} />}
      {data !== null ? (
        <div class={error ? "outdated" : loading ? "renewing" : undefined}>{props.children(data)}</div>
      ) : (
        !error && <div class="placeholder" style={{ height: `${height}px` }} />
      )}
    </div>
  );
}
