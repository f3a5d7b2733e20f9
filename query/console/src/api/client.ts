/** Requests to the server that this page came from, in the envelope of the Prometheus API. */
import { refuse, token } from "./token.ts";

/** What the server, or the way to it, said. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** HTTP status; 0 if no answer came. */
    readonly status: number,
    /** `errorType` of the answer. */
    readonly kind: string,
  ) {
    super(message);
  }
}

export interface Answer<T> {
  data: T;
  warnings: string[];
  infos: string[];
  /** Tables of flows that answered, coarsest first. */
  tiers: string[];
}

export type Params = Record<string, string | number | readonly string[] | null | undefined>;

/** Above this many bytes of parameters a request is a POST: some proxies refuse longer lines. */
const LONGEST_LINE = 4000;

export function form(params: Params): URLSearchParams {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value === null || value === undefined) continue;
    if (typeof value === "object") for (const one of value) out.append(name, one);
    else out.append(name, String(value));
  }
  return out;
}

/** Sends a request; an answer that is no success is an `ApiError` with the server's own text. */
export async function send(
  path: string,
  params: Params,
  signal: AbortSignal,
  post = false,
): Promise<Response> {
  const body = form(params);
  const query = body.toString();
  const used = token();
  const headers = new Headers();
  if (used !== null) headers.set("Authorization", `Bearer ${used}`);
  const as_post = post || query.length > LONGEST_LINE;
  const url = as_post || query === "" ? path : `${path}?${query}`;
  let response: Response;
  try {
    response = await fetch(url, as_post ? { method: "POST", body, headers, signal } : { headers, signal });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new ApiError(`the server at ${window.location.host} does not answer`, 0, "unreachable");
  }
  if (response.ok) return response;
  const error = await refusal(response);
  if (response.status === 401) refuse(used, error.message);
  throw error;
}

async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  try {
    const { error, errorType } = JSON.parse(text) as { error?: string; errorType?: string };
    if (typeof error === "string") return new ApiError(error, response.status, errorType ?? "");
  } catch {
    // Not the envelope: something in between answered.
  }
  const line = text.trim().split("\n")[0] ?? "";
  return new ApiError(line === "" ? `status ${response.status}` : line.slice(0, 300), response.status, "");
}

interface Envelope<T> {
  data: T;
  warnings?: string[];
  infos?: string[];
}

/** Asks a path of the API. */
export async function ask<T>(path: string, params: Params, signal: AbortSignal): Promise<Answer<T>> {
  const response = await send(path, params, signal);
  const tiers = response.headers.get("weir-tier");
  const body = (await response.json()) as Envelope<T>;
  return {
    data: body.data,
    warnings: body.warnings ?? [],
    infos: body.infos ?? [],
    tiers: tiers === null ? [] : tiers.split(","),
  };
}
