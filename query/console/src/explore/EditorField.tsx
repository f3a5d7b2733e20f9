/** The editor as a component; a plain field until its chunk is there, and where it cannot be loaded. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Editor, Language } from "./editor/index.ts";

export function EditorField(props: {
  language: Language;
  label: string;
  text: string;
  /** Grows when the text is another one for a reason other than typing; the editor takes it over then only. */
  revision: number;
  changed(text: string): void;
  run(): void;
}) {
  const host = useRef<HTMLDivElement>(null);
  const made = useRef<Editor | null>(null);
  const [ready, setReady] = useState(false);
  const current = useRef(props);
  current.current = props;

  useEffect(() => {
    let gone = false;
    void import("./editor/index.ts").then(
      ({ editor }) => {
        if (gone || !host.current) return;
        made.current = editor({
          host: host.current,
          language: props.language,
          label: props.label,
          text: current.current.text,
          run: () => current.current.run(),
          changed: (text) => current.current.changed(text),
        });
        setReady(true);
      },
      () => {
        // The plain field stays.
      },
    );
    return () => {
      gone = true;
      made.current?.destroy();
      made.current = null;
      setReady(false);
    };
  }, [props.language]);

  useEffect(() => made.current?.set(current.current.text), [props.revision]);

  return (
    <div class="editor">
      <div ref={host} hidden={!ready} class="editor-host" data-ready={ready} />
      {!ready && (
        <textarea
          aria-label={props.label}
          spellcheck={false}
          value={props.text}
          rows={3}
          onInput={(event) => props.changed(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey || event.shiftKey)) {
              event.preventDefault();
              props.run();
            }
          }}
        />
      )}
    </div>
  );
}
