/**
 * A text field that offers values (the combobox pattern of the ARIA Authoring Practices): arrows choose among
 * them, Enter takes the chosen one, anything else may be written too.
 */
import { useId, useState } from "preact/hooks";

export function Combobox(props: {
  label: string;
  value: string;
  options: readonly string[];
  placeholder?: string;
  loading?: boolean;
  autofocus?: boolean;
  set(value: string): void;
  /** The user took a value from the list. */
  take?(value: string): void;
}) {
  const id = useId();
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const { options } = props;
  const shown = open && (options.length > 0 || props.loading === true);

  const take = (value: string) => {
    props.set(value);
    setOpen(false);
    setActive(-1);
    props.take?.(value);
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setOpen(true);
      const by = event.key === "ArrowDown" ? 1 : -1;
      if (options.length > 0)
        setActive((active + by + options.length + (active < 0 && by < 0 ? 1 : 0)) % options.length);
    } else if (event.key === "Enter" && shown && active >= 0) {
      event.preventDefault();
      const value = options[active];
      if (value !== undefined) take(value);
    } else if (event.key === "Escape" && shown) {
      event.preventDefault();
      event.stopPropagation();
      setOpen(false);
    }
  };

  return (
    <div class="combobox">
      <input
        type="text"
        role="combobox"
        aria-label={props.label}
        aria-expanded={shown}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={shown && active >= 0 ? `${id}-${active}` : undefined}
        autocomplete="off"
        spellcheck={false}
        placeholder={props.placeholder}
        value={props.value}
        ref={props.autofocus === true ? focusOnce : null}
        onInput={(event) => {
          props.set(event.currentTarget.value);
          setOpen(true);
          setActive(-1);
        }}
        onClick={() => setOpen(true)}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={key}
      />
      <ul id={`${id}-list`} role="listbox" aria-label={props.label} hidden={!shown}>
        {shown && options.length === 0 && (
          <li role="option" aria-selected={false} aria-disabled="true" class="muted">
            …
          </li>
        )}
        {shown &&
          options.map((option, i) => (
            <li
              key={option}
              id={`${id}-${i}`}
              role="option"
              aria-selected={i === active}
              // Before the field loses the focus, which closes the list.
              onPointerDown={(event) => {
                event.preventDefault();
                take(option);
              }}
            >
              {option}
            </li>
          ))}
      </ul>
    </div>
  );
}

function focusOnce(element: HTMLInputElement | null): void {
  element?.focus();
}
