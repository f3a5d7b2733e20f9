import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { copyText } from "./copy.ts";

/** Copies a text and says so. */
export function CopyButton(props: { text: string | null; title: string; children: ComponentChildren }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (said === "") return;
    const timer = window.setTimeout(() => setSaid(""), 2000);
    return () => window.clearTimeout(timer);
  }, [said]);
  const { text } = props;
  return (
    <>
      <button
        type="button"
        title={props.title}
        disabled={text === null}
        onClick={() => {
          if (text === null) return;
          void copyText(text).then((done) => setSaid(done ? "Copied" : "The browser refuses to copy"));
        }}
      >
        {said === "" ? props.children : said}
      </button>
      <span class="hidden" role="status">
        {said}
      </span>
    </>
  );
}
