// The server's own answers, asked for over HTTP beside the page.
import assert from "node:assert/strict";

/** Asks a path of the API: the envelope's data. Lists become repeated parameters. */
export async function ask(server, path, params, token) {
  const response = await send(server, path, params, token);
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  return body.data;
}

export async function send(server, path, params, token) {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(params))
    for (const one of [value].flat()) form.append(name, one);
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  return fetch(`${server.url}${path}`, { method: "POST", body: form, headers });
}

/** The same question that a request of the page asked, asked anew. */
export async function again(server, request) {
  const url = new URL(request.url());
  const form = new URLSearchParams(request.method() === "POST" ? (request.postData() ?? "") : url.search);
  const params = {};
  for (const name of new Set(form.keys())) params[name] = form.getAll(name);
  return { params, data: await ask(server, url.pathname, params) };
}

/** Columns and rows of an SQL answer. */
export async function sql(server, statement, token) {
  const response = await send(server, "/api/v1/sql", { query: statement, format: "json" }, token);
  const text = await response.text();
  assert.equal(response.status, 200, `${statement}: ${text}`);
  return JSON.parse(text);
}

/** Samples of an instant query: labels and number. */
export async function instant(server, query, time) {
  const { result } = await ask(server, "/api/v1/query", { query, time });
  return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
}

/** The one number of an instant query. */
export async function number(server, query, time) {
  const samples = await instant(server, query, time);
  assert.equal(samples.length, 1, `${query}: ${JSON.stringify(samples)}`);
  return samples[0].value;
}
