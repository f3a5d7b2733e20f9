/**
 * The editor of expressions and statements: CodeMirror, in a chunk of its own.
 *
 * It lives in a shadow root: there CodeMirror adopts its style sheets, while in the page itself it would add style
 * elements, which the policy of the page's contents forbids.
 */
import { autocompletion, closeBrackets, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { PostgreSQL, sql } from "@codemirror/lang-sql";
import { HighlightStyle, bracketMatching, syntaxHighlighting } from "@codemirror/language";
import { lintKeymap } from "@codemirror/lint";
import { Compartment, EditorState, Prec, type Extension } from "@codemirror/state";
import { EditorView, drawSelection, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { PromQLExtension } from "@prometheus-io/codemirror-promql";
import { client } from "./completion.ts";
import { columns } from "./tables.ts";

export type Language = "promql" | "sql";

export interface Editor {
  text(): string;
  set(text: string): void;
  focus(): void;
  destroy(): void;
}

const theme = EditorView.theme({
  "&": {
    color: "var(--text)",
    backgroundColor: "var(--surface)",
    border: "1px solid var(--line)",
    borderRadius: "6px",
    fontSize: "13px",
  },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-scroller": {
    fontFamily: 'ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace',
    lineHeight: "1.5",
  },
  ".cm-content": { padding: "8px 4px", caretColor: "var(--text)", minHeight: "54px" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--accent-ground)",
  },
  ".cm-placeholder": { color: "var(--muted)" },
  ".cm-matchingBracket": { backgroundColor: "var(--accent-ground)", outline: "1px solid var(--line-strong)" },
  ".cm-tooltip": {
    backgroundColor: "var(--raised)",
    color: "var(--text)",
    border: "1px solid var(--line-strong)",
    borderRadius: "6px",
    overflow: "hidden",
  },
  ".cm-tooltip-autocomplete ul li[aria-selected]": {
    backgroundColor: "var(--accent-ground)",
    color: "var(--text)",
  },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--bad)" },
});

const highlighting = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: "var(--series-3)", fontWeight: "600" },
  { tag: [tags.function(tags.variableName), tags.standard(tags.name)], color: "var(--series-6)" },
  { tag: tags.labelName, color: "var(--series-1)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--series-5)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--series-2)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--muted)", fontStyle: "italic" },
  { tag: tags.invalid, color: "var(--bad)" },
]);

const dialect = (schema: Record<string, string[]>) =>
  sql({ dialect: PostgreSQL, schema, upperCaseKeywords: true });

function promql(): Extension {
  return new PromQLExtension().setComplete({ remote: client(), maxMetricsMetadata: 10_000 }).asExtension();
}

/** An editor in `host`; `run` is called with Ctrl-Enter and Shift-Enter. */
export function editor(options: {
  host: HTMLElement;
  language: Language;
  label: string;
  text: string;
  run(): void;
  changed(text: string): void;
}): Editor {
  const root = options.host.shadowRoot ?? options.host.attachShadow({ mode: "open" });
  root.replaceChildren();
  const language = new Compartment();
  const control = new AbortController();
  const run = () => {
    options.run();
    return true;
  };
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        Prec.highest(
          keymap.of([
            { key: "Mod-Enter", run },
            { key: "Shift-Enter", run },
          ]),
        ),
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(),
        keymap.of([...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": options.label, spellcheck: "false" }),
        placeholder(
          options.language === "sql" ? "SELECT …" : "sum by (workload) (rate(flow_tx_bytes_total[1m]))",
        ),
        theme,
        syntaxHighlighting(highlighting),
        language.of(options.language === "sql" ? dialect({}) : promql()),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.changed(update.state.doc.toString());
        }),
      ],
    }),
  });
  if (options.language === "sql") {
    void columns(control.signal).then((schema) => {
      if (!control.signal.aborted) view.dispatch({ effects: language.reconfigure(dialect(schema)) });
    });
  }
  return {
    text: () => view.state.doc.toString(),
    set(text) {
      if (text === view.state.doc.toString()) return;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    focus: () => view.focus(),
    destroy() {
      control.abort();
      view.destroy();
    },
  };
}
