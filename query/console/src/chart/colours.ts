/** Colours of the style sheet as a canvas takes them: `light-dark()` is resolved by asking an element. */

const probe = document.createElement("span");
probe.hidden = true;

export function colour(name: string): string {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** Names of colours of series, in the order in which they are used. */
export function seriesColour(index: number): string {
  return `series-${(index % 8) + 1}`;
}
