/** An editor with the button that runs what it says, or cancels what runs. */
import { useEffect, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { EditorField } from "./EditorField.tsx";
import type { Language } from "./editor/index.ts";

export function QueryBar(props: {
  language: Language;
  label: string;
  /** What the link says. */
  text: string;
  examples: readonly { title: string; text: string }[];
  loading: boolean;
  run(text: string): void;
  cancel(): void;
  children?: ComponentChildren;
}) {
  const [draft, setDraft] = useState(props.text);
  const [revision, setRevision] = useState(0);
  const replace = (text: string) => {
    setDraft(text);
    setRevision((n) => n + 1);
  };
  useEffect(() => replace(props.text), [props.text]);
  const run = () => {
    if (draft.trim() !== "") props.run(draft);
  };
  return (
    <div class="card query">
      <EditorField
        language={props.language}
        label={props.label}
        text={draft}
        revision={revision}
        changed={setDraft}
        run={run}
      />
      <div class="row">
        <button type="button" class="primary" disabled={draft.trim() === ""} onClick={run} title="Ctrl-Enter">
          Run
        </button>
        {props.loading && (
          <button type="button" onClick={props.cancel}>
            Cancel
          </button>
        )}
        {props.children}
        <label class="push">
          <span class="hidden">Examples</span>
          <select
            value=""
            aria-label="Examples"
            onChange={(event) => {
              const example = props.examples[Number(event.currentTarget.value)];
              event.currentTarget.value = "";
              if (example) {
                replace(example.text);
                props.run(example.text);
              }
            }}
          >
            <option value="">Examples…</option>
            {props.examples.map((example, i) => (
              <option key={example.title} value={i}>
                {example.title}
              </option>
            ))}
          </select>
        </label>
      </div>
    </div>
  );
}
