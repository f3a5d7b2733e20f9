/** Filters: matchers of PromQL, all of which a row has to meet. */

export const OPERATORS = ["=", "!=", "=~", "!~"] as const;
export type Operator = (typeof OPERATORS)[number];

export const OPERATOR_NAMES: Record<Operator, string> = {
  "=": "is",
  "!=": "is not",
  "=~": "matches",
  "!~": "does not match",
};

/** `field` is a label of flows, or `either_` and a label that both ends have. */
export interface Filter {
  field: string;
  operator: Operator;
  value: string;
}

/** A filter as a matcher of PromQL, which is also its form in links. */
export function matcher({ field, operator, value }: Filter): string {
  const escaped = value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n");
  return `${field}${operator}"${escaped}"`;
}

/** What `matcher` wrote; null for anything else. */
export function parseMatcher(text: string): Filter | null {
  const parts = /^([a-zA-Z_]\w*)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"$/s.exec(text);
  if (!parts) return null;
  const value = parts[3]!.replace(/\\(.)/gs, (_, c: string) => (c === "n" ? "\n" : c));
  return { field: parts[1]!, operator: parts[2] as Operator, value };
}

/** `match[]` of the filters; none if there are none. */
export function selectors(filters: readonly Filter[]): string[] {
  return filters.length === 0 ? [] : [`{${filters.map(matcher).join(",")}}`];
}
