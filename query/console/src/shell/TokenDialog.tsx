import { useEffect, useRef, useState } from "preact/hooks";
import { enter, useToken } from "../api/token.ts";

/** Asks for a bearer token when the server wants one. */
export function TokenDialog() {
  const { refused } = useToken();
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");

  useEffect(() => {
    const element = dialog.current;
    if (!element) return;
    if (refused !== null && !element.open) element.showModal();
    if (refused === null && element.open) element.close();
  }, [refused]);

  return (
    <dialog ref={dialog} class="token" aria-labelledby="token-title">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim() !== "") enter(text.trim());
        }}
      >
        <h2 id="token-title">This server asks for a token</h2>
        <p>
          It was started with <code>--token-file</code>. Enter a token of a line <code>reader TOKEN</code> in
          that file. This tab keeps it until it is closed.
        </p>
        <p class="token-said" role="alert">
          The server said: {refused}
        </p>
        <label>
          Token
          <input
            type="password"
            autocomplete="off"
            spellcheck={false}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <div class="actions">
          <button type="submit" class="primary" disabled={text.trim() === ""}>
            Use token
          </button>
        </div>
      </form>
    </dialog>
  );
}
