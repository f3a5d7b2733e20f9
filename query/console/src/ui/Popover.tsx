/** A button that shows a panel below it. */
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { useDismiss } from "./useDismiss.ts";

export function Popover(props: {
  label: ComponentChildren;
  /** Name of the panel for screen readers. */
  name: string;
  title?: string;
  class?: string;
  align?: "start" | "end";
  children: (close: () => void) => ComponentChildren;
}) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  useDismiss(open, root, (byEscape) => (byEscape ? close() : setOpen(false)));
  return (
    <div class={`popover ${props.class ?? ""}`} ref={root}>
      <button
        type="button"
        ref={button}
        aria-haspopup="dialog"
        aria-expanded={open}
        title={props.title}
        onClick={() => setOpen(!open)}
      >
        {props.label}
        <span class="caret" aria-hidden="true" />
      </button>
      {open && (
        <div class={`panel ${props.align ?? "start"}`} role="dialog" aria-label={props.name}>
          {props.children(close)}
        </div>
      )}
    </div>
  );
}
